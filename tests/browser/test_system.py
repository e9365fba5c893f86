"""What the Observer says of itself: what is wrong comes first, what is logged is shown as it is."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from observer_core.runtime.settings import Settings
from observer_core.runtime.web_config import TokenConfig, WebConfig
from observer_core.safety.tokens import digest_of, new_token
from tests.browser.hostile import NAMES
from tests.browser.served import Site
from tests.browser.tab import OpenTab, Tab


@pytest.fixture
def tab(page: Tab) -> Tab:
    page.goto("system")
    return page


def rows(tab: Tab, part: str) -> list[str]:
    return [" ".join(row.inner_text().split()) for row in tab.locator(f"#system-{part} tbody tr").all()]


def test_what_makes_it_fail_comes_first_and_is_named(tab: Tab) -> None:
    checks = tab.locator("#system-health .checks").first.inner_text()
    assert "the newest data is older than 3m" in checks
    assert "HTTP 503 from rates.example: maintenance" in checks
    assert "healthy" not in checks
    tab.locator("#system-health summary").click()
    tab.says("chain:verified")


def test_sources_and_stages_say_how_old_and_how_far_they_are(tab: Tab) -> None:
    sources = rows(tab, "sources")
    assert any(re.search(r"host system stale 5 min / 3 min", row) for row in sources)
    assert any("rates push no answer" in row and "HTTP 503" in row for row in sources)
    assert any("upbit market fresh" in row and "1 silent" in row for row in sources)
    stages = rows(tab, "stages")
    assert any("recognise host late 5 min / 3 min" in row for row in stages)
    assert any("decide on time" in row and "decisions.live epoch 1" in row for row in stages)


def test_storage_says_how_long_the_disk_lasts(tab: Tab, desk: Site) -> None:
    storage = tab.locator("#system-storage").inner_text()
    days = desk.get("v1/storage")
    assert days["free"] / days["bytes_a_day"] > 3_650
    assert "At this rate the disk lasts more than ten years" in storage
    assert "snapshots" in storage


@pytest.mark.parametrize(
    ("days", "text"), [(3.0, "Full in 3 d, as it grows now"), (20.0, "Full in 20 d, as it grows now")]
)
def test_a_disk_that_fills_up_is_told_in_days(page: Tab, desk: Site, days: float, text: str) -> None:
    answer = desk.get("v1/storage")
    answer |= {"free": int(days * 5e9), "bytes_a_day": 5e9}
    page.route("**/v1/storage", lambda route: route.fulfill(json=answer))
    page.goto("system")
    page.says(text)
    tone = page.locator("#system-storage .full-in .state").get_attribute("class")
    assert ("tone-bad" if days < 7 else "tone-warn") in tone


def test_what_a_storage_account_costs_is_said(page: Tab, desk: Site) -> None:
    answer = desk.get("v1/storage") | {
        "folders": None, "free": None, "operations": {"table.write": 1_200, "blob.read": 34},
        "cost": {
            "of": "operations of this process", "currency": "USD", "region": "koreacentral",
            "dated": "2026-01-01", "seconds": 3600, "so_far": 0.0123, "a_month": 8.98,
            "services": {"table": 0.01, "blob": 0.0023},
        },
    }  # fmt: skip
    page.route("**/v1/storage", lambda route: route.fulfill(json=answer))
    page.goto("system")
    page.says("8.98 USD")
    page.says("1,234 storage operations of this process")


def test_journals_of_all_domains_are_shown_when_asked_for(tab: Tab) -> None:
    assert not any("snapshots.kospi" in row for row in rows(tab, "journals"))
    tab.locator("#system-journals").get_by_label("of all domains").check()
    tab.locator("#system-journals").get_by_role("button", name="Show more").click()
    tab.eventually("document.querySelector('#system-journals').textContent.includes('snapshots.kospi')")


def test_the_ledger_says_that_no_anchor_is_kept_outside(tab: Tab) -> None:
    ledger = tab.locator("#system-ledger").inner_text()
    assert "hash to what was committed" in ledger
    assert "nowhere outside" in ledger
    assert "ledger.live@1" in ledger


def test_a_policy_opens_to_its_text_at_its_version(tab: Tab) -> None:
    policy = tab.locator("#system-policies details", has_text="price-shock")
    policy.locator("summary").click()
    assert 'until = "15m"' in policy.locator("pre").inner_text()
    assert "version 3" in policy.inner_text()
    assert tab.axe() == []


def test_the_log_is_followed_and_can_be_held(open_tab: OpenTab, scene: Any) -> None:
    site = scene.site("desk")
    tab = open_tab(site)
    tab.goto("system", log="observer", level="warning")
    log = tab.locator("#system-log")
    log.get_by_text("collection failed").wait_for()
    assert "started" not in log.inner_text()

    def write(event: str) -> None:
        with (site.observer.settings.paths.logs / "observer.log").open("a") as lines:
            lines.write(
                json.dumps({"event": event, "level": "error", "timestamp": "2026-03-02T10:00:01Z"}) + "\n"
            )

    write("the first that came later")
    log.get_by_text("the first that came later").wait_for()
    log.get_by_role("button", name="Pause").click()
    tab.wait_for_timeout(300)
    site.weather.asked.clear()
    write("while it is held")
    tab.wait_for_timeout(3_000)
    assert [path for _, path, _ in site.weather.asked if path == "/v1/logs"] == []
    log.get_by_role("button", name="Follow").click()
    log.get_by_text("while it is held").wait_for()


def test_log_lines_are_shown_as_they_are_and_run_nothing(open_tab: OpenTab, hostile: Site) -> None:
    tab = open_tab(hostile)
    tab.goto("system", log="observer")
    text = tab.locator("#system-log").text_content()
    assert [name for name in NAMES if name.strip() and name not in text] == []
    assert tab.evaluate("window.__xss") is None
    assert tab.locator("main :is(script, img, iframe, svg)").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_log_is_not_even_asked_for_without_its_scope(open_tab: OpenTab, scene: Any) -> None:
    token = new_token()

    def change(settings: Settings) -> Settings:
        given = TokenConfig(name="viewer", sha256=digest_of(token).hex(), scopes=("read",))
        return settings.model_copy(update={"web": WebConfig(token=(given,))})

    site = scene.site("desk", change=change)
    tab = open_tab(site)
    held = json.dumps(json.dumps({"kind": "bearer", "value": token}))
    tab.context.add_init_script(f"sessionStorage.setItem('observer.token', {held})")
    tab.goto("system")
    tab.says("Logs need the scope admin.")
    tab.locator("#system-access").get_by_text("token:viewer").wait_for()
    assert [path for _, path, _ in site.weather.asked if path == "/v1/logs"] == []


def test_in_functions_it_says_where_the_logs_are(page: Tab, desk: Site) -> None:
    answer = desk.get("v1/status") | {"runtime": "functions"}
    page.route("**/v1/status", lambda route: route.fulfill(json=answer))
    page.goto("system")
    page.says("its logs are in Application Insights")


def test_a_part_that_cannot_be_read_says_so_and_the_others_stay(page: Tab) -> None:
    page.allow("503", "status 503")
    problem = {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "the disk sleeps",
    }
    page.route("**/v1/ledger", lambda route: route.fulfill(status=503, json=problem))
    page.goto("system")
    page.locator("#system-ledger").get_by_text("the disk sleeps").wait_for()
    assert len(rows(page, "stages")) == 7
