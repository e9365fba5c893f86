"""Decisions, and the chain of one back to its snapshots, as an auditor reads them."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.browser.hostile import NAMES, RUN
from tests.browser.served import Site
from tests.browser.tab import OpenTab, Tab
from tests.browser.test_incidents import card


def decisions(site: Site, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.get(f"v1/decisions?domain=live{query}")["items"]
    return found


def lineage(site: Site, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = site.get(f"v1/decisions/{quote(identity, safe='')}/lineage")
    return found


def steps(step: dict[str, Any]) -> list[dict[str, Any]]:
    return [step, *(inner for cause in step["causes"] for inner in steps(cause))]


def refs(tab: Tab) -> list[str]:
    links = tab.locator("main tbody a[href^='#/decision/']")
    return [
        str(link.get_attribute("href")).removeprefix("#/decision/").replace("%40", "@")
        for link in links.all()
    ]


def newest_block(site: Site) -> dict[str, Any]:
    return decisions(site, "&verdict=block&limit=1")[0]


# ---------------------------------------------------------------- the list


def test_every_decision_is_there_newest_first_with_what_and_why(page: Tab, desk: Site) -> None:
    page.goto("decisions")
    items = decisions(desk, "&limit=50")
    assert refs(page) == [item["ref"] for item in items]
    shown = [text.replace("\n", " ") for text in page.locator("main tbody tr").all_inner_texts()]
    words = {"non_execution": "not executed"}
    for text, item in zip(shown, items, strict=True):
        record = item["record"]
        assert words.get(record["verdict"], record["verdict"]) in text
        assert f"{record['policy']} v{record['policy_version']}" in text
        assert record["severity"] in text
        assert item["time"][11:19] in text
        assert record["reasons"][0]["text"] in text


def test_what_was_not_executed_looks_different(page: Tab, desk: Site) -> None:
    page.goto("decisions")
    marked = page.locator("main tbody tr.not-done")
    assert marked.count() == len(decisions(desk, "&verdict=non_execution"))
    assert all("not executed" in text for text in marked.all_inner_texts())


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"verdict": "block"}, "&verdict=block"),
        ({"severity": "critical"}, "&severity=critical"),
        ({"subject": "ADA"}, "&subject=*ADA*"),
        ({"since": "2h", "until": "30m"}, "&since=2h&until=30m"),
    ],
)
def test_a_link_with_filters_shows_what_the_api_gives_for_them(
    page: Tab, desk: Site, params: dict[str, str], query: str
) -> None:
    page.goto("decisions", **params)
    wanted = [item["ref"] for item in decisions(desk, f"{query}&limit=50")]
    assert 0 < len(wanted) < len(decisions(desk))
    assert refs(page) == wanted


def test_policies_are_looked_for_by_text_and_it_is_said_among_how_many(page: Tab, desk: Site) -> None:
    page.goto("decisions")
    page.get_by_label("Policy").fill("VENUE-halt")
    page.eventually("location.hash.includes('policy=VENUE-halt')")
    wanted = [item["ref"] for item in decisions(desk) if item["record"]["policy"] == "venue-halt"]
    page.says(re.compile(rf"^{len(wanted)} of the \d+ that are loaded\.$"))
    assert refs(page) == wanted
    assert len(wanted) == 3


def test_older_ones_come_with_a_press_and_each_once(open_tab: OpenTab, desk: Site) -> None:
    tab = open_tab(desk)
    tab.page.route(
        "**/v1/decisions?*",
        lambda route: route.continue_(url=route.request.url.replace("limit=50", "limit=20")),
    )
    tab.goto("decisions")
    assert len(refs(tab)) == 20
    wanted = [item["ref"] for item in decisions(desk)]
    count = "document.querySelectorAll('main tbody tr').length"
    while tab.get_by_role("button", name="Show older ones").count():
        before = len(refs(tab))
        tab.get_by_role("button", name="Show older ones").click()
        tab.eventually(f"{count} > {before} || !document.querySelector('.more button')")
    assert refs(tab) == wanted


def test_new_ones_wait_until_they_are_asked_for(acting: Site, open_tab: OpenTab) -> None:
    tab = open_tab(acting)
    tab.goto("decisions")
    first = refs(tab)[0]
    top = tab.locator("main tbody tr").first.bounding_box()
    body = {
        "command": "block",
        "scope": "subject:SOL/USDT",
        "for": "5m",
        "author": "jin",
        "reason": "a look at it",
    }
    asked = tab.context.request.post(
        f"{acting.url}/v1/commands", data=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert asked.status == 202
    button = tab.get_by_role("button", name=re.compile(r"^Show \d+ new$"))
    button.wait_for()
    assert refs(tab)[0] == first
    assert tab.locator("main tbody tr").first.bounding_box() == top, "what is read has moved"
    button.click()
    tab.eventually(f"!document.querySelector('main tbody tr a').href.endsWith('{quote(first)}')")
    assert refs(tab) == [item["ref"] for item in decisions(acting, "&limit=50")][: len(refs(tab))]
    assert "blocked by jin: a look at it" in tab.locator("main tbody").inner_text()


# ---------------------------------------------------------------- one of them


def test_its_chain_names_the_bytes_and_the_hash_of_every_record(page: Tab, desk: Site) -> None:
    item = newest_block(desk)
    page.goto("decision", item["ref"])
    chain = steps(lineage(desk, item["ref"])["step"])
    assert [step["ref"].partition(".")[0] for step in chain] == [
        "decisions",
        "events",
        "patterns",
        "snapshots",
    ]
    shown = page.locator(".chain .step")
    assert shown.count() == len(chain)
    for step, place in zip(chain, shown.all(), strict=True):
        body = place.locator("> details > .step-body > .sheet").last
        assert f"{step['segment']}@{step['offset']}+{step['length']}" in body.inner_text()
        assert body.locator(f"code[title='{step['ref']}']").inner_text() == step["ref"]
        assert body.locator(f"code[title='{step['hash']}']").inner_text() == step["hash"][:12]


def test_a_record_is_shown_and_copied_byte_for_byte_as_it_is_stored(open_tab: OpenTab, desk: Site) -> None:
    item = newest_block(desk)
    tab = open_tab(desk)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.goto("decision", item["ref"])
    chain = steps(lineage(desk, item["ref"])["step"])
    for step, box in zip(chain, tab.locator(".stored").all(), strict=True):
        stored = (desk.folder / "data/observer" / step["segment"]).read_bytes()
        raw = stored[step["offset"] : step["offset"] + step["length"]]
        box.locator("summary").click()
        assert json.loads(box.locator("pre").inner_text()) == json.loads(raw)
        assert f"{step['length']} bytes;" in box.inner_text().replace(",", "")
        assert "expected" not in box.locator("p").first.inner_text()
        box.get_by_role("button", name="Copy: record").click()
        box.get_by_text("copied").wait_for()
        assert tab.evaluate("navigator.clipboard.readText()") == raw.decode()


def test_numbers_that_javascript_cannot_hold_are_shown_as_stored(page: Tab, desk: Site) -> None:
    exact = next(it for it in decisions(desk) if it["record"]["time_ns"] % 1_000 == 440)
    page.goto("decision", exact["ref"])
    page.locator(".stored summary").first.click()
    assert f'"time_ns": {exact["record"]["time_ns"]}' in page.locator(".stored pre").first.inner_text()


def test_the_value_of_the_snapshot_is_the_observed_one(page: Tab, desk: Site) -> None:
    item = newest_block(desk)
    page.goto("decision", item["ref"])
    _, _, pattern, snapshot = steps(lineage(desk, item["ref"])["step"])
    _, subject, field = pattern["record"]["series"][0]
    record = snapshot["record"]
    value = record["fields"][field][record["subjects"].index(subject)]
    assert page.locator(".values tbody tr").all_inner_texts() == [f"{subject}\t{field}\t{value}"]


def test_policy_evidence_and_reason_are_those_of_that_time(page: Tab, desk: Site) -> None:
    item = newest_block(desk)
    found = lineage(desk, item["ref"])
    page.goto("decision", item["ref"])
    assert page.locator("pre.policy").inner_text().strip() == found["policy_text"].strip()
    page.says("Policy price-shock v3")
    assert item["record"]["reasons"][0]["text"] in page.locator(".whys").inner_text()
    evidence = card(page, "Evidence").inner_text()
    record = found["step"]["record"]["evidence"]
    assert record["snapshot"] in evidence
    assert record["type"] in evidence
    assert "1 min" in re.search(r"cadence_ns\n(.*)", evidence)[0]  # type: ignore[index]


def test_a_curve_shows_the_moment_and_can_be_read_as_a_table(page: Tab, desk: Site) -> None:
    item = newest_block(desk)
    curve = lineage(desk, item["ref"])["curve"]
    page.goto("decision", item["ref"])
    figure = page.locator("figure.curve")
    says = figure.get_by_role("img").get_attribute("aria-label")
    assert curve["name"] in says
    assert curve["label"] in says
    assert f"{sum(value is not None for value in curve['value'])} values" in says
    figure.locator("summary").click()
    assert figure.locator("tbody tr").count() == len(curve["value"])
    marked = figure.locator("tr.marked td span").get_attribute("title")
    assert float(marked) == curve["value"][curve["time_ms"].index(curve["marked_ms"])]
    assert page.axe() == []


def test_it_says_that_it_was_verified_and_how_much(page: Tab, desk: Site) -> None:
    item = newest_block(desk)
    page.goto("decision", item["ref"])
    assert "verified" in page.locator(".view-head").inner_text()
    asked = len(page.responses)
    card(page, "Verification").get_by_role("button", name="Verify again").click()
    page.eventually("true")
    page.says("All 4 records of the chain are the bytes that were committed.")
    page.settle()
    assert any("lineage" in response.url for response in page.responses[asked:])


def test_a_changed_byte_is_said_in_the_head_with_where(open_tab: OpenTab, desk: Site) -> None:
    item = newest_block(desk)
    fault = "snapshots.binance@595: positions 595 to 595 in <b>x</b> hash to 00, committed was 11"
    broken = {**lineage(desk, item["ref"]), "verified": {"sound": False, "checked": 4, "faults": [fault]}}
    tab = open_tab(desk)
    tab.page.route("**/lineage", lambda route: route.fulfill(json=broken))
    tab.goto("decision", item["ref"])
    assert "broken" in tab.locator(".view-head").inner_text()
    assert fault in card(tab, "Verification").get_by_role("alert").inner_text()
    assert tab.axe() == []


def test_a_block_says_when_it_was_released_and_who_is_to_be_told(page: Tab, desk: Site) -> None:
    released = next(it for it in decisions(desk, "&verdict=release") if it["record"]["evidence"].get("block"))
    block = released["record"]["evidence"]["block"]
    page.goto("decision", block)
    became = card(page, "What became of it")
    assert "released" in became.inner_text()
    assert released["record"]["reasons"][0]["text"] in became.inner_text()
    assert re.search(r"to be told\s+pager", became.inner_text())
    became.get_by_role("link").click()
    page.eventually(f"location.hash === '#/decision/{quote(released['ref'])}'")
    page.settle()
    assert page.locator(".chain .step.decision").count() == 2


def test_an_id_its_beginning_and_a_ref_lead_to_the_same(page: Tab, desk: Site) -> None:
    item = newest_block(desk)
    seen = set()
    for identity in (item["ref"], item["record"]["id"], item["record"]["id"][:8]):
        page.goto("decision", identity)
        seen.add(str(page.locator(".head-card code[title]").last.get_attribute("title")))
    assert seen == {item["ref"]}


def test_an_answer_of_the_gate_opens_too(acting: Site, open_tab: OpenTab) -> None:
    answer = acting.get("v1/gate/BTC%2FUSDT")
    tab = open_tab(acting)
    tab.goto("decision", answer["id"])
    assert "denied" in tab.locator(".view-head").inner_text()
    assert answer["reasons"][0]["text"] in tab.locator(".whys").inner_text()
    for journal, (position, digest) in lineage(acting, answer["id"])["step"]["rests"].items():
        assert f"{journal}@{position}" in card(tab, "Evidence").inner_text()
        assert card(tab, "Evidence").locator(f"code[title='{digest}']").count() == 1
    assert tab.locator(".step.evaluation").count() == 1
    assert tab.axe() == []


def test_a_pattern_leads_to_its_chart_where_it_is_marked(page: Tab, desk: Site) -> None:
    item = newest_block(desk)
    page.goto("decision", item["ref"])
    page.locator(".step.pattern > details > .step-body > p a.series").click()
    page.eventually("location.hash.startsWith('#/series?')")
    asked = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.split('?')[1]))")
    pattern = steps(lineage(desk, item["ref"])["step"])[2]
    assert [asked["source"], asked["subject"], asked["field"]] == pattern["record"]["series"][0]
    assert asked["mark"] == pattern["ref"]
    assert asked["since"] < "2026-03-02T09:53:00Z" < asked["until"]


def test_it_leads_to_its_incident(page: Tab, desk: Site) -> None:
    item = newest_block(desk)
    page.goto("decision", item["ref"])
    incident = item["record"]["evidence"]["incident"]
    page.locator(".head-card").get_by_role("link", name=incident[:8]).click()
    page.eventually(f"location.hash === '#/incident/{incident}'")


def test_what_is_none_says_so_and_leads_to_the_list(page: Tab) -> None:
    page.allow("404", "400")
    for identity in ("0123456789abcdef", "decisions.live@99999", "<b>"):
        page.page.goto(page.address("decision", identity))
        page.says(f"There is no decision “{identity}”.")
        assert page.axe() == []
    page.get_by_role("link", name="All decisions").click()
    page.eventually("location.hash === '#/decisions'")


def test_steps_are_opened_and_closed_by_keys_and_all_at_once(page: Tab, desk: Site) -> None:
    page.goto("decision", newest_block(desk)["ref"])
    count = "document.querySelectorAll('.step > details[open]').length"
    assert page.evaluate(count) == 4
    page.get_by_role("button", name="Close all").click()
    page.eventually(f"{count} === 0")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.eventually(f"{count} === 1")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.eventually(f"{count} === 2")
    page.get_by_role("button", name="Open all").click()
    page.eventually(f"{count} === 4")


def test_a_hash_is_copied_whole(open_tab: OpenTab, desk: Site) -> None:
    item = newest_block(desk)
    tab = open_tab(desk)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.goto("decision", item["ref"])
    digest = lineage(desk, item["ref"])["step"]["hash"]
    tab.get_by_role("button", name="Copy: Chain hash").first.click()
    tab.says("copied")
    assert tab.evaluate("navigator.clipboard.readText()") == digest


# ---------------------------------------------------------------- hostile, small


@pytest.mark.parametrize("view", ["decisions", "decision"])
def test_hostile_texts_stand_there_as_they_are(open_tab: OpenTab, hostile: Site, view: str) -> None:
    tab = open_tab(hostile)
    items = decisions(hostile, "&limit=50")
    tab.goto(view, items[0]["ref"] if view == "decision" else None)
    text = tab.locator("main").text_content()
    shown = items if view == "decisions" else items[:1]
    for item in shown:
        assert item["record"]["reasons"][0]["text"] in text
    if view == "decisions":
        subjects = {it["record"]["scope"][8:] for it in items if it["record"]["scope"].startswith("subject:")}
        assert len(subjects & set(NAMES)) >= 10
        assert [name for name in subjects if name not in text] == []
    assert RUN in text or view == "decision"
    assert tab.evaluate("window.__xss") is None


@pytest.mark.parametrize("view", ["decisions", "decision"])
def test_on_a_phone_nothing_is_cut_off(open_tab: OpenTab, hostile: Site, view: str) -> None:
    tab = open_tab(hostile, phone=True, lang="ko", scheme="dark")
    tab.goto(view, newest_block(hostile)["ref"] if view == "decision" else None)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.axe() == []
