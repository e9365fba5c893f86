"""Records by ref or id, without reading all of history."""

from __future__ import annotations

from typing import Any

import pytest

from observer_core.runtime.acts.ground import Unknown
from observer_core.runtime.reading import finding
from observer_core.runtime.reading.finding import Finder
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import InputError
from observer_core.shared.ids import derive
from observer_core.shared.records import Decision
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage

T0 = 1_700_000_000 * SECOND
COUNT = 300


def identity(number: int) -> str:
    return derive("decision", number)


@pytest.fixture
def journals() -> Journals:
    """300 decisions, of which the first still stands."""
    made = Journals(MemoryStorage(), worker="w")
    journal = made.open("decisions.live", "live")
    for number in range(1, COUNT + 1):
        record = Decision(
            id=identity(number), verdict="block", scope="*", policy="p", policy_version=1, reasons=(),
            time_ns=T0 + number, causation=(),
        )  # fmt: skip
        views = {"blocks.*": {"rows": [{"blocks": [{"decision": identity(1), "since_ns": T0 + 1}]}]}}
        journal.commit(journal.head(), Commit(records=[record], views=views))
    return made


@pytest.fixture
def finder(journals: Journals) -> Finder:
    return Finder(journals)


@pytest.mark.parametrize(
    "text", ["decisions.live@7", identity(7), identity(7)[:12], identity(7).upper(), identity(7)[:8]]
)
def test_a_decision_has_several_names(finder: Finder, text: str) -> None:
    assert finder.find("decisions", text).ref == "decisions.live@7"


def test_a_beginning_that_several_have_is_not_enough(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "_ID", finding.re.compile("[0-9a-f]+"))
    with pytest.raises(InputError, match=r"decisions begin with '0' \(\w{32}, .*give more of the id"):
        finder.find("decisions", "0")


def test_only_the_newest_are_looked_through_but_what_was_found_is_remembered(
    finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finder.find("decisions", identity(2)).position == 2
    monkeypatch.setattr(finding, "LOOKED", 20)
    with pytest.raises(
        Unknown, match=r"there is no decision whose id begins with '\w{32}' in the newest \d+ dec"
    ):
        finder.find("decisions", identity(3))
    assert finder.find("decisions", identity(2)).position == 2
    assert finder.find("decisions", identity(COUNT)).position == COUNT


def test_what_stands_is_found_however_old_it_is(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "LOOKED", 20)
    assert finder.find("decisions", identity(1)).position == 1


def test_what_its_time_is_known_of_is_found_however_old_it_is(
    finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "LOOKED", 20)
    assert finder.of_decision(identity(9), "decisions.live", T0 + 9).ref == "decisions.live@9"
    assert finder.of_decision(identity(COUNT), "decisions.live", None).position == COUNT
    with pytest.raises(InputError, match=r"is in decisions.live, it was expected in decisions.other"):
        finder.of_decision(identity(COUNT), "decisions.other", "soon")


def test_what_is_remembered_is_bounded(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "REMEMBERED", 3)
    for number in range(1, 10):
        finder.find("decisions", identity(number))
    assert len(finder._known) == 3
    assert finder.remembered("decisions", identity(9)) is not None
    assert finder.remembered("decisions", identity(2)) is None


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("decisions.live@301", Unknown, "decisions.live has records 1 to 300, 301 is none of them"),
        ("decisions.live@0", Unknown, "0 is none of them"),
        ("decisions.mars@1", Unknown, "there is no journal 'decisions.mars'"),
        ("events.live@1", InputError, "is in another journal; expected decisions.DOMAIN@N, or an id"),
        ("decisions.live@x", InputError, "'decisions.live@x' is not JOURNAL@POSITION"),
        ("decisions.live@" + "9" * 5000, InputError, "is not JOURNAL@POSITION"),
        ("../../etc@1", InputError, "is in another journal"),
        ("abc", InputError, "'abc' is no id; expected decisions.DOMAIN@N, or 8 to 32 hex digits of an id"),
        ("g" * 32, InputError, "is no id"),
        ("0" * 33, InputError, "is no id"),
    ],
)
def test_what_names_no_decision_is_told(finder: Finder, text: str, error: Any, message: str) -> None:
    with pytest.raises(error) as caught:
        finder.find("decisions", text)
    assert message in str(caught.value)


def test_any_journal_has_records_by_their_ref(finder: Finder, journals: Journals) -> None:
    assert finder.of_ref("decisions.live@1").position == 1
    assert journals.names() == ["decisions.live"]
    with pytest.raises(Unknown, match=r"there is no journal 'events.live'"):
        finder.of_ref("events.live@1")
