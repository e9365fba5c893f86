"""What was recorded is computed again, and whatever differs is named with its place and both texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime import operate
from observer_core.runtime.audit.replay import Replayed, digest_of, replay
from observer_core.runtime.observer import Observer
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import StorageUnavailable
from observer_core.shared.stage import Entry
from observer_core.storage.epochs import Build
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.rows import GENESIS, chain
from observer_core.storage.verify import verify
from tests.support.market import MINUTE, START_NS, Live, observer, recording, take

COMPUTED = ("patterns", "events", "decisions")
FAST = {"spike": {"threshold": 5.0}, "baseline": {"warm_up": 10}, "stale": {"min_arrivals": 5}}


@pytest.fixture
def storage(tmp_path: Path) -> MemoryStorage:
    """The recorded market, worked through."""
    memory = MemoryStorage()
    take(observer(tmp_path, memory), recording(tmp_path / "desk.csv"))
    return memory


def again(it: Observer, domain: str, version: str = "1.0") -> dict[str, Replayed]:
    names = [name for kind in COMPUTED for name in it.journals.names(kind, domain)]
    return {name: replay(it.journals, name, version) for name in names}


def equal(it: Observer, domain: str) -> bool:
    found = again(it, domain)
    assert all(result.problem is None for result in found.values()), found
    return len(found) >= 3 and all(result.equal and result.records for result in found.values())


# ---------------------------------------------------------------------- equal


def test_what_the_router_says_of_silences_is_computed_again_too(tmp_path: Path) -> None:
    live = Live(tmp_path, subscription=[{"name": "log", "sink": {"kind": "log"}}])
    live.collect("one", {"a": 1.0})
    live.second()
    body = {"author": "kim", "reason": "drill"}
    silence = {**body, "match": {}, "start_ns": live.clock.now_ns(), "end_ns": live.clock.now_ns() + SECOND}
    asked = [("silence", silence), ("subscription", {**body, "action": "pause", "name": "log"})]
    for kind, what in asked:
        operate.ask(live.observer.journals, "live", kind, what, live.clock.now_ns())
    for _ in range(3):
        live.second()
    found = replay(live.observer.journals, "routes.live", "1.0")
    assert (found.problem, found.equal, found.external) == (None, True, 1)
    assert found.records == 4, "the epoch, the silence's beginning and end, the pause"


def test_a_recording_is_computed_again_byte_for_byte(storage: MemoryStorage, tmp_path: Path) -> None:
    it = observer(tmp_path, storage)
    before = digest_of(it.journals)
    found = again(it, "desk")
    assert list(found) == ["patterns.desk", "events.desk", "decisions.desk"]
    for name, result in found.items():
        head = it.journals.open(name).head()
        assert (result.stored, result.computed, result.records) == (head.hash, head.hash, head.position)
        assert (result.external, result.needs_version) == (1, None)
    snapshots = it.journals.open("snapshots.desk").head().position
    assert found["patterns.desk"].entries == snapshots
    assert found["patterns.desk"].observations == 3 * 140 - 30
    assert digest_of(it.journals) == before


def test_an_unwritten_journal_is_equal_to_nothing(tmp_path: Path) -> None:
    it = observer(tmp_path)
    it.domain("desk")
    found = replay(it.journals, "events.desk", "1.0")
    assert (found.equal, found.records, found.stored) == (True, 0, GENESIS)


@pytest.fixture
def live(tmp_path: Path) -> Live:
    """Two sources, one that falls silent for a while and one that stops answering, under a ticking clock."""
    it = Live(tmp_path, recognise=FAST)
    for second in range(90):
        it.second()
        values = {"a": 10 + second % 3, "b": 20 + second % 5}
        if second == 50:
            values["a"] = 90.0
        if 30 <= second < 60:
            del values["b"]
        it.collect("one", values)
        if second % 2:
            it.collect("two", None if 40 <= second < 50 else {"c": 5 + second % 3}, error="down")
    return it


def test_a_live_domain_with_ticks_and_several_sources_is_computed_again(live: Live) -> None:
    assert equal(live.observer, "live")
    inputs = [
        item.journal for row in live.observer.journals.open("events.live").rows() for item in row.inputs
    ]
    assert set(inputs) == {"clock.live", "patterns.one", "patterns.two"}
    verdicts = {
        getattr(e.record, "verdict", None) for e in live.observer.journals.open("decisions.live").scan()
    }
    assert {"block", "release"} <= verdicts


def test_what_operators_asked_is_computed_again(live: Live) -> None:
    asked: list[dict[str, Any]] = [
        {"command": "block", "scope": "subject:a", "until_ns": live.clock.now_ns() + 20 * SECOND},
        {"command": "override", "scope": "*", "until_ns": live.clock.now_ns() + 15 * SECOND},
        {"command": "release", "scope": "subject:nix"},
        {"command": "rearm", "scope": "*"},
    ]
    before = live.observer.journals.open("decisions.live").head().position
    for item in asked:
        ref = operate.command(
            live.observer.journals, live.clock, "live", author="kim", reason="drill", **item
        )
        assert ref == f"commands.live@{asked.index(item) + 1}"
        live.second()
    for _ in range(30):
        live.second()
    live.observer.domain("live").work(refresh=True, flush=True)
    found = [e.record for e in live.observer.journals.open("decisions.live").scan(before + 1)]
    operators = [r for r in found if getattr(r, "policy", "") == "operator"]
    assert [getattr(r, "verdict", "") for r in operators] == ["block", "non_execution", "release"]
    assert equal(live.observer, "live")


def test_a_changed_configuration_is_followed_epoch_by_epoch(storage: MemoryStorage, tmp_path: Path) -> None:
    it = observer(tmp_path, storage, recognise=FAST, judgment={"leak": "1m"})
    take(it, recording(tmp_path / "desk.csv", range(300)))
    assert [it.journals.open(f"{kind}.desk").head().epoch for kind in COMPUTED] == [2, 1, 2]
    assert equal(it, "desk")


@pytest.mark.parametrize("redriven", [False, True])
def test_quarantined_and_redriven_entries_are_obeyed(
    live: Live, monkeypatch: pytest.MonkeyPatch, redriven: bool
) -> None:
    position = poison_next(live, monkeypatch)
    assert equal(live.observer, "live")
    if redriven:
        monkeypatch.undo()
        operate.redrive(
            live.observer.journals, "patterns.one", "snapshots.one", position, author="kim", reason="mended"
        )
        for _ in range(5):
            live.second()
            live.collect("one", {"a": 10, "b": 20})
        assert equal(live.observer, "live")
        assert again(live.observer, "live")["patterns.one"].external == 3  # epoch, quarantine, redrive


def poison_next(live: Live, monkeypatch: pytest.MonkeyPatch) -> int:
    """The next snapshot of `one` cannot be worked on, and is set aside; gives its position."""
    position = live.observer.journals.open("snapshots.one").head().position + 1
    work = Recogniser.transition

    def transition(self: Recogniser, state: Any, entry: Entry) -> Any:
        if (entry.journal, entry.position) == ("snapshots.one", position):
            raise ValueError("poison")
        return work(self, state, entry)

    monkeypatch.setattr(Recogniser, "transition", transition)
    live.second()
    live.collect("one", {"a": 10, "b": 20})
    live.second()
    assert f"quarantined.snapshots.one@{position}" in live.observer.journals.open("patterns.one").views()
    return position


# ---------------------------------------------------------------------- different


def flip(storage: MemoryStorage, kind: str, mark: bytes, at: int = 0) -> None:
    """Changes one bit of a stored record that holds `mark`, `at` bytes behind its beginning."""
    for name, data in storage.segments.data.items():
        if name.startswith(kind) and mark in data:
            data[data.index(mark) + at] ^= 1
            return
    raise AssertionError(f"no {kind} with {mark!r}")


@pytest.mark.parametrize("kind", COMPUTED)
def test_a_flipped_bit_is_reported_with_its_position_and_both_texts(
    storage: MemoryStorage, tmp_path: Path, kind: str
) -> None:
    it = observer(tmp_path, storage)
    journal = it.journals.open(f"{kind}.desk")
    entry = journal.entry(3)
    line = stored(it, journal.name, entry.position)
    mark = b'"id":"'
    flip(storage, kind, line, line.rindex(mark) + len(mark))
    found = again(it, "desk")
    problem = found[journal.name].problem
    assert problem is not None
    assert problem.startswith(f"position {entry.position}: stored ")
    changed = stored(it, journal.name, entry.position)
    at = next(place for place, byte in enumerate(line) if byte != changed[place])
    told, computed = problem.split(" but computed ")
    assert changed[at - 20 : at + 20].decode() in told
    assert line[at - 20 : at + 20].decode() in computed
    assert not found[journal.name].equal


def stored(it: Observer, name: str, position: int) -> bytes:
    row, lines = next(iter(it.journals.open(name).raw(position, position)))
    return lines[position - row.first]


def rewrite(storage: MemoryStorage, name: str, change: Callable[[int, dict[str, Any]], Any]) -> int:
    """What somebody with full access can do: other records, and every hash of the chain made to fit.

    `change` gives a record's new value, None to leave it as it is, or an empty one to take
    it out. Gives the position of the first record that was changed.
    """
    it = observer(Path(), storage)
    journal = it.journals.open(name)
    rows, previous, position, first = list(journal.rows()), GENESIS, 0, 0
    payloads = {row.seq: lines for row, lines in journal.raw()}
    for row in rows:
        lines = []
        for index, line in enumerate(payloads.get(row.seq, [])):
            value = change(row.first + index, decode(line))
            first = first or (row.first + index if value is not None else 0)
            if value is None or value:
                lines.append(line if value is None else encode(value))
        data = b"".join(line + b"\n" for line in lines)
        segment = f"{row.segment}.forged" if lines else row.segment
        offset = storage.segments.append(segment, data) if lines else row.offset
        digest = chain(previous, lines)
        value = decode(row.value()) | {
            "first": position + 1, "last": position + len(lines), "segment": segment, "offset": offset,
            "length": len(data), "previous": previous.hex(), "hash": digest.hex(),
        }  # fmt: skip
        old = storage.tables.data[name].pop(row.key)
        storage.tables._keys[name].remove(row.key)
        position, previous = position + len(lines), digest
        key = f"r.{position:020d}.{row.seq:012d}"
        storage.tables._keys[name].append(key)
        storage.tables._keys[name].sort()
        storage.tables.data[name][key] = type(old)(key, encode(value), old.etag)
    head = storage.tables.data[name]["head"]
    forged = decode(head.value) | {"position": position, "hash": previous.hex()}
    storage.tables.data[name]["head"] = type(head)("head", encode(forged), head.etag)
    assert verify(observer(Path(), storage).journals.open(name)).fault is None, "the forgery must be perfect"
    return first


def test_a_forged_decision_is_found_although_every_hash_fits(storage: MemoryStorage, tmp_path: Path) -> None:
    def milder(position: int, value: dict[str, Any]) -> Any:
        return value | {"severity": "info"} if value.get("verdict") == "block" else None

    position = rewrite(storage, "decisions.desk", milder)
    found = again(observer(tmp_path, storage), "desk")
    assert found["events.desk"].equal
    problem = found["decisions.desk"].problem
    assert problem is not None
    assert problem.startswith(f"position {position}: stored ")
    assert '"severity":"info"' in problem.partition(" but computed ")[0]
    assert '"severity":"critical"' in problem.partition(" but computed ")[2]


def test_a_decision_taken_out_is_missed(storage: MemoryStorage, tmp_path: Path) -> None:
    decisions = observer(tmp_path, storage).journals.open("decisions.desk").scan()
    missed = next(e.record for e in decisions if getattr(e.record, "verdict", "") == "block")
    position = rewrite(storage, "decisions.desk", lambda _, v: {} if v.get("id") == missed.id else None)
    problem = again(observer(tmp_path, storage), "desk")["decisions.desk"].problem
    assert problem is not None
    assert problem.startswith(f"position {position}: stored ")
    stored, computed = problem.split(" but computed ")
    assert computed != stored
    assert computed.startswith(f'{{"causation":["{missed.causation[0]}"]')


def test_a_last_decision_taken_out_is_missed(storage: MemoryStorage, tmp_path: Path) -> None:
    last = observer(tmp_path, storage).journals.open("decisions.desk").head().position
    rewrite(storage, "decisions.desk", lambda position, _: {} if position == last else None)
    problem = again(observer(tmp_path, storage), "desk")["decisions.desk"].problem
    assert problem is not None
    assert problem.startswith("a record that was never stored follows: ")


def test_a_decision_put_in_does_not_follow(storage: MemoryStorage, tmp_path: Path) -> None:
    it = observer(tmp_path, storage)
    journal = it.journals.open("decisions.desk")
    last = journal.head()
    block = next(e for e in journal.scan() if getattr(e.record, "verdict", "") == "block")
    from dataclasses import replace

    from observer_core.shared.records import Decision

    assert isinstance(block.record, Decision)
    forged = replace(block.record, time_ns=last.time_ns, scope="subject:가격")
    operate.append(journal, [forged])
    found = again(observer(tmp_path, storage), "desk")["decisions.desk"]
    assert found.problem is not None
    assert found.problem.startswith(f"position {last.position + 1} is stored, but does not follow: ")


def test_changed_inputs_show_in_what_follows_from_them(storage: MemoryStorage, tmp_path: Path) -> None:
    """Raw prices are forged, with a chain that fits: the patterns found in them do not follow any more."""

    def calm(position: int, value: dict[str, Any]) -> Any:
        prices = value.get("fields", {}).get("price", [])
        return (
            value | {"fields": {"price": [min(p, 111.0) for p in prices]}}
            if prices and max(prices) > 119.9
            else None
        )

    rewrite(storage, "snapshots.desk", calm)
    found = again(observer(tmp_path, storage), "desk")
    assert found["patterns.desk"].problem is not None
    assert found["events.desk"].equal


def test_texts_cut_within_a_letter_are_still_reported(storage: MemoryStorage, tmp_path: Path) -> None:
    for extra in ("", "x", "xx"):
        policy = extra + "가" * 300
        rewrite(
            storage,
            "decisions.desk",
            lambda _, v: v | {"policy": policy} if "verdict" in v else None,  # noqa: B023
        )
        problem = again(observer(tmp_path, storage), "desk")["decisions.desk"].problem
        assert problem is not None
        assert "가가가" in problem


@pytest.mark.parametrize("mark", [b'"kind":"epoch"', b"\n", b'{"body"'])
def test_records_that_cannot_be_read_any_more_are_a_finding_not_a_failure(
    storage: MemoryStorage, tmp_path: Path, mark: bytes
) -> None:
    flip(storage, "decisions", mark)
    found = again(observer(tmp_path, storage), "desk")["decisions.desk"]
    assert not found.equal
    assert found.problem is not None


def test_inputs_that_a_stage_cannot_take_are_a_finding_with_the_position(
    storage: MemoryStorage, tmp_path: Path
) -> None:
    rewrite(storage, "events.desk", lambda _, v: v | {"data": {}} if "pattern" in v.get("type", "") else None)
    found = again(observer(tmp_path, storage), "desk")["decisions.desk"]
    assert found.problem is not None
    assert found.problem.startswith("position ")


def test_storage_that_does_not_answer_is_no_finding(
    storage: MemoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> bytes:
        raise StorageUnavailable("the disk is gone")

    it = observer(tmp_path, storage)
    monkeypatch.setattr(storage.segments, "read", down)
    with pytest.raises(StorageUnavailable):
        replay(it.journals, "decisions.desk", "1.0")


# ---------------------------------------------------------------------- versions


def test_records_of_another_version_say_which_one_is_needed(storage: MemoryStorage, tmp_path: Path) -> None:
    found = again(observer(tmp_path, storage), "desk", version="2.0")
    for result in found.values():
        assert (result.equal, result.needs_version) == (True, "1.0")
        assert (result.entries, result.external) == (0, result.records)


def test_after_an_upgrade_the_new_part_is_computed_and_the_old_one_is_still_named(
    storage: MemoryStorage, tmp_path: Path
) -> None:
    take(
        observer(tmp_path, storage, build=Build("2.0", "lock")), recording(tmp_path / "desk.csv", range(300))
    )
    it = observer(tmp_path, storage)
    found = again(it, "desk", version="2.0")
    for result in found.values():
        assert (result.equal, result.needs_version) == (True, "1.0")
        assert result.entries > 0
    old = again(it, "desk", version="1.0")
    assert all(result.equal and result.needs_version == "2.0" for result in old.values())
    assert all(again(it, "desk", "3.0")[name].needs_version == "1.0, 2.0" for name in found)


def test_a_forgery_in_the_new_part_is_found_also_after_an_upgrade(
    storage: MemoryStorage, tmp_path: Path
) -> None:
    take(
        observer(tmp_path, storage, build=Build("2.0", "lock")), recording(tmp_path / "desk.csv", range(300))
    )
    position = rewrite(
        storage,
        "events.desk",
        lambda _, v: v | {"subject": "Z"} if v["epoch"] == 2 and "data" in v else None,
    )
    problem = again(observer(tmp_path, storage), "desk", version="2.0")["events.desk"].problem
    assert problem is not None
    assert problem.startswith(f"position {position}: stored ")


def test_what_another_version_was_configured_with_need_not_be_understood(
    storage: MemoryStorage, tmp_path: Path
) -> None:
    def unknown(_: int, value: dict[str, Any]) -> Any:
        if value.get("kind") != "epoch":
            return None
        return value | {"body": value["body"] | {"code": "0.1", "config": {"was": "otherwise"}}}

    rewrite(storage, "patterns.desk", unknown)
    found = again(observer(tmp_path, storage), "desk")["patterns.desk"]
    assert (found.problem, found.equal, found.needs_version) == (None, True, "0.1")


def test_the_digest_changes_with_any_head(storage: MemoryStorage, tmp_path: Path) -> None:
    it = observer(tmp_path, storage)
    before = digest_of(it.journals)
    assert before == digest_of(observer(tmp_path, storage).journals)
    operate.command(it.journals, ManualClock(START_NS + 900 * MINUTE), "desk", command="block", scope="*",
                    author="kim", reason="drill")  # fmt: skip
    assert digest_of(it.journals) != before
