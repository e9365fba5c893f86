"""The Chromium of this machine, driven by Playwright: nothing is downloaded."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[2]
LAUNCH: Final = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--no-default-browser-check",
    # Whatever is not this machine cannot be reached: the page must not miss it.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)  # fmt: skip


class ChromiumMissing(RuntimeError):
    """There is none on PATH; the message says how to get one."""


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser with a profile of its own, thrown away afterwards. `ChromiumMissing` without one."""
    found = subprocess.run(
        ["sh", "scripts/find_chromium.sh"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    program = found.stdout.strip()
    if not program:
        raise ChromiumMissing(
            "looking at the page needs a Chromium on PATH: sh scripts/get_chromium.sh "
            "(Debian: apt-get install chromium), or CHROMIUM=path/to/chrome"
        )
    with sync_playwright() as playwright:
        # Its sandbox cannot be had by root.
        browser = playwright.chromium.launch(
            executable_path=program, args=LAUNCH, chromium_sandbox=os.geteuid() != 0
        )
        yield browser
        browser.close()


@contextmanager
def launched_or_skipped() -> Iterator[Browser]:
    """For tests: without a Chromium they are skipped; where CI is true they fail."""
    try:
        with launched() as browser:
            yield browser
    except ChromiumMissing as missing:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
