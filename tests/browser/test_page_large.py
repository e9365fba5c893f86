"""Five hundred subjects and ten thousand points are found, drawn and left again without waiting."""

from __future__ import annotations

import re

from tests.browser.large import LONG, MANY
from tests.browser.served import Site
from tests.browser.tab import OpenTab


def test_one_of_five_hundred_subjects_is_found_by_typing(open_tab: OpenTab, large: Site) -> None:
    tab = open_tab(large)
    tab.goto("now")
    assert tab.get_by_text(f"{len(MANY)}", exact=False).count() > 0
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.matches('[data-search]')")
    tab.keyboard.type("s123")
    tab.eventually("document.querySelector('main').textContent.includes('S123/USDT')")
    tab.eventually("!document.querySelector('main').textContent.includes('S200/USDT')")
    tab.says(re.compile("blocked", re.IGNORECASE))
    tab.shot("large-found")
    tab.keyboard.press("Escape")


def test_those_that_need_a_look_come_first(open_tab: OpenTab, large: Site) -> None:
    tab = open_tab(large)
    tab.goto("now")
    text = tab.locator("main").text_content()
    assert max(text.index(name) for name in (MANY[7], MANY[123], MANY[499])) < text.index(MANY[0])


def test_the_board_of_five_hundred_is_accessible(open_tab: OpenTab, large: Site) -> None:
    tab = open_tab(large)
    tab.goto("now")
    assert tab.axe() == []


def test_ten_thousand_points_come_reduced_and_are_drawn(open_tab: OpenTab, large: Site) -> None:
    tab = open_tab(large)
    tab.goto("series", source="long", subject="LONG", field="price", domain="tape")
    tab.locator("main canvas").first.wait_for()
    answers = [found.json() for found in tab.responses if "/v1/series/points" in found.url and found.ok]
    assert max(answer["rows"] for answer in answers) == LONG
    assert max(len(answer["time_ms"]) for answer in answers) <= 4_000
    painted = """[...document.querySelectorAll("main canvas")].some(canvas => {
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.some(value => value !== 0);
    })"""
    tab.eventually(painted)
    tab.shot("large-series")
