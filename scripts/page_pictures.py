"""Makes docs/images/*.png: the page over the tests' trading desk, in a real Chromium.

The data and the time shown are always the same. Korean text needs a font that has it (Debian:
fonts-noto-cjk). `make pictures` runs this.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from observer_core.shared.clock import SECOND  # noqa: E402
from tests.browser import desk  # noqa: E402
from tests.browser.chromium import ChromiumMissing, launched  # noqa: E402
from tests.browser.served import Site  # noqa: E402
from tests.browser.tab import Tab  # noqa: E402

FOLDER: Final = ROOT / "docs" / "images"
AFTER_NS: Final = 2 * SECOND
_COLOURS: Final = 256
Place = tuple[str, str | None, dict[str, str]]


def main() -> int:
    if not subprocess.run(["fc-list", ":lang=ko"], capture_output=True, check=False).stdout.strip():
        print("pictures: no font with Korean (Debian: apt-get install fonts-noto-cjk)", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory() as name, launched() as browser:
            data = Path(name) / "desk"
            desk.make(data)
            site = Site(data, desk.END_NS + AFTER_NS)
            try:
                _all(browser, site)
            finally:
                site.close()
    except ChromiumMissing as missing:
        print(f"pictures: {missing}", file=sys.stderr)
        return 2
    return 0


def _all(browser: Browser, site: Site) -> None:
    incident = _first(site, "incidents", lambda it: "BTC/USDT" in str(it["series"]))["id"]
    decision = _first(
        site, "decisions", lambda it: it["record"]["scope"] == "subject:BTC/USDT", verdict="block"
    )["record"]["id"]  # fmt: skip
    bitcoin = {"source": "binance", "subject": "BTC/USDT", "field": "close"}
    places: dict[str, Place] = {
        "now": ("now", None, {}), "series": ("series", None, bitcoin),
        "incident": ("incident", incident, {}), "decision": ("decision", decision, {}),
        "operate": ("operate", None, {}), "system": ("system", None, {}),
    }  # fmt: skip
    for name, place in places.items():
        _picture(browser, site, name, place)
    _picture(browser, site, "now-dark", places["now"], scheme="dark")
    _picture(browser, site, "now-ko", places["now"], lang="ko")
    _picture(browser, site, "now-phone", places["now"], phone=True, scale=2.0)


def _first(site: Site, what: str, wanted: Callable[[Any], bool], **query: str) -> Any:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return next(item for item in site.get(f"v1/{what}?domain=live&limit=100{more}")["items"] if wanted(item))


def _picture(browser: Browser, site: Site, name: str, place: Place, **look: Any) -> None:
    tab = Tab(browser, site.url, shots=FOLDER, reduced=True, **look)
    tab.page.clock.set_fixed_time((desk.END_NS + AFTER_NS) / 1e9)
    view, identity, params = place
    tab.goto(view, identity, **params)
    tab.page.evaluate("document.fonts.ready")
    tab.page.mouse.move(0, 0)
    path = tab.shot(name)
    tab.close()
    _reduce(path)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KB", flush=True)


def _reduce(path: Path) -> None:
    """A picture of a page has few colours: a palette makes it a third as large."""
    from PIL import Image

    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(
            _COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    reduced.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
