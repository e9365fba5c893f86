"""What comes from outside is text, wherever it is shown: it runs nothing, and is shown as it is."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from observer_core.snapshot_engine.names import fault
from tests.browser.hostile import NAMES, REFUSED, RUN
from tests.browser.served import Site
from tests.browser.tab import VIEWS, OpenTab, Tab

SHOWN = [name for name in NAMES if name.strip()]
_FOREIGN = (
    "main :is(script, iframe, img, object, embed, base, form[action], [src], [onerror], [onload], [srcdoc])"
)


@pytest.fixture
def tab(open_tab: OpenTab, hostile: Site) -> Tab:
    return open_tab(hostile)


def place(site: Site, view: str) -> tuple[str, str | None, dict[str, str]]:
    if view == "incident":
        return view, site.get("v1/incidents?domain=live&source=feed&limit=1")["items"][0]["id"], {}
    if view == "decision":
        return (
            view,
            site.get("v1/decisions?domain=live&verdict=block&limit=1")["items"][0]["record"]["id"],
            {},
        )
    if view == "series":
        return view, None, {"source": "feed", "subject": NAMES[1], "field": NAMES[1]}
    return view, None, {}


def assert_harmless(tab: Tab) -> None:
    assert tab.evaluate("window.__xss") is None, "a text was run"
    assert tab.locator(_FOREIGN).count() == 0, "a text became elements"


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_runs_what_it_shows(tab: Tab, hostile: Site, view: str) -> None:
    name, identity, params = place(hostile, view)
    tab.goto(name, identity, **params)
    assert_harmless(tab)
    tab.shot(f"hostile-{view}")
    assert RUN in tab.locator("main").text_content()
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a long name breaks the page"


def test_every_allowed_name_is_on_the_board_as_it_is(tab: Tab) -> None:
    assert [name for name in NAMES if fault(name)] == []
    tab.goto("now")
    text = tab.locator("main").text_content()
    assert [name for name in SHOWN if name not in text] == []


def test_a_long_name_breaks_no_view_on_a_phone(open_tab: OpenTab, hostile: Site) -> None:
    tab = open_tab(hostile, phone=True)
    tab.goto("now")
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.shot("hostile-now-phone")


def test_a_link_with_anything_in_it_leads_into_the_page_only(tab: Tab) -> None:
    for name in SHOWN[:9]:
        for view in ("series", "incident", "decision"):
            tab.allow("404", "400")
            tab.page.goto(tab.address(view, name, source=name, subject=name, field=name, domain=name))
            tab.eventually("document.documentElement.dataset.live === 'live'")
            assert_harmless(tab)
            assert tab.page.url.startswith(f"{tab.url}/#/")


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_name_that_cannot_be_shown_is_refused_where_it_comes_in(hostile: Site, name: str) -> None:
    assert fault(name)
    body = json.dumps({"subject": name, "price": 1.0}).encode()
    request = urllib.request.Request(
        f"{hostile.url}/v1/snapshots/feed", body, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    assert refused.value.code == 400
