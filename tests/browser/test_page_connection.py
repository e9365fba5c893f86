"""The page never shows old green: a server that is gone, slow, locked or back, and a machine that slept."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser

from observer_core.runtime.settings import Settings
from observer_core.runtime.web_config import TokenConfig, WebConfig
from observer_core.safety.tokens import digest_of, new_token
from tests.browser import desk
from tests.browser.served import ROOT, Process, Site
from tests.browser.tab import VIEWS, OpenTab, Tab

FAILED = r"ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_TIMED_OUT|ERR_FAILED"
GREEN = "[...document.querySelectorAll('.tone-ok, .sym-ok')].filter(it => it.checkVisibility()).length"
WORDS_OF_NOW = re.compile(r"^(open|blocked|unknown|calm|ok|pass)$", re.IGNORECASE | re.MULTILINE)


def assert_old(tab: Tab) -> None:
    """Says that it is old, in words and in grey, and nothing of it claims to be how things are."""
    assert tab.get_by_role("alert").first.inner_text().strip()
    assert tab.title().startswith("⚠")
    assert tab.evaluate(GREEN) == 0
    states = tab.locator("main .state:not(.badge)").all_inner_texts()
    assert not [text for text in states if WORDS_OF_NOW.match(text.strip())]
    greyed = """getComputedStyle(document.querySelector("main")).filter !== "none"
        || Number(getComputedStyle(document.querySelector("main")).opacity) < 1"""
    assert tab.evaluate(greyed), "it is not greyed"


def test_a_killed_server_is_noticed_and_its_return_too(open_tab: OpenTab, mortal: Process) -> None:
    tab = open_tab(mortal)
    tab.allow(FAILED, "request failed")
    tab.goto()
    assert tab.evaluate(GREEN) > 0
    mortal.kill()
    tab.eventually("document.documentElement.dataset.live === 'lost'")
    tab.shot("killed-server")
    assert_old(tab)
    assert tab.axe() == []
    mortal.start()
    tab.settle()
    assert tab.evaluate(GREEN) > 0
    assert not tab.title().startswith("⚠")


@pytest.mark.parametrize(
    "view", sorted({"series", "incidents", "decisions", "operate", "system"}.intersection(VIEWS))
)
def test_no_view_outlives_its_server(open_tab: OpenTab, desk: Site, view: str) -> None:
    tab = open_tab(desk)
    tab.allow(FAILED, "request failed")
    tab.goto(view)
    tab.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    tab.eventually("document.documentElement.dataset.live === 'lost'")
    assert_old(tab)
    tab.unroute("**/v1/**")
    tab.settle()


def test_a_page_that_is_opened_without_its_server_shows_nothing_as_known(
    open_tab: OpenTab, desk: Site
) -> None:
    tab = open_tab(desk)
    tab.allow(FAILED, "request failed")
    tab.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    tab.page.goto(tab.address("now"))
    tab.eventually("document.documentElement.dataset.live === 'lost'")
    assert tab.evaluate(GREEN) == 0
    assert tab.get_by_role("alert").count() > 0
    tab.unroute("**/v1/**")
    tab.settle()


def test_a_server_that_answers_too_late_is_as_good_as_none(open_tab: OpenTab, acting: Site) -> None:
    tab = open_tab(acting)
    tab.goto()
    acting.weather.delay = 5.0
    tab.eventually("['lost', 'late'].includes(document.documentElement.dataset.live)")
    assert_old(tab)
    acting.weather.delay = 0.0
    tab.settle()


def test_after_the_machine_has_slept_nothing_is_believed_before_it_is_asked_again(
    open_tab: OpenTab, acting: Site
) -> None:
    tab = open_tab(acting)
    tab.clock.install()
    tab.goto()
    acting.weather.delay = 1.0
    tab.clock.fast_forward("10:00")
    tab.eventually("document.documentElement.dataset.live !== 'live'")
    assert_old(tab)
    acting.weather.delay = 0.0
    tab.settle()


def test_a_clock_that_stands_still_is_not_taken_for_a_quiet_market(open_tab: OpenTab, desk: Site) -> None:
    tab = open_tab(desk)
    tab.goto()
    frozen = tab.request.get(f"{desk.url}/v1/status").text()
    tab.route("**/v1/status", lambda route: route.fulfill(body=frozen, content_type="application/json"))
    tab.eventually("document.documentElement.dataset.live === 'still'", seconds=20.0)
    assert_old(tab)


# ---------------------------------------------------------------------- who may look


def test_who_is_not_known_is_asked_for_a_token_and_then_let_in(scene: Any) -> None:
    token = new_token()

    def change(settings: Settings) -> Settings:
        given = TokenConfig(name="mira", sha256=digest_of(token).hex(), scopes=("operate",))
        return settings.model_copy(update={"web": WebConfig(token=(given,))})

    site = scene.site("desk", change=change)
    tab = scene.tab(site)
    tab.allow("401")
    tab.page.goto(tab.address("now"))
    dialog = tab.get_by_role("dialog")
    dialog.wait_for()
    tab.shot("token")
    assert tab.axe() == []
    field = dialog.locator("input[type=password]")
    field.fill(new_token())
    tab.keyboard.press("Enter")
    tab.says(re.compile("not (?:known|right|valid|accepted)|wrong|refused", re.IGNORECASE))
    field.fill(token)
    tab.keyboard.press("Enter")
    tab.settle()
    assert tab.evaluate("localStorage.length") == 0 or token not in tab.evaluate(
        "JSON.stringify(localStorage)"
    )
    assert token not in tab.page.url
    assert not [found.url for found in tab.responses if token in found.url]


# ---------------------------------------------------------------------- the real thing


STANDALONE = """
durability = "normal"

[web]
port = 0

[[source]]
name = "host"
kind = "system"
interval = "500ms"
host = "this-machine"

[[source]]
name = "kospi"
kind = "recording"
domain = "kospi"
paths = ["kospi.csv"]
rate = 1000
mapping = { time = "date", zone = "Asia/Seoul", subject_name = "KS200", fields = ["close"], bar = "1d" }
"""


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """`observer run`, as it is started by hand; the address that it answers at."""
    (folder / "config").mkdir()
    (folder / "config" / "observer.toml").write_text(STANDALONE)
    desk.kospi(folder / "kospi.csv")
    process = subprocess.Popen(
        [sys.executable, "-c", "from observer_core.cli import main; main()", "--root", str(folder), "run",
         "--no-console"],
        cwd=ROOT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{_port(folder / 'logs' / 'observer.log', process)}"
    finally:
        process.terminate()
        assert process.wait(20) == 0


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_bytes().splitlines() if log.is_file() else ():
            said = orjson.loads(line)
            if said["event"] == "started":
                return int(said["port"])
        time.sleep(0.05)
    raise AssertionError(f"observer run did not start (exit code {process.poll()})")


def test_the_observer_as_it_is_run_shows_its_own_machine_and_what_it_replays(
    browser: Browser, tmp_path: Path
) -> None:
    with running(tmp_path) as url, closing(Tab(browser, url)) as tab:
        tab.goto()
        tab.says("this-machine")
        tab.locator("label.domain select").select_option("kospi")
        tab.says("KS200")
        tab.goto("system")
        tab.says("host")
