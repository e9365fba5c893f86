"""The series view: what its chart shows is what the API says, and everything can be done in several ways."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from observer_core.shared.clock import parse_time
from tests.browser import desk as desk_data
from tests.browser.hostile import NAMES, RUN
from tests.browser.large import LONG, MANY
from tests.browser.recorder import MINUTE
from tests.browser.served import Process, Site
from tests.browser.tab import OpenTab, Tab

FAILED = r"ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|request failed"
BTC = {"source": "binance", "subject": "BTC/USDT", "field": "close"}
SOL = {**BTC, "subject": "SOL/USDT"}
KRW = {"source": "upbit", "subject": "BTC/KRW", "field": "last"}
TAPE = {"source": "long", "subject": "LONG", "field": "price", "domain": "tape"}
HALT_FROM, HALT_TO = (desk_data.START_NS + minute * MINUTE for minute in desk_data.HALT)


def look(tab: Tab, **params: str) -> None:
    tab.goto("series", **params)
    ready(tab)


def ready(tab: Tab) -> None:
    """Until the chart is that of what is asked for."""
    tab.eventually("""document.querySelector(".chart")?.getAttribute("aria-busy") === "false"
        && document.querySelector(".chart canvas") !== null""")


def told(tab: Tab) -> str:
    """What the chart says of itself to who cannot see it."""
    return str(tab.locator(".chart [role=img]").get_attribute("aria-label"))


def count(tab: Tab, name: str) -> int:
    found = re.search(rf"\b{name}: (\d+)", told(tab), re.IGNORECASE)
    assert found, told(tab)
    return int(found[1])


def seen(tab: Tab) -> tuple[int, int]:
    """From when to when the address says that is looked (ns)."""
    query = parse_qs(urlsplit(tab.page.url).fragment.partition("?")[2])
    return parse_time(query["since"][0]), parse_time(query["until"][0])


def box(tab: Tab) -> dict[str, float]:
    found: dict[str, float] = tab.locator(".chart .u-over").bounding_box()
    return found


def point(tab: Tab, across: float, down: float = 0.5) -> tuple[float, float]:
    """A place of the chart: parts of its width and height."""
    at = box(tab)
    return at["x"] + at["width"] * across, at["y"] + at["height"] * down


def drag(tab: Tab, start: float, end: float) -> None:
    tab.mouse.move(*point(tab, start))
    tab.mouse.down()
    tab.mouse.move(*point(tab, end), steps=4)
    tab.mouse.up()


def moved(tab: Tab, before: str) -> None:
    """Until the address is another one, and what it asks for is there."""
    tab.eventually(f"location.hash !== {json.dumps(before)}")
    ready(tab)


def place(tab: Tab) -> str:
    return str(tab.evaluate("location.hash"))


def readout(tab: Tab) -> str:
    return str(tab.locator(".readout").inner_text())


def span(tab: Tab, name: str) -> None:
    tab.locator(".spans").get_by_role("button", name=re.compile(f"^{name}(:|$)")).click()
    ready(tab)


def fixed(since: str, until: str) -> dict[str, str]:
    return {"since": since, "until": until}


# ---------------------------------------------------------------------- what is to be seen


def test_a_chart_shows_what_the_api_says(page: Tab, desk: Site) -> None:
    shown = fixed("2026-03-02T04:00:00Z", "2026-03-02T09:00:00Z")
    look(page, **SOL, **shown)
    query = urlencode({**SOL, **shown})
    candles = page.responses
    answer = desk.get(f"v1/series/points?{query}&form=candles&points=200")
    markers = desk.get(f"v1/series/markers?{query}&all=true")["items"]
    blocks = desk.get(
        f"v1/blocks?{urlencode({'domain': 'live', 'subject': 'SOL/USDT', 'standing': 'false', **shown})}"
    )
    assert candles
    assert len(markers) > 2
    assert count(page, "patterns") == len(markers)
    assert count(page, "blocks") == len(blocks["items"]) > 0
    assert f"lowest {min(answer['low']):,.6g}".lower()[:14] in told(page).lower()
    rows = page.locator(".series-patterns tbody tr")
    assert rows.count() == len(markers)
    assert rows.locator("td:first-child").all_inner_texts() == [
        f" {it['pattern']}" if False else it["pattern"] for it in reversed(markers)
    ]
    assert page.locator(".series-blocks tbody tr").count() == len(blocks["items"])
    assert re.search(r"O\s+[\d.,]+\s+H\s+[\d.,]+\s+L\s+[\d.,]+\s+C\s+[\d.,]+", readout(page).replace("\n", " "))
