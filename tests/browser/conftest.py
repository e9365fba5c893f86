"""A Chromium, data to look at, and servers: `tab`, `desk`, `large`, `hostile`, `served` say what each is.

Without a Chromium these tests are skipped, and say how to get one; where CI is true they fail.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser import desk as desk_data
from tests.browser import hostile as hostile_data
from tests.browser import large as large_data
from tests.browser.chromium import launched_or_skipped
from tests.browser.served import Process, Site, copied
from tests.browser.tab import OpenTab, Tab

DATA = {"desk": desk_data, "large": large_data, "hostile": hostile_data}
Folder = Callable[[str], Path]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with launched_or_skipped() as found:
        yield found


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The data folder of a name, made by the first of all workers that asks. For copying only."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name: str) -> Path:
        folder = shared / f"browser-{name}"
        with (shared / f"browser-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                DATA[name].make(folder.with_suffix(".part"))
                folder.with_suffix(".part").rename(folder)
        return folder

    return made


def _site(name: str, master: Folder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(copied(master(name), tmp_path_factory.mktemp("site") / name), DATA[name].END_NS)
    yield site
    site.close()


@pytest.fixture(scope="session")
def desk(master: Folder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The desk at the end of its ten hours. For reading only: its time stands, nothing is worked."""
    yield from _site("desk", master, tmp_path_factory)


@pytest.fixture(scope="session")
def large(master: Folder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """500 subjects, and a series of 10,000 points in the domain `tape`. For reading only."""
    yield from _site("large", master, tmp_path_factory)


@pytest.fixture(scope="session")
def hostile(master: Folder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Every text that comes from outside tries to be more than text. For reading only."""
    yield from _site("hostile", master, tmp_path_factory)


class Scene:
    """The tabs and servers of one test. They end in order: first the tabs, which are judged, then servers."""

    def __init__(self, browser: Browser, master: Folder, folder: Path) -> None:
        self._browser, self._master, self._folder = browser, master, folder
        self._tabs: list[Tab] = []
        self._servers: list[Callable[[], None]] = []

    def tab(self, site: Site | Process | str, **options: Any) -> Tab:
        """A tab on any site. Whatever goes wrong in it fails the test, unless it was allowed."""
        self._tabs.append(Tab(self._browser, site if isinstance(site, str) else site.url, **options))
        return self._tabs[-1]

    def site(self, name: str, **options: Any) -> Site:
        """A server of this test's own, over a copy of the data."""
        site = Site(self._copy(name), DATA[name].END_NS, **options)
        self._servers.append(site.close)
        return site

    def process(self, name: str) -> Process:
        """The same in a process of its own."""
        process = Process(self._copy(name), DATA[name].END_NS)
        self._servers.append(process.kill)
        return process

    def end(self) -> None:
        with ExitStack() as ending:
            for close in [*self._servers, *(tab.close for tab in self._tabs)]:
                ending.callback(close)

    def _copy(self, name: str) -> Path:
        return copied(self._master(name), self._folder / f"{name}-{len(self._servers)}")


@pytest.fixture
def scene(browser: Browser, master: Folder, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(browser, master, tmp_path)
    yield made
    made.end()


@pytest.fixture
def open_tab(scene: Scene) -> OpenTab:
    """Opens tabs: `open_tab(site, lang="ko", scheme="dark", phone=True, reduced=True)`."""
    return scene.tab


@pytest.fixture
def acting(scene: Scene) -> Site:
    """A desk of this test's own, on which time passes and what is asked is done."""
    return scene.site("desk", running=True)


@pytest.fixture
def mortal(scene: Scene) -> Process:
    """A desk in a process of its own, which can be killed and started again."""
    return scene.process("desk")


@pytest.fixture
def page(open_tab: OpenTab, desk: Site) -> Tab:
    """A tab on the desk, English, light, 1280 × 800."""
    return open_tab(desk)
