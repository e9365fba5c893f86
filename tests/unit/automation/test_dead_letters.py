from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from observer_core.automation.dead_letters import JOURNAL, DeadLetters
from observer_core.runtime.audit.replay import replay
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import InputError
from observer_core.shared.records import Decision, Event
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.verify import verify
from tests.support.faults import Between, FaultyStorage
from tests.support.instances import BUILD, START_NS, Instances

QUEUE = "observer-publish"
BODY = b'{"domain":"live"}'


def never(body: Mapping[str, Any]) -> None:
    raise AssertionError("a hint goes to its queue, to no subscriber")


@pytest.fixture(params=["memory", "local"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    found: Storage = MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path / "data")
    yield found
    found.close()


def letters_of(storage: Storage) -> DeadLetters:
    return DeadLetters(Journals(storage, worker="w"), storage.queues, ManualClock(START_NS))


def bury(letters: DeadLetters, body: bytes = BODY, message_id: str = "m1") -> str:
    return letters.bury(QUEUE, "publish", body, message_id=message_id, dequeue_count=5)


def test_a_message_is_kept_whole_and_once(storage: Storage) -> None:
    letters = letters_of(storage)
    assert bury(letters) == bury(letters) == bury(letters_of(storage))
    (letter,) = letters.letters()
    assert (letter.body, letter.queue, letter.stage, letter.dequeue_count) == (BODY, QUEUE, "publish", 5)
    assert (letter.state, letter.buried_ns) == ("buried", START_NS)


def test_other_messages_are_other_letters_in_the_order_in_which_they_came(storage: Storage) -> None:
    letters = letters_of(storage)
    ids = [bury(letters, message_id="b"), bury(letters, message_id="a"), bury(letters, b"{}", "a")]
    assert [letter.id for letter in letters.letters()] == ids
    assert len(set(ids)) == 3


def test_two_that_bury_at_once_keep_both() -> None:
    memory = MemoryStorage()

    def twin(_: int) -> None:
        bury(letters_of(memory), message_id="twin")

    bury(letters_of(Between(memory, twin)), message_id="mine")
    assert {letter.message_id for letter in letters_of(memory).letters()} == {"twin", "mine"}


@pytest.mark.parametrize("body", [b"\xff\xfe not text", b"", "가격".encode(), b"x" * 48 * 1024])
def test_any_body_comes_back_as_it_was(storage: Storage, body: bytes) -> None:
    letters = letters_of(storage)
    letters.redrive(letters.letter(bury(letters, body)), author="kim", reason="mended", resend=never)
    (message,) = storage.queues.receive(QUEUE)
    assert message.body == letters.letters()[0].body == body


def test_what_cannot_be_a_message_is_refused(storage: Storage) -> None:
    with pytest.raises(InputError, match="a message of 98305 bytes; at most 98304 were expected"):
        bury(letters_of(storage), b"x" * (96 * 1024 + 1))


def test_redriving_sends_it_and_records_who_and_why(storage: Storage) -> None:
    letters = letters_of(storage)
    identity = bury(letters)
    letters.redrive(letters.letter(identity[:8]), author="kim", reason="the account is back", resend=never)
    (letter,) = letters.letters()
    assert (letter.state, letter.ended_by, letter.reason) == ("redriven", "kim", "the account is back")
    assert storage.queues.length(QUEUE) == 1


def test_dropping_sends_nothing(storage: Storage) -> None:
    letters = letters_of(storage)
    letters.drop(letters.letter(bury(letters)), author="kim", reason="a source that is gone")
    assert letters.letters()[0].state == "dropped"
    assert storage.queues.length(QUEUE) == 0


def test_when_the_record_fails_the_letter_still_waits() -> None:
    memory = MemoryStorage()
    letter = letters_of(memory).letter(bury(letters_of(memory)))
    faulty = FaultyStorage(memory, at=1, when="before", error=OSError)
    with pytest.raises(OSError, match="^$"):
        letters_of(faulty).redrive(letter, author="kim", reason="mended", resend=never)
    assert letters_of(memory).letters()[0].state == "buried"
    letters_of(memory).redrive(letter, author="kim", reason="mended", resend=never)
    assert letters_of(memory).letters()[0].state == "redriven"


@pytest.mark.parametrize(
    ("given", "what"), [("ff", "no dead letter begins"), ("", "several dead letters begin")]
)
def test_an_id_must_name_one_letter(storage: Storage, given: str, what: str) -> None:
    letters = letters_of(storage)
    bury(letters, message_id="a")
    bury(letters, message_id="b")
    with pytest.raises(InputError, match=f"{what} with '{given}'; `observer dlq ls --all` lists them"):
        letters.letter(given)


def test_a_poison_message_becomes_one_critical_event_and_closes_nothing(tmp_path: Path) -> None:
    clock = ManualClock(START_NS)
    app = Instances(tmp_path, MemoryStorage(clock), 2, clock=clock)
    app.collect("desk", 0)
    app.handlers[0].pushed("desk")
    app.handlers[0].clock()
    app.drain()
    clock.advance(SECOND)
    for handlers in app.handlers:  # the host gives at least once
        handlers.poison("recognise", b"garbage", message_id="m", dequeue_count=5)
    app.drain()
    journals = Journals(app.storage, worker="reader")
    (event,) = [e.record for e in journals.open("events.live").scan() if isinstance(e.record, Event)]
    assert (event.type, event.severitytext, event.subject) == (
        "io.qts.observer.dead_letter", "critical", "recognise",
    )  # fmt: skip
    assert "garbage" not in str(event.data)
    assert not [e for e in journals.open("decisions.live").scan() if isinstance(e.record, Decision)]
    assert verify(journals.open(JOURNAL)).fault is None
    assert replay(journals, "events.live", BUILD.version).equal


def test_a_redriven_hint_does_its_work(tmp_path: Path) -> None:
    clock = ManualClock(START_NS)
    app = Instances(tmp_path, MemoryStorage(clock), clock=clock)
    app.collect("desk", 0)
    app.handlers[0].poison("recognise", b'{"source":"desk"}', message_id="m", dequeue_count=5)
    letters = DeadLetters(Journals(app.storage, worker="cli"), app.storage.queues, clock)
    letters.redrive(letters.letters()[0], author="kim", reason="mended", resend=never)
    app.drain()
    assert Journals(app.storage, worker="r").open("patterns.desk").checkpoint("snapshots.desk") == {
        "position": 2
    }
