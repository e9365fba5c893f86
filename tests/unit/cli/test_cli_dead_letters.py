"""dlq: what the Functions app gave up on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from observer_core.automation.dead_letters import DeadLetters
from observer_core.shared.clock import ManualClock
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from tests.unit.cli.conftest import run

BY = ("--author", "kim", "--reason", "drill")


def bury(folder: Path, *messages: str) -> list[str]:
    storage = LocalStorage(folder / "data" / "observer")
    letters = DeadLetters(Journals(storage, worker="app"), storage.queues, ManualClock(10**18))
    ids = [
        letters.bury("observer-decide", "decide", b'{"domain":"live"}', message_id=name, dequeue_count=5)
        for name in messages
    ]
    storage.close()
    return ids


def waiting(folder: Path, queue: str) -> int:
    storage = LocalStorage(folder / "data" / "observer")
    try:
        return storage.queues.length(queue)
    finally:
        storage.close()


def test_without_letters_there_is_nothing_to_do(own: Path) -> None:
    done = run(own, "dlq", "ls")
    assert (done.exit_code, done.stdout) == (0, "there are no dead letters\n")


def test_letters_are_a_finding_with_the_way_out(own: Path) -> None:
    (identity,) = bury(own, "m1")
    done = run(own, "dlq", "ls")
    assert done.exit_code == 1
    assert identity[:12] in done.stdout
    assert "observer dlq redrive ID --author YOU --reason WHY" in done.stdout


def test_what_the_poison_queues_hold_is_told(own: Path) -> None:
    storage = LocalStorage(own / "data" / "observer")
    storage.queues.send("observer-publish-poison", b"{}")
    storage.close()
    done = run(own, "dlq", "ls")
    assert done.exit_code == 1
    assert "observer-publish-poison: 1 not buried yet" in done.stdout


def test_a_letter_is_shown_whole_by_the_first_characters_of_its_id(own: Path) -> None:
    (identity,) = bury(own, "m1")
    shown = run(own, "dlq", "show", identity[:6]).stdout
    for text in (identity, "observer-decide", '{"domain":"live"}', "2001-09-09T01:46:40Z", "m1"):
        assert text in shown
    assert json.loads(run(own, "dlq", "show", identity, "--json").stdout)["message_id"] == "m1"


def test_redriving_one_leaves_the_others(own: Path) -> None:
    first, second = bury(own, "m1", "m2")
    done = run(own, "dlq", "redrive", first[:12], *BY)
    assert done.stdout == f"{first[:12]}  sent again: observer-decide\n"
    assert waiting(own, "observer-decide") == 1
    left = [json.loads(line)["id"] for line in run(own, "dlq", "ls", "--json").stdout.splitlines()]
    assert left == [second]


@pytest.mark.parametrize(("act", "sent"), [("redrive", 2), ("drop", 0)])
def test_all_at_once_and_then_none(own: Path, act: str, sent: int) -> None:
    bury(own, "m1", "m2")
    assert run(own, "dlq", act, "--all", *BY).exit_code == 0
    assert waiting(own, "observer-decide") == sent
    assert run(own, "dlq", "ls").exit_code == 0
    ended = [json.loads(line) for line in run(own, "dlq", "ls", "--all", "--json").stdout.splitlines()]
    assert [(item["ended_by"], item["reason"]) for item in ended] == [("kim", "drill")] * 2
    assert run(own, "dlq", act, "--all", *BY).stdout == "there are no dead letters\n"


@pytest.mark.parametrize("words", [(), ("abc", "--all")])
def test_which_ones_must_be_said(own: Path, words: tuple[str, ...]) -> None:
    done = run(own, "dlq", "redrive", *words, *BY)
    assert done.exit_code == 2
    assert "say which letters: their IDs, or --all for every one that waits" in done.stderr
