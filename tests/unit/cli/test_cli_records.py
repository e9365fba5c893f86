"""Listing and following records."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from observer_core.storage.rows import GENESIS, chain
from tests.unit.cli.conftest import JUMP_AT, OPTIONS, START_MINUTE, Observer, process, recording, run

KINDS = ("snapshots", "patterns", "events", "decisions")


def values(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_json_is_exactly_the_stored_bytes_so_that_the_chain_can_be_computed_from_it(
    look: Observer, kind: str
) -> None:
    listed = look(kind, "ls", "--json", "--all", "--limit", "0")
    heads = {item.get("journal"): item.get("hash") for item in values(look("digest", "--json").stdout)}
    assert listed.exit_code == 0
    assert chain(GENESIS, listed.stdout_bytes.splitlines()).hex() == heads[f"{kind}.desk"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_keeps_the_newest_and_lists_them_oldest_first(look: Observer, kind: str) -> None:
    every = look(kind, "ls", "--json", "--limit", "0").stdout.splitlines()
    limit = len(every) - 1
    assert limit
    for words in (("ls",), ("tail", "--no-follow")):
        shown = look(kind, *words, "--json", "--limit", limit).stdout
        assert shown.splitlines() == every[1:]


def test_notes_of_the_journal_are_listed_only_on_demand(look: Observer) -> None:
    without = values(look("events", "ls", "--json", "--limit", "0").stdout)
    with_notes = values(look("events", "ls", "--json", "--limit", "0", "--all").stdout)
    assert [item["kind"] for item in with_notes if "kind" in item] == ["epoch"]
    assert len(with_notes) == len(without) + 1


@pytest.mark.parametrize(
    ("words", "key", "expected"),
    [
        (("patterns", "--kind", "feed_*"), "pattern", {"feed_stale"}),
        (("events", "--type", "feed.*"), "type", {"io.qts.observer.feed.stale"}),
        (("events", "--type", "io.qts.observer.incident.o*"), "type", {"io.qts.observer.incident.opened"}),
        (("decisions", "--verdict", "bl*"), "verdict", {"block"}),
        (("decisions", "--subject", "B/*", "--verdict", "block"), "scope", {"subject:B/USD"}),
    ],
)
def test_filters_keep_what_matches(
    look: Observer, words: tuple[str, ...], key: str, expected: set[str]
) -> None:
    found = values(look(words[0], "ls", *words[1:], "--json").stdout)
    assert {item[key] for item in found} == expected


def test_a_subject_keeps_the_patterns_of_that_subject(look: Observer) -> None:
    found = values(look("patterns", "ls", "--subject", "B/*", "--json").stdout)
    assert {series[1] for item in found for series in item["series"]} == {"B/USD"}
    assert not values(look("patterns", "ls", "--subject", "none", "--json").stdout)


def test_severity_is_a_minimum(look: Observer) -> None:
    every = values(look("events", "ls", "--json", "--limit", "0").stdout)
    grave = values(look("events", "ls", "--severity", "warning", "--json", "--limit", "0").stdout)
    assert grave == [item for item in every if item["severitytext"] != "info"]
    assert grave


def test_flags_find_the_snapshots_of_bad_quality(look: Observer) -> None:
    found = values(look("snapshots", "ls", "--flag", "*", "--json", "--limit", "0").stdout)
    assert all(item["quality"] for item in found)
    assert len(found) < len(values(look("snapshots", "ls", "--json", "--limit", "0").stdout))


def test_times_cut_at_the_moment_at_which_records_were_known(look: Observer) -> None:
    since, until = (START_MINUTE + JUMP_AT) * 60, (START_MINUTE + JUMP_AT + 2) * 60
    found = values(look("snapshots", "ls", "--since", since, "--until", until, "--json").stdout)
    assert [item["ingest_ns"] // 60_000_000_000 - START_MINUTE for item in found] == [
        JUMP_AT,
        JUMP_AT + 1,
        JUMP_AT + 2,
    ]


def test_a_duration_counts_back_from_the_newest_record_of_the_domain(look: Observer) -> None:
    found = values(look("snapshots", "ls", "--since", "2m", "--json").stdout)
    assert len(found) == 3
    assert found == values(look("snapshots", "ls", "--limit", "3", "--json").stdout)


def test_incidents_are_shown_once_as_their_last_event_left_them(look: Observer) -> None:
    events = values(look("events", "ls", "--type", "incident.*", "--json", "--limit", "0").stdout)
    found = values(look("incidents", "ls", "--json").stdout)
    assert {item["id"] for item in found} == {event["data"]["id"] for event in events}
    for item in found:
        last = [event for event in events if event["data"]["id"] == item["id"]][-1]
        assert (item["state"], item["patterns"]) == (last["data"]["state"], last["data"]["patterns"])
    still = values(look("incidents", "ls", "--open", "--json").stdout)
    assert still == [item for item in found if item["state"] == "open"]
    assert not values(look("incidents", "ls", "--kind", "none", "--json").stdout)


def test_incidents_tail_shows_their_changes(look: Observer) -> None:
    shown = look("incidents", "tail", "--no-follow", "--json").stdout
    assert shown == look("events", "ls", "--type", "incident.*", "--limit", "10", "--json").stdout


@pytest.mark.parametrize("kind", [*KINDS, "incidents"])
def test_into_a_pipe_every_record_is_one_whole_line_without_colours(look: Observer, kind: str) -> None:
    shown = look(kind, "ls", "--limit", "5").stdout
    raw = look(kind, "ls", "--limit", "5", "--json").stdout
    assert len(shown.splitlines()) == len(raw.splitlines()) > 0
    assert "\x1b" not in shown
    assert "…" not in shown.replace("… ", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--severity", "grave"), "--severity 'grave' is not one; expected info, warning, critical"),
        (("--source", "nix"), "there is no source 'nix'; known are desk"),
        (("--domain", "nix"), "there is no domain 'nix'; known are desk"),
        (("--since", "soon"), "'soon' is not a time"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(
    look: Observer, words: tuple[str, ...], message: str
) -> None:
    refused = look("events", "ls", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert refused.stdout == ""


def test_tail_follows_what_another_process_commits_and_ends_with_130(tmp_path: Path) -> None:
    recording(tmp_path / "desk.csv", range(160))
    run(tmp_path, "ingest", tmp_path / "desk.csv", *OPTIONS, "--durability", "normal")
    tail = process(tmp_path, "snapshots", "tail", "--json", "--limit", "1")
    try:
        assert tail.stdout
        first = json.loads(tail.stdout.readline())
        recording(tmp_path / "desk.csv", range(161))
        assert run(tmp_path, "ingest", tmp_path / "desk.csv", *OPTIONS).exit_code == 0
        second = json.loads(tail.stdout.readline())
        tail.send_signal(signal.SIGINT)
        assert tail.wait(10) == 130
    finally:
        tail.kill()
    assert second["ingest_ns"] - first["ingest_ns"] == 60_000_000_000
    assert tail.stderr
    assert "Traceback" not in tail.stderr.read()
