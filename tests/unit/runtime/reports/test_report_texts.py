"""Both languages say the same things, and everything that reports may have to say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from observer_core.decision_pipeline.intents import CHECKS
from observer_core.runtime import reports
from observer_core.runtime.reports.charts import Kind
from observer_core.runtime.reports.config import Lang
from observer_core.runtime.reports.uptime import How
from observer_core.runtime.reports.words import Words, texts
from observer_core.shared.clock import SECOND
from observer_core.shared.records import SEVERITIES

LANGS: tuple[Lang, ...] = get_args(Lang)
SOURCE = "".join(path.read_text() for path in Path(reports.__file__).parent.rglob("*.py"))


def test_both_languages_have_the_same_keys_and_names_in_them() -> None:
    english, korean = texts("en"), texts("ko")
    assert english.keys() == korean.keys()
    for key, text in english.items():
        names = re.compile(r"(?<!\{)\{(\w+)\}")
        assert sorted(names.findall(text)) == sorted(names.findall(korean[key])), key


def test_korean_texts_are_korean() -> None:
    said = {re.sub(r"\{\w+\}", "", text) for text in texts("ko").values()}
    foreign = {text for text in said if re.search("[A-Za-z]", text) and not re.search("[가-힣]", text)}
    assert foreign == {"HTTP", "Prometheus", "n", "p50", "p95", "p99"}


@pytest.mark.parametrize("lang", LANGS)
def test_every_key_that_is_asked_for_is_there(lang: Lang) -> None:
    asked = set(re.findall(r'words\(\s*"([a-z_.]+)"', SOURCE))
    assert len(asked) > 100
    assert asked - texts(lang).keys() == set()


@pytest.mark.parametrize("lang", LANGS)
def test_every_code_that_is_looked_up_without_a_default_is_there(lang: Lang) -> None:
    known = texts(lang).keys()
    assert {f"severity.{one}" for one in SEVERITIES} <= known
    assert {f"how.{one}" for one in get_args(How)} <= known
    assert {f"lane.{one}" for one in get_args(Kind)} <= known
    assert {f"control.{one}{more}" for one in CHECKS for more in ("", ".does")} <= known
    terms = {key.removeprefix("term.") for key in known if key.startswith("term.")}
    assert terms == {key.removeprefix("means.") for key in known if key.startswith("means.")}


def test_a_share_is_never_told_as_more_than_it_is() -> None:
    words = Words("en", "UTC")
    assert words.share(1.0) == "100.00 %"
    assert words.share(0.999999) == "99.99 %"
    assert words.share(0.29) == "29.00 %"
    assert words.share(None) == "–"


@pytest.mark.parametrize(
    ("ns", "english", "korean"),
    [
        (0, "0 ms", "0 ms"),
        (1_500_000, "1 ms", "1 ms"),
        (90 * SECOND, "1 min 30 s", "1분 30초"),
        (86_400 * SECOND + 59 * SECOND, "1 d", "1일"),
        (26 * 3600 * SECOND + 5 * 60 * SECOND, "1 d 2 h", "1일 2시간"),
    ],
)
def test_spans_are_told_by_their_two_largest_units(ns: int, english: str, korean: str) -> None:
    assert Words("en", "UTC").span(ns) == english
    assert Words("ko", "UTC").span(ns) == korean


def test_times_are_those_of_the_zone() -> None:
    assert Words("ko", "Asia/Seoul").time(1_772_463_600 * SECOND) == "2026-03-03 00:00:00"
