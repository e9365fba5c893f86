"""A request under a key: once a day, whoever is quicker, and never mistaken for another one."""

from __future__ import annotations

import pytest

from observer_core.runtime.operate import said
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Note
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.once import DAY_NS, KeyReused, Once
from tests.support.faults import Between

NOW = 10**18
NOTE = Note(kind="command", time_ns=NOW, body={})


def once(key: str = "k", body: str = "b", who: str = "kim", now_ns: int = NOW) -> Once:
    return Once(who, key, body, now_ns)


def test_what_was_said_is_said_again_and_nothing_is_recorded() -> None:
    journal = Journals(MemoryStorage(), worker="w").open("commands.live", "live")
    first = said(journal, [NOTE], {"text": "one"}, once())
    assert first == {"text": "one", "ref": "commands.live@1"}
    assert said(journal, [NOTE], {"text": "two"}, once(now_ns=NOW + DAY_NS - 1)) == first
    assert journal.head().position == 1
    assert said(journal, [NOTE], {"text": "two"}, None)["ref"] == "commands.live@2"


def test_another_body_key_person_or_day_is_another_request() -> None:
    journal = Journals(MemoryStorage(), worker="w").open("commands.live", "live")
    said(journal, [NOTE], {}, once())
    with pytest.raises(KeyReused, match="used with another body"):
        said(journal, [NOTE], {}, once(body="c"))
    others = [once("other"), once(who="lee"), once(body="c", now_ns=NOW + DAY_NS)]
    assert [said(journal, [NOTE], {}, other)["ref"] for other in others] == [
        "commands.live@2", "commands.live@3", "commands.live@4",
    ]  # fmt: skip


def test_who_loses_a_race_against_himself_is_given_the_same_answer() -> None:
    memory = MemoryStorage()
    quicker = Journals(memory, worker="quicker").open("commands.live", "live")
    raced: list[object] = []

    def other(_: int) -> None:
        if not raced:
            raced.append(None)
            raced[0] = said(quicker, [NOTE], {"text": "quick"}, once())

    slower = Journals(Between(memory, other), worker="slower").open("commands.live")
    assert said(slower, [NOTE], {"text": "slow"}, once(now_ns=NOW + SECOND)) == raced[0]
    assert quicker.head().position == 1
