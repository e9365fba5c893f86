"""Alarms against labelled windows, by numbers that can be checked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from observer_core.runtime.study.evaluate import Alarm, Label, evaluate, read_labels
from observer_core.shared.clock import SECOND, parse_time
from observer_core.shared.errors import InputError

A, B = ("host", "web-1", "cpu"), ("host", "web-2", "cpu")


def alarm(second: float, *series: tuple[str, str, str]) -> Alarm:
    return Alarm(round(second * SECOND), series or (A,))


def label(begin: float, end: float, *scope: str | None) -> Label:
    return Label(round(begin * SECOND), round(end * SECOND), *scope)


def g(place: float) -> float:
    return 2 / (1 + math.exp(5 * place)) - 1


def test_hits_misses_false_alarms_and_the_delay_to_the_first_alarm() -> None:
    alarms = [alarm(5), alarm(12), alarm(14), alarm(90)]
    found = evaluate(alarms, [label(10, 20), label(40, 50)], days=2.0)
    assert (found.alarms, found.hits, found.windows) == (4, 2, 2)
    assert (found.precision, found.recall) == (0.5, 0.5)
    assert (found.delay_ns, found.alarms_a_day) == (2 * SECOND, 2.0)


def test_both_ends_of_a_window_belong_to_it() -> None:
    found = evaluate([alarm(10), alarm(20), alarm(20.5)], [label(10, 20)], 1.0)
    assert (found.hits, found.delay_ns) == (2, 0)


@pytest.mark.parametrize(
    ("scope", "hits"),
    [((), 2), (("host",), 2), (("host", "web-2"), 1), (("other",), 0), ((None, "web-1", "cpu"), 1),
     (("host", "web-1", "memory"), 0)],
)  # fmt: skip
def test_a_window_is_of_the_series_that_it_names(scope: tuple[str | None, ...], hits: int) -> None:
    assert evaluate([alarm(12, A), alarm(13, B)], [label(10, 20, *scope)], 1.0).hits == hits


def test_a_pattern_of_several_series_is_of_each_of_them() -> None:
    assert evaluate([alarm(12, A, B)], [label(10, 20, "host", "web-2")], 1.0).hits == 1


def test_without_alarms_there_is_no_precision_and_every_window_is_missed() -> None:
    found = evaluate([], [label(10, 20)], 0.0)
    assert (found.precision, found.recall, found.delay_ns, found.alarms_a_day) == (None, 0.0, None, None)
    assert set(found.nab.values()) == {0.0}


def test_an_alarm_at_each_beginning_and_no_other_is_perfect() -> None:
    found = evaluate([alarm(10), alarm(40)], [label(10, 20), label(40, 50)], 1.0)
    assert set(found.nab.values()) == {100.0}


def test_the_profiles_weigh_by_nabs_sigmoid() -> None:
    found = evaluate([alarm(5), alarm(15), alarm(30)], [label(10, 20)], 1.0)
    hit, false = g(-0.5) / g(-1.0), -1.0 + g(1.0)
    assert found.nab["standard"] == pytest.approx(100 * (hit + 0.11 * false + 1) / 2)
    assert found.nab["low FP"] == pytest.approx(100 * (hit + 0.22 * false + 1) / 2)
    assert found.nab["low FN"] == pytest.approx(100 * (hit + 0.11 * false + 2) / 3)


def test_far_behind_a_window_a_false_alarm_weighs_as_if_there_were_none() -> None:
    one, other = (evaluate([alarm(at)], [label(10, 20)], 1.0).nab["standard"] for at in (50.5, 5))
    assert one == other


def test_labels_are_read_with_their_scope_and_zone(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "from,to,subject\n2024-01-01T09:00,2024-01-01T10:00,web-1\n2024-01-02T09:00,2024-01-02T10:00,\n"
    )
    first, second = read_labels(path, "Asia/Seoul")
    assert first == Label(
        parse_time("2024-01-01T00:00Z"), parse_time("2024-01-01T01:00Z"), None, "web-1", None
    )
    assert second.scope == (None, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "expected a header with from and to, and source, subject, field where they matter; found nothing",
        ),
        ("start,end\n1,2\n", "found start, end"),
        ("from,to\n", "holds no window"),
        ("from,to\n2024-01-01T00:00Z,soon\n", "line 2: 'soon' is not a time"),
        ("from,to\n2024-01-01T00:00,2024-01-01T01:00\n", "line 2: .* has no zone"),
        ("from,to\n2024-01-02T00:00Z,2024-01-01T00:00Z\n", "line 2: the window ends before it begins"),
        ("from,to\n2024-01-02T00:00Z\n", "line 2: '' is not a time"),
    ],
)
def test_what_are_no_labels_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_labels(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone.csv: cannot be read: No such file"):
        read_labels(tmp_path / "gone.csv")
