"""axe-core: is what stands on the page accessible?

`python -m tests.browser.axe` only installs it.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

from tests.support import npm

FOLDER = Path(__file__).resolve().parent
TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN: Final = """tags => axe.run(document, {
    runOnly: {type: "tag", values: tags}, resultTypes: ["violations"], preload: false,
})"""


def install() -> None:
    npm.install(FOLDER, "tests of the page's accessibility need axe-core")


def violations(page: Page) -> list[str]:
    """One line for each element that breaks a rule; none is as it should be.

    The browser runs it as its own debugger does, so that the page's Content-Security-Policy stays on.
    """
    page.evaluate(_source())
    found: dict[str, Any] = page.evaluate(_RUN, TAGS)
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {' '.join(map(str, node['target']))}: "
        f"{node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@cache
def _source() -> str:
    install()
    return (FOLDER / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


if __name__ == "__main__":
    try:
        install()
    except npm.NpmMissing as missing:
        sys.exit(f"setup: {missing}")
