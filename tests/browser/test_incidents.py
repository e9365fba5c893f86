"""Incidents, and one of them, as an operator reads them: what the API says is what he sees."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.browser.hostile import NAMES
from tests.browser.served import Site
from tests.browser.tab import OpenTab, Tab

OPEN, OVER = "Open", "Resolved"


def incidents(site: Site, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.get(f"v1/incidents?domain=live{query}")["items"]
    return found


def started_by(site: Site, subject: str) -> dict[str, Any]:
    """The newest incident that started in this subject, with all that became of it."""
    item = next(it for it in incidents(site) if any(series[1] == subject for series in it["started"]))
    found: dict[str, Any] = site.get(f"v1/incidents/{item['id']}")
    return found


def card(tab: Tab, title: str) -> Any:
    return tab.locator("section.card").filter(has=tab.page.get_by_role("heading", name=title, exact=True))


def rows(tab: Tab, title: str) -> list[str]:
    return [text.replace("\n", " ") for text in card(tab, title).locator("tbody tr").all_inner_texts()]


def ids(tab: Tab) -> list[str]:
    links = tab.locator("main tbody a[href^='#/incident/']")
    return [str(link.get_attribute("href")).removeprefix("#/incident/") for link in links.all()]


# ---------------------------------------------------------------- the list


def test_open_ones_come_first_and_each_says_what_where_how_many_and_since_when(page: Tab, desk: Site) -> None:
    page.goto("incidents")
    is_open, over = incidents(desk, "&open=true"), incidents(desk, "&open=false")
    assert ids(page) == [item["id"] for item in [*is_open, *over]]
    for row, item in zip([*rows(page, OPEN), *rows(page, OVER)], [*is_open, *over], strict=True):
        assert item["severity"] in row
        assert item["venue"] in row
        assert re.search(rf"\b{item['series_count']}\b", row)
        for name, count in item["patterns"].items():
            assert (f"{name} ×{count}" if count > 1 else name) in row
        assert row.endswith(item["state"])
        source, subject, _ = item["started"][0]
        assert (f"all of {source}" if subject == "*" else subject) in row


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"severity": "critical"}, "&severity=critical"),
        ({"source": "upbit"}, "&source=upbit"),
        ({"subject": "SOL"}, "&subject=*SOL*"),
        ({"subject": "SOL/*"}, "&subject=SOL/*"),
        ({"since": "2h"}, "&since=2h"),
    ],
)
def test_a_link_with_filters_shows_what_the_api_gives_for_them(
    page: Tab, desk: Site, params: dict[str, str], query: str
) -> None:
    page.goto("incidents", **params)
    wanted = [it["id"] for state in ("true", "false") for it in incidents(desk, f"{query}&open={state}")]
    assert 0 < len(wanted) < len(incidents(desk))
    assert ids(page) == wanted


def test_what_is_filtered_stands_in_the_address_and_is_cleared_at_once(page: Tab, desk: Site) -> None:
    page.goto("incidents")
    page.get_by_label("Open only").check()
    page.eventually("location.hash.includes('open=true')")
    card(page, OVER).wait_for(state="detached")
    page.get_by_label("Subject").fill("BTC")
    page.eventually("location.hash.includes('subject=BTC')")
    page.settle()
    assert ids(page) == [item["id"] for item in incidents(desk, "&open=true&subject=*BTC*")]
    page.get_by_role("button", name="Clear filters").click()
    page.eventually("!location.hash.includes('?')")
    page.settle()
    assert len(ids(page)) == len(incidents(desk))


def test_nothing_open_is_good_news_and_a_time_that_is_none_is_said(page: Tab) -> None:
    page.goto("incidents", subject="no-such-subject")
    page.says("No open incident")
    page.says("No resolved incident.")
    assert page.axe() == []
    page.allow("400")
    page.goto("incidents", since="yesterday")
    page.says(re.compile("is not a time"))


def test_the_keyboard_alone_opens_an_incident(page: Tab, desk: Site) -> None:
    page.goto("incidents")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    second = incidents(desk, "&open=true")[1]
    page.eventually(f"location.hash === '#/incident/{second['id']}'")


# ---------------------------------------------------------------- one of them


def test_its_head_and_its_series_say_what_the_api_says(page: Tab, desk: Site) -> None:
    found = started_by(desk, "LINK/USDT")
    item = found["incident"]
    page.goto("incident", item["id"])
    head = page.locator(".view-head").inner_text()
    assert "LINK/USDT and 2 more" in head
    assert item["state"] in head
    assert item["severity"] in head
    facts = page.locator(".head-card").inner_text()
    assert f"{item['score']:.2f}" in facts
    assert item["id"][:8] in facts
    shown = rows(page, "Series, as they moved")
    assert len(shown) == len(found["ranked"]) == 4
    first = min(row["first_ns"] for row in found["ranked"])
    for text, row in zip(shown, found["ranked"], strict=True):
        assert text.startswith(f"{row['subject']} {row['field']} · {row['source']}")
        assert row["pattern"] in text
        assert f"{row['score']:.2f}" in text
        minutes = (row["first_ns"] - first) // 60_000_000_000
        assert (f"+{minutes} min" if minutes else "first") in text
        assert ("start" in text) == row["started"]


def test_a_series_leads_to_its_chart_around_that_time(page: Tab, desk: Site) -> None:
    found = started_by(desk, "LINK/USDT")
    page.goto("incident", found["incident"]["id"])
    card(page, "Series, as they moved").locator("tbody a").first.click()
    page.eventually("location.hash.startsWith('#/series?')")
    hash_ = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.split('?')[1]))")
    assert (hash_["source"], hash_["subject"], hash_["field"]) == ("binance", "LINK/USDT", "close")
    assert hash_["since"] < found["timeline"][0]["time"] < hash_["until"]


def test_its_timeline_has_every_entry_at_its_moment_and_one_kind_alone(page: Tab, desk: Site) -> None:
    found = desk.get(f"v1/incidents/{incidents(desk, '&open=false')[-1]['id']}")
    page.goto("incident", found["incident"]["id"])
    timeline = card(page, "Timeline")
    moments = timeline.locator(".moments > li")
    assert [text.partition("\n")[0] for text in moments.all_inner_texts()] == list(
        dict.fromkeys(entry["time"][11:19] for entry in found["timeline"])
    )
    counts = {
        kind: sum(e["kind"] == kind for e in found["timeline"]) for kind in ("event", "decision", "delivery")
    }
    for label, kind in (("Pattern", "event"), ("Decision", "decision"), ("Delivery", "delivery")):
        timeline.get_by_role("button", name=re.compile(label)).click()
        page.eventually(f"location.hash.includes('kind={kind}')")
        entries = timeline.locator(".entry").all_inner_texts()
        if kind == "delivery":
            assert entries[0].endswith(f"×{counts[kind]}")
        else:
            assert len(entries) == counts[kind]
    page.goto("incident", found["incident"]["id"], kind="feedback")
    (said,) = timeline.locator(".entry").all_inner_texts()
    assert said.split() == ["Feedback", "true", "alarm", "mira:", "a", "real", "fall"]


def test_what_was_decided_and_released_and_who_was_told(page: Tab, desk: Site) -> None:
    found = started_by(desk, "LINK/USDT")
    page.goto("incident", found["incident"]["id"])
    decided = card(page, "What was decided")
    blocks = [entry for entry in found["timeline"] if entry["record"].get("verdict") == "block"]
    shown = decided.locator("ul.rows").first.locator("li").all_inner_texts()
    assert len(shown) == len(blocks) == 3
    (lifted,) = [text for text in shown if "LINK/USDT" in text.partition("price-shock")[0]]
    assert "released 09:57:00" in " ".join(lifted.split())
    assert "hedge of the open position only" in lifted
    deliveries = sum(entry["kind"] == "delivery" for entry in found["timeline"])
    assert f"journal {deliveries} records" in card(page, "Who was told").inner_text()


def test_what_was_not_executed_is_seen_as_such_with_why(page: Tab, desk: Site) -> None:
    page.goto("incident", started_by(desk, "XRP/KRW")["incident"]["id"])
    row = card(page, "What was decided").locator("li.not-done")
    assert "not executed" in row.inner_text()
    assert "already blocked by stale-feed" in row.inner_text()


def test_what_a_silence_kept_back_is_said_with_the_silence(page: Tab, desk: Site) -> None:
    found = started_by(desk, "XRP/KRW")
    page.goto("incident", found["incident"]["id"])
    kept = [entry for entry in found["timeline"] if entry["record"].get("kind") == "route"]
    silence = next(by for by in kept[0]["record"]["stopped"] if by.startswith("silence:"))
    told = " ".join(card(page, "Who was told").inner_text().split())
    assert f"withheld journal: silence {silence.removeprefix('silence:')} 4 records" in told
    assert f"withheld pager: silence {silence.removeprefix('silence:')} 1 record" in told


def test_an_id_that_is_none_says_so_and_leads_to_the_list(page: Tab) -> None:
    page.allow("404", "400")
    for identity in ("0123456789abcdef", "nonsense"):
        page.page.goto(page.address("incident", identity))
        page.says(f"There is no incident “{identity}”.")
        assert page.axe() == []
    page.get_by_role("link", name="All incidents").click()
    page.eventually("location.hash === '#/incidents'")


def test_the_first_digits_of_an_id_are_enough(page: Tab, desk: Site) -> None:
    item = incidents(desk)[0]
    page.goto("incident", item["id"][:8])
    assert page.locator(f"code[title='{item['id']}']").count() == 1


def test_an_incident_of_another_domain_says_of_which(page: Tab, desk: Site) -> None:
    page.goto("now")
    page.evaluate("""localStorage.setItem("observer.prefs", JSON.stringify({domain: "kospi"}))""")
    page.reload()
    page.settle()
    page.goto("incident", incidents(desk)[0]["id"])
    page.says("This is of domain live; the rest of the page is about kospi.")
    page.get_by_role("button", name="Switch to live").click()
    page.locator(".other-domain").wait_for(state="detached")


# ---------------------------------------------------------------- what people say of it


def test_feedback_is_recorded_and_shown_at_once(acting: Site, open_tab: OpenTab) -> None:
    found = started_by(acting, "LINK/USDT")
    assert found["right"] is None
    tab = open_tab(acting)
    tab.goto("incident", found["incident"]["id"])
    box = card(tab, "Was it right?")
    assert "not said yet" in box.locator(".lead-line").inner_text()
    box.get_by_role("button", name="False alarm").click()
    dialog = tab.get_by_role("dialog")
    assert tab.axe() == []
    dialog.get_by_label("Author").fill("jin")
    dialog.get_by_label("Reason").fill("a <b>test</b> print")
    dialog.get_by_role("button", name="False alarm").click()
    dialog.wait_for(state="detached")
    tab.says("jin: a <b>test</b> print")
    assert "false alarm" in box.locator(".lead-line").inner_text()
    after = acting.get(f"v1/incidents/{found['incident']['id']}")
    opened = next(entry["record"] for entry in found["timeline"] if entry["kind"] == "incident")
    assert after["right"] is False
    assert after["feedback"] == {opened["causationid"]: False}
    (said,) = [entry["record"]["body"] for entry in after["timeline"] if entry["kind"] == "feedback"]
    assert (said["author"], said["note"]) == ("jin", "a <b>test</b> print")


def test_an_incident_is_ended_with_a_reason_and_after_a_question(acting: Site, open_tab: OpenTab) -> None:
    found = started_by(acting, "LINK/USDT")
    tab = open_tab(acting)
    tab.goto("incident", found["incident"]["id"])
    tab.get_by_role("button", name="End incident").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("Author").fill("mira")
    dialog.get_by_role("button", name="End incident").click()
    assert dialog.is_visible(), "without a reason nothing is sent"
    dialog.get_by_label("Reason").fill("the feed will not come back")
    dialog.get_by_role("button", name="End incident").click()
    dialog.wait_for(state="detached", timeout=20_000)
    tab.locator(".view-head").get_by_text("resolved").wait_for()
    assert acting.get(f"v1/incidents/{found['incident']['id']}")["incident"]["state"] == "resolved"


def test_who_may_not_act_is_told_why(open_tab: OpenTab, desk: Site) -> None:
    tab = open_tab(desk)
    who = {**desk.get("v1/whoami"), "scopes": ["read"]}
    tab.page.route("**/v1/whoami", lambda route: route.fulfill(json=who))
    tab.goto("incident", incidents(desk, "&open=true")[0]["id"])
    for name in ("True alarm", "False alarm", "End incident"):
        assert tab.get_by_role("button", name=name).is_disabled()
    tab.says("This needs the scope “operate”, which you do not have.")


def test_it_greys_out_and_says_was_when_the_server_is_gone(scene: Any) -> None:
    mortal = scene.process("desk")
    tab = scene.tab(mortal)
    tab.allow("ERR_CONNECTION_REFUSED", "Failed to load resource", "request failed")
    item = json.loads(tab.context.request.get(f"{mortal.url}/v1/incidents?domain=live&open=true").text())
    tab.goto("incident", item["items"][0]["id"])
    assert "was open" not in tab.text
    mortal.kill()
    tab.settle("lost")
    assert "was open" in tab.locator(".view-head").inner_text()


# ---------------------------------------------------------------- hostile, small


def test_hostile_names_stand_there_as_they_are(open_tab: OpenTab, hostile: Site) -> None:
    tab = open_tab(hostile)
    item = incidents(hostile, "&source=feed")[0]
    found = hostile.get(f"v1/incidents/{item['id']}")
    tab.goto("incident", item["id"])
    text = tab.locator("main").text_content()
    assert {row["subject"] for row in found["ranked"]} & set(NAMES)
    assert [row["subject"] for row in found["ranked"] if row["subject"] not in text] == []
    assert [
        e["record"]["scope"]
        for e in found["timeline"]
        if e["kind"] == "decision"
        and e["record"]["scope"].startswith("subject:")
        and e["record"]["scope"][8:] not in text
    ] == []
    assert tab.evaluate("window.__xss") is None


@pytest.mark.parametrize("view", ["incidents", "incident"])
def test_on_a_phone_nothing_is_cut_off(open_tab: OpenTab, hostile: Site, view: str) -> None:
    tab = open_tab(hostile, phone=True, lang="ko", scheme="dark")
    tab.goto(view, incidents(hostile, "&source=feed")[0]["id"] if view == "incident" else None)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.axe() == []
