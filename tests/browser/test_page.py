"""Every view, as a person meets it: in both languages, light and dark, on a desk and on a phone."""

from __future__ import annotations

import gzip
import re
from typing import NamedTuple

import pytest

from tests.browser.served import Site
from tests.browser.tab import VIEWS, OpenTab, Tab

TABS = ("now", "series", "incidents", "decisions", "operate", "system")
BUDGET_BYTES = 400 * 1024
MOST_SHIFT = 0.02


class Look(NamedTuple):
    lang: str
    scheme: str
    phone: bool
    reduced: bool


LOOKS = {
    "en-light": Look("en", "light", phone=False, reduced=False),
    "ko-dark": Look("ko", "dark", phone=False, reduced=False),
    "ko-light-phone": Look("ko", "light", phone=True, reduced=True),
}


def place(site: Site, view: str) -> tuple[str, str | None, dict[str, str]]:
    """Where there is something to be seen of a view."""
    if view == "incident":
        return view, site.get("v1/incidents?domain=live&limit=1")["items"][0]["id"], {}
    if view == "decision":
        return (
            view,
            site.get("v1/decisions?domain=live&verdict=block&limit=1")["items"][0]["record"]["id"],
            {},
        )
    if view == "series":
        return view, None, {"source": "binance", "subject": "BTC/USDT", "field": "close"}
    return view, None, {}


def go(tab: Tab, site: Site, view: str) -> None:
    name, identity, params = place(site, view)
    tab.goto(name, identity, **params)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", LOOKS)
def test_a_view_is_whole_accessible_and_does_not_jump(
    open_tab: OpenTab, desk: Site, view: str, name: str
) -> None:
    look = LOOKS[name]
    tab = open_tab(desk, **look._asdict())
    go(tab, desk, view)
    tab.shot(f"{view}-{name}")
    shifts = tab.shifted()
    assert tab.evaluate("document.documentElement.lang") == look.lang
    assert tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (look.scheme == "dark")
    assert tab.locator("main h1").count() == 1
    assert not re.findall(r"\b(?:nav|link|line|state|error|gate|risk|health)\.[a-z]+\b", tab.text)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    assert sum(shift["value"] for shift in shifts) < MOST_SHIFT, shifts
    assert tab.axe() == []


def test_the_theme_follows_the_machine_unless_one_is_chosen(page: Tab) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    page.goto()
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) != light
    page.evaluate("""localStorage.setItem("observer.prefs", JSON.stringify({theme: "light"}))""")
    page.reload()
    page.settle()
    assert page.evaluate(background) == light


def test_the_language_is_switched_without_a_reload_and_stays(page: Tab) -> None:
    page.goto()
    page.locator("header button[lang=ko]").click()
    page.eventually("document.documentElement.lang === 'ko'")
    assert re.search(r"[가-힣]{2}", page.locator("nav").inner_text())
    page.reload()
    page.settle()
    assert page.evaluate("document.documentElement.lang") == "ko"


def test_everything_that_can_be_done_with_a_mouse_can_be_reached_by_tab(page: Tab) -> None:
    page.goto()
    page.keyboard.press("Tab")
    assert "skip" in page.evaluate("document.activeElement.className")
    seen = []
    for _ in range(200):
        at = page.evaluate("""() => {
            const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
            return {
                body: it === document.body, name: it.outerHTML.slice(0, 120),
                ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
                seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight,
            };
        }""")
        if at["body"]:
            break
        seen.append(at)
        page.keyboard.press("Tab")
    assert len(seen) > len(TABS) + 4
    assert [at["name"] for at in seen if not at["ring"]] == [], "without a visible focus"
    assert [at["name"] for at in seen if not at["seen"]] == [], "focused where nobody sees it"


def test_single_keys_go_to_the_views_and_escape_closes_what_is_open(page: Tab) -> None:
    page.goto()
    for number, view in enumerate(TABS, 1):
        page.keyboard.press(str(number))
        page.eventually(f"location.hash.startsWith('#/{view}')")
        page.settle()
        assert page.locator("nav [aria-current=page]").get_attribute("href") == f"#/{view}"
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert page.axe() == []
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_closing_a_dialog_gives_the_focus_back(page: Tab) -> None:
    page.goto()
    opener = page.locator("header button[aria-keyshortcuts='?']")
    opener.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.eventually("document.activeElement.getAttribute('aria-keyshortcuts') === '?'")


def test_an_address_that_leads_nowhere_says_so(page: Tab) -> None:
    page.goto("nothing-like-this")
    page.get_by_role("link", name=re.compile("now", re.IGNORECASE)).last.wait_for()


def test_the_page_weighs_less_than_its_budget(page: Tab, desk: Site) -> None:
    for view in VIEWS:
        go(page, desk, view)
    weights: dict[str, int] = {}
    for response in page.responses:
        path = response.url.removeprefix(page.url)
        if not path.startswith("/v1/"):
            weights[path] = len(gzip.compress(response.body()))
    assert len(weights) > 10
    assert sum(weights.values()) <= BUDGET_BYTES, weights


def test_what_runs_comes_from_files_and_nothing_may_be_put_in_between(page: Tab, desk: Site) -> None:
    page.goto()
    answer = next(found for found in page.responses if found.url == f"{page.url}/")
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in answer.headers["content-security-policy"].split(";")
        if part.strip()
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    source = answer.text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|https?://", source)
    for view in VIEWS:
        go(page, desk, view)
        assert (
            page.locator("script:not([src]), style, iframe, object, embed, [onclick], [onerror]").count() == 0
        )
