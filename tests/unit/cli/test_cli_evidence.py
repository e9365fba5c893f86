"""explain, verify, digest, replay: why, and is it true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime.audit import replay as replaying
from tests.unit.cli.conftest import SILENT_FROM, START_MINUTE, Observer, run


def block(look: Observer) -> dict[str, Any]:
    listed = look("decisions", "ls", "--verdict", "block", "--subject", "B/USD", "--json").stdout
    return dict(json.loads(listed.splitlines()[0]))


def steps(step: dict[str, Any]) -> list[dict[str, Any]]:
    return [step, *(inner for cause in step["causes"] for inner in steps(cause))]


def test_explain_goes_back_to_the_snapshot_whose_bytes_are_where_it_says(
    look: Observer, ingested: Path
) -> None:
    found = json.loads(look("explain", block(look)["id"][:10], "--json").stdout)
    chain = steps(found)
    assert [step["ref"].partition(".")[0] for step in chain] == [
        "decisions",
        "events",
        "patterns",
        "snapshots",
    ]
    for step in chain:
        data = (ingested / "data/observer" / step["segment"]).read_bytes()
        stored = data[step["offset"] : step["offset"] + step["length"]]
        assert json.loads(stored) == step["record"]
        assert data[step["offset"] + step["length"] :][:1] == b"\n"


def test_explain_names_the_rows_of_the_recording(look: Observer, ingested: Path) -> None:
    snapshot = steps(json.loads(look("explain", block(look)["id"], "--json").stdout))[-1]
    lines = (ingested / "desk.csv").read_text().splitlines()
    expected = snapshot["record"]["event_ns"] // 1_000_000_000
    named = [lines[row["row"]].split(",")[:2] for row in snapshot["origin_rows"]]
    assert named == [[str(expected), name] for name in snapshot["record"]["subjects"]]
    assert expected // 60 >= START_MINUTE + SILENT_FROM


def test_explain_shows_the_policy_of_that_epoch_and_people_can_read_it(look: Observer) -> None:
    decision = block(look)
    found = json.loads(look("explain", decision["id"], "--json").stdout)
    assert found["policy"]["name"] == decision["policy"] == "stale-feed"
    shown = look("explain", decision["id"]).stdout
    for text in (
        "block subject:B/USD",
        'until = "resumed"',
        "pattern feed_stale",
        "recorded in",
        "snapshots.desk@",
    ):
        assert text in shown


def test_a_decision_may_be_named_by_its_position(look: Observer) -> None:
    position = json.loads(look("digest", "--json").stdout.splitlines()[1])["position"]
    by_position = look("explain", f"decisions.desk@{position}", "--json")
    decision = json.loads(by_position.stdout)["record"]["id"]
    assert look("explain", decision, "--json").stdout == by_position.stdout


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("ffffffffffff", "there is no decision whose id begins with 'ffffffffffff'"),
        ("decisions.desk@9999", "entry 'decisions.desk@9999' does not exist"),
        ("decisions.desk@x", "expected JOURNAL@POSITION"),
        ("decisions.nix@1", "there is no journal 'decisions.nix'"),
        ("events.desk@2", "events.desk@2 is not a decision"),
        ("decisions.desk@1", "decisions.desk@1 is a note of the journal (epoch)"),
    ],
)
def test_what_is_not_a_decision_is_told(look: Observer, named: str, message: str) -> None:
    refused = look("explain", named)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_the_beginning_of_several_ids_is_refused(look: Observer) -> None:
    every = [
        json.loads(x)["id"] for x in look("decisions", "ls", "--limit", "0", "--json").stdout.splitlines()
    ]
    assert len(set(every)) > 1
    refused = look("explain", "")
    assert refused.exit_code == 2
    assert f"{len(every)} decisions begin with ''" in refused.stderr


def test_verify_finds_nothing_in_what_was_just_written(look: Observer) -> None:
    checked = look("verify", "--json")
    assert checked.exit_code == 0
    found = [json.loads(line) for line in checked.stdout.splitlines()]
    assert {item["journal"] for item in found} >= {"snapshots.desk", "decisions.desk"}
    assert all(item["fault"] is None and item["records"] for item in found)


def test_verify_names_the_first_broken_position_and_ends_with_1(own: Path) -> None:
    segment = sorted((own / "data/observer/snapshots").rglob("*.ndjson"))[0]
    data = bytearray(segment.read_bytes())
    data[data.index(b'"price"') + 1] ^= 1
    segment.write_bytes(data)
    checked = run(own, "verify")
    assert checked.exit_code == 1
    assert "✗ snapshots.desk" in checked.stdout
    assert "broken at position 1 (hash)" in checked.stdout
    assert run(own, "verify", "events.desk").exit_code == 0
    broken = json.loads(run(own, "verify", "snapshots.desk", "--json").stdout)
    assert broken["fault"]["fault"] == "hash"


def test_verify_refuses_a_journal_that_does_not_exist(look: Observer) -> None:
    refused = look("verify", "snapshots.nix")
    assert refused.exit_code == 2
    assert "there is no journal 'snapshots.nix'; known are clock.desk, decisions.desk" in refused.stderr


def test_digest_prints_every_head_and_their_total(look: Observer) -> None:
    found = [json.loads(line) for line in look("digest", "--json").stdout.splitlines()]
    assert [item["journal"] for item in found[:-1]] == [
        "clock.desk", "decisions.desk", "events.desk", "patterns.desk", "snapshots.desk",
    ]  # fmt: skip
    for line, item in zip(look("digest").stdout.splitlines(), found, strict=True):
        assert line.split()[0] == item.get("hash", item.get("total"))


def test_replay_computes_the_stored_heads_again(look: Observer) -> None:
    done = look("replay", "--verify", "--json")
    assert done.exit_code == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [item["journal"] for item in found[:-1]] == ["patterns.desk", "events.desk", "decisions.desk"]
    assert all(item["equal"] and item["stored"] == item["computed"] for item in found[:-1])
    assert found[-1]["total"]["equal"] == 3
    assert "3 of 3 journals are equal" in look("replay", "--verify", "--domain", "desk").stdout


def test_a_replay_that_differs_ends_with_1(look: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    version = "another"
    monkeypatch.setitem(replaying.REBUILD, "publish", lambda config: _Louder(config))  # type: ignore[misc]
    done = look("replay", "--verify")
    assert done.exit_code == 1
    assert "✗ events.desk" in done.stdout
    assert "different: position" in done.stdout
    assert version not in done.stdout


def _Louder(config: Any) -> Any:
    stage = replaying.rebuild_publisher(config)
    stage._config = stage._config.model_copy(update={"incident_severity": "critical"})
    return stage


def test_replay_without_verify_says_how_to_call_it(look: Observer) -> None:
    refused = look("replay")
    assert refused.exit_code == 2
    assert "say `observer replay --verify`" in refused.stderr
