"""Whole reports of a desk: what they say, that they say it again, and that texts in them stay texts."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from observer_core.runtime import operate
from observer_core.runtime.reports.config import Form, Lang
from observer_core.runtime.reports.facts import Ground
from observer_core.runtime.reports.making import Report, control_report, report
from observer_core.shared.canonical import encode
from observer_core.shared.clock import ManualClock
from observer_core.shared.errors import InputError
from tests.browser.recorder import MINUTE
from tests.unit.runtime.reports.conftest import DAY_NS, DOWN, GONE, MINUTES, START_NS, STEP, opened

LANGS: tuple[Lang, ...] = get_args(Lang)
FORMS: tuple[Form, ...] = get_args(Form)


@pytest.fixture
def daily(ground: Ground) -> Report:
    """Of the first day, which is over."""
    return report(ground, "daily", date="2026-03-03")


def test_figures_of_the_first_day_are_what_happened(daily: Report) -> None:
    facts = daily.facts
    assert facts.uptime.share == 1.0
    desk, rates = facts.feeds
    assert (desk.came, desk.expected, desk.available, desk.subjects) == (288, 288, 1.0, 2)
    assert (rates.failed, rates.out_ns) == (len(DOWN) // STEP, len(DOWN) * MINUTE)
    assert facts.decided.by_policy["source-unavailable"].total_ns == len(DOWN) * MINUTE
    assert facts.decided.by_policy["kill"].total_ns == DAY_NS - 600 * MINUTE
    assert [act.what for act in facts.decided.acts][:2] == ["kill", "needs_confirmation"]
    assert sum(facts.incidents.opened.values()) >= 2
    assert facts.told.subscribers[0].outcomes["delivered"] >= 3


def test_a_pause_of_the_observer_is_downtime_of_the_day_it_lies_in(ground: Ground) -> None:
    facts = report(ground, "daily", date="2026-03-04").facts
    assert facts.uptime.down_ns == (len(GONE) + STEP) * MINUTE
    assert facts.uptime.down[0].from_ns == START_NS + (GONE.start - STEP) * MINUTE
    assert not facts.period.is_over


def test_feedback_counts_as_far_as_it_was_said_before_the_end(ground: Ground) -> None:
    assert report(ground, "daily", date="2026-03-03").facts.precision == []
    (row,) = report(ground, "daily", date="2026-03-04").facts.precision
    assert (row.pattern, row.right, row.wrong) == ("price_shock", 1, 0)


def test_availability_comes_first_and_every_section_says_what_it_rests_on(daily: Report) -> None:
    text = daily.text("html", "en")
    names = re.findall(r'<section id="([a-z-]+)"', text)
    assert names[:2] == ["summary", "availability"]
    assert {"incidents", "decisions", "non-execution", "gate", "detectors", "deliveries"} <= set(names)
    assert text.count('class="basis"') == len(names) - 1
    assert "clock.live@" in text
    assert "observer decisions ls --domain live --since 2026-03-02T15:00:00Z" in text


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("form", FORMS)
def test_the_same_period_of_the_same_store_gives_the_same_bytes(
    ground: Ground, lang: Lang, form: Form
) -> None:
    texts = [report(ground, "daily", date="2026-03-03").text(form, lang) for _ in range(2)]
    assert texts[0] == texts[1]
    assert "2026-11" not in texts[0]  # nor when this test runs


def test_a_period_that_is_over_is_not_changed_by_what_comes_later(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    shutil.copytree(written, folder)
    before = next(iter(opened(folder, START_NS + 2 * DAY_NS)))
    texts = report(before, "daily", date="2026-03-03").text("md", "en")
    operate.command(
        before.journals, ManualClock(START_NS + 2 * DAY_NS), "live", command="kill", scope="*", author="kim",
        reason="later",
    )  # fmt: skip
    after = next(iter(opened(folder, START_NS + 30 * DAY_NS)))
    assert report(after, "daily", date="2026-03-03").text("md", "en") == texts


def test_only_a_stamp_tells_when_it_was_made(daily: Report) -> None:
    plain, stamped = daily.text("md", "ko"), daily.text("md", "ko", START_NS + 5 * DAY_NS)
    assert [line for line in stamped.splitlines() if line not in plain.splitlines()] == [
        "- 작성 시각: 2026-03-08 00:00:00"
    ]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value or "" for name, value in attrs if name == "id"]


@pytest.mark.parametrize("lang", LANGS)
def test_the_file_needs_nothing_else_and_runs_nothing(daily: Report, lang: Lang) -> None:
    text = daily.text("html", lang)
    parser = _Parser()
    parser.feed(text)
    tags = {tag for tag, _ in parser.tags}
    assert not tags & {"script", "img", "iframe", "link", "object", "form", "base"}
    links = [attrs["href"] for tag, attrs in parser.tags if tag == "a"]
    assert links
    assert all(link is not None and link.removeprefix("#") in parser.ids for link in links)
    assert not any(name.startswith("on") for _, attrs in parser.tags for name in attrs)
    assert len(parser.ids) == len(set(parser.ids))
    assert f'<html lang="{lang}">' in text
    assert "default-src 'none'" in text


def test_what_records_hold_stays_text(daily: Report) -> None:
    page, lines = daily.text("html", "en"), daily.text("md", "en")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "\u202e" not in page + lines
    assert "\\<script\\>" in lines
    tables = re.findall(r"^\n((?:^\|.*\n)+)", re.sub(r"``````text.*?``````", "", lines, flags=re.S), re.M)
    assert len(tables) > 10
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


@pytest.mark.parametrize("lang", LANGS)
def test_every_picture_says_in_words_what_it_shows(daily: Report, lang: Lang) -> None:
    pictures = re.findall(r"<svg.*?</svg>", daily.text("html", lang), re.S)
    assert len(pictures) >= 4
    for picture in pictures:
        root = ET.fromstring(picture)
        named = {item.get("id"): item.text for item in root.iter() if item.get("id")}
        title, desc = (named[name] for name in (root.get("aria-labelledby") or "").split())
        assert title
        assert desc
        assert root.get("role") == "img"


def test_figures_alone_are_plain_json(daily: Report) -> None:
    found = daily.to_json()
    assert encode(found)
    assert found["feeds"][1]["source"] == "rates"
    assert found["asked"]["gate"]["evaluated"] == 0


def test_a_week_is_told_from_monday_on(ground: Ground) -> None:
    found = report(ground, "weekly", date="2026-03-04")
    assert (str(found.period.first_day), str(found.period.last_day)) == ("2026-03-02", "2026-03-08")
    assert found.facts.feeds[0].watched_from_ns == START_NS
    assert "주간 보고서: live, 2026-03-02 – 2026-03-08" in found.text("md", "ko")


# ---------------------------------------------------------------------- what cannot be reported


def test_a_domain_that_there_is_none_of_is_refused(ground: Ground) -> None:
    with pytest.raises(InputError, match="there is no domain 'tokyo'; known are live"):
        report(ground, "daily", domain="tokyo")


def test_a_period_that_was_over_before_the_first_record_is_refused(ground: Ground) -> None:
    with pytest.raises(
        InputError, match=r"domain live has no records of 2026-03-01: its first are of 2026-03-03"
    ):
        report(ground, "daily", date="2026-03-01")


def test_a_period_of_the_future_is_refused(ground: Ground) -> None:
    with pytest.raises(InputError, match="the day of 2027-01-01 has not begun"):
        report(ground, "daily", date="2027-01-01")


def test_a_day_on_which_the_observer_did_not_run_is_a_report_of_that(written: Path) -> None:
    for ground in opened(written, START_NS + 10 * DAY_NS):
        found = report(ground, "daily", date="2026-03-10")
        assert found.facts.uptime.share == 0.0
        assert [feed.available for feed in found.facts.feeds] == [0.0, 0.0]
        text = found.text("md", "en")
        assert found.facts.decided.blocked_ns == DAY_NS  # by the kill switch of another day
        assert "0.00 %" in text


# ---------------------------------------------------------------------- controls


def test_every_control_has_its_state_its_last_act_and_the_record_of_it(ground: Ground) -> None:
    facts = control_report(ground).facts
    found = {one.key: one for one in facts.controls}
    kill, shock = found["kill"], found["price-shock"]
    assert (kill.acted.count, kill.acted.last_ns) == (1, START_NS + 600 * MINUTE)
    assert kill.acted.record.startswith("decisions.live@")
    assert shock.policy is not None
    assert shock.acted.count >= 1
    assert (found["two_person"].state, found["two_person"].setting) == ("on", "unkill (15m)")
    assert found["two_person"].acted.count >= 1
    assert (found["price_collar"].state, found["price_collar"].setting) == ("on", "everybody: 5 %")
    assert found["max_notional"].state == "off"
    assert facts.tests_of("source-unavailable") == (1, 0)
    assert facts.tests_of("price-shock") == (0, 0)


def test_what_acted_before_the_period_is_still_what_acted_last(ground: Ground) -> None:
    since_ns = START_NS + 700 * MINUTE
    found = {one.key: one for one in control_report(ground, since_ns=since_ns).facts.controls}
    assert (found["kill"].acted.count, found["kill"].acted.last_ns) == (0, START_NS + 600 * MINUTE)


@pytest.mark.parametrize("lang", LANGS)
def test_the_control_report_claims_nothing_and_shows_the_latency_against_its_limit(
    ground: Ground, lang: Lang
) -> None:  # fmt: skip
    found = control_report(ground)
    text = found.text("html", lang)
    assert {"en": "claims no compliance", "ko": "준수도 주장하지 않습니다"}[lang] in text
    assert "stroke-dasharray" in text
    assert "RTS 6" in text
    assert found.facts.told.whole.beyond() > 0
    assert encode(found.to_json())


def test_a_case_that_is_not_as_expected_shows(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "failing"
    shutil.copytree(written, folder)
    cases = folder / "config/cases.toml"
    cases.write_text(cases.read_text().replace('policy = "source-unavailable" }', 'policy = "price-shock" }'))
    for ground in opened(folder, START_NS + MINUTES * MINUTE):
        found = control_report(ground)
        assert found.facts.tests_of("source-unavailable") == (1, 1)
        assert "not as expected: expected block price-shock" in found.text("md", "en")


def test_how_long_records_are_kept_is_what_retention_says(ground: Ground) -> None:
    kept = {one.kind: one for one in control_report(ground).facts.kept}
    assert kept["decisions"].keep_ns is None
    assert kept["snapshots"].oldest_ns == START_NS
    assert kept["snapshots"].journals == 2
