"""ledger verify, anchor and export; explain with a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.unit.cli.conftest import OPTIONS, Observer, recording, run

CONFIG = '[ledger]\nto = { kind = "file", path = "elsewhere/anchors" }\n'


@pytest.fixture
def anchored(own: Path) -> Path:
    """A store with an anchor in `elsewhere/anchors`."""
    (own / "config").mkdir()
    (own / "config/observer.toml").write_text(CONFIG)
    made = run(own, "ledger", "anchor")
    assert made.exit_code == 0, made.output
    return own


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_anchor_is_recorded_and_sent_exactly_as_stored(anchored: Path) -> None:
    made = run(anchored, "ledger", "anchor", "--json")
    kept = (anchored / "elsewhere/anchors").read_text().splitlines()
    assert len(kept) == 2
    assert kept[1] == made.stdout.strip()
    heads = {name: position for name, position, _ in json.loads(kept[1])["body"]["heads"]}
    assert heads["ledger.live"] == 1
    assert {"snapshots.desk", "decisions.desk"} <= set(heads)


def test_a_store_that_nobody_touched_agrees_with_its_anchors(anchored: Path) -> None:
    done = run(anchored, "ledger", "verify")
    assert done.exit_code == 0
    assert done.stderr == ""
    assert f"1 anchors in file {anchored}/elsewhere/anchors" in done.stdout
    *journals, summary = lines(run(anchored, "ledger", "verify", "--json").stdout)
    assert all(item["fault"] is item["disagreement"] is None for item in journals)
    assert summary["faults"] == []
    assert next(item for item in journals if item["journal"] == "snapshots.desk")["agreed"] == 2


def test_without_an_anchor_from_outside_that_is_said(look: Observer) -> None:
    done = look("ledger", "verify")
    assert done.exit_code == 0
    assert "a store written anew as a whole would not show" in done.stderr


def test_a_store_written_anew_is_found_by_a_copy_of_the_anchors(anchored: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    forged.mkdir()
    changed = recording(tmp_path / "desk.csv").read_text().splitlines()
    changed[400] = changed[400].rpartition(",")[0] + ",100.001"
    (forged / "desk.csv").write_text("\n".join(changed) + "\n")
    assert run(forged, "ingest", forged / "desk.csv", *OPTIONS, "--durability", "normal").exit_code == 0
    assert run(forged, "ledger", "anchor").exit_code == 0
    assert run(forged, "verify").exit_code == run(forged, "ledger", "verify").exit_code == 0
    copy = anchored / "elsewhere/anchors"
    done = run(forged, "ledger", "verify", "--anchors", copy)
    assert done.exit_code == 1
    assert "✗ snapshots.desk" in done.stdout
    assert "rewritten after position 0" in done.stdout
    found = {item["journal"]: item for item in lines(run(
        forged, "ledger", "verify", "--anchors", copy, "--json").stdout)[:-1]}  # fmt: skip
    wrong = found["snapshots.desk"]["disagreement"]
    assert (wrong["fault"], wrong["anchor"]) == ("rewritten", str(copy))


def test_a_changed_byte_is_found_as_by_verify(anchored: Path) -> None:
    segment = sorted((anchored / "data/observer/decisions").rglob("*.ndjson"))[0]
    segment.write_bytes(segment.read_bytes().replace(b"stale-feed", b"stale-food", 1))
    done = run(anchored, "ledger", "verify")
    assert done.exit_code == 1
    assert "✗ decisions.desk" in done.stdout


def test_an_anchor_that_was_changed_or_is_none_is_found(anchored: Path) -> None:
    kept = anchored / "elsewhere/anchors"
    kept.write_text(kept.read_text().replace('"snapshots.desk",', '"snapshots.dusk",'))
    with kept.open("a") as file:
        file.write("what is this\n")
    done = run(anchored, "ledger", "verify")
    assert done.exit_code == 1
    assert "line 1: the anchor at" in done.stdout
    assert "line 2: expected an anchor, found b'what is this'" in done.stdout


def test_bad_input_is_told(anchored: Path) -> None:
    for words, message in (
        (("verify", "--anchors", "nowhere"), "anchors nowhere cannot be read"),
        (("export", "x", "--domain", "nix"), "there is no domain 'nix'"),
        (("export", "x", "--since", "soon"), "'soon' is not a time"),
        (
            ("export", "x", "--since", "2018-04-05", "--until", "2018-04-04"),
            "--since 2018-04-05T00:00:00Z is",
        ),
        (("export", str(anchored / "config")), "never written over"),
    ):
        refused = run(anchored, "ledger", *words)
        assert refused.exit_code == 2, words
        assert message in refused.stderr
    (anchored / "config/observer.toml").write_text(CONFIG.replace("elsewhere", "data/observer"))
    refused = run(anchored, "ledger", "anchor")
    assert refused.exit_code == 2
    assert "lies in the data folder" in refused.stderr


@pytest.mark.parametrize("words", [("verify",), ("anchor",), ("export", "x")])
def test_without_data_nothing_is_made(tmp_path: Path, words: tuple[str, ...]) -> None:
    refused = run(tmp_path, "ledger", *words)
    assert refused.exit_code == 2
    assert "no Observer data" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_told_with_the_sum_of_its_manifest(look: Observer, tmp_path: Path) -> None:
    done = look("ledger", "export", tmp_path / "out", "--domain", "desk", "--since", "1h")
    assert done.exit_code == 0
    told = json.loads(
        look("ledger", "export", tmp_path / "again", "--domain", "desk", "--since", "1h", "--json").stdout
    )
    assert told["manifest"] in done.stdout
    assert (tmp_path / "out/INSTRUCTIONS.txt").read_text().startswith("An export of the Observer's journals")


def test_explain_shows_the_stored_line_and_the_chain_and_draws_a_picture(
    look: Observer, tmp_path: Path
) -> None:
    listed = look("decisions", "ls", "--verdict", "block", "--subject", "A/USD", "--json").stdout
    identity = json.loads(listed.splitlines()[0])["id"]
    shown = look("explain", identity, "--svg", tmp_path / "why.svg")
    assert 'stored line: {"epoch":1,"event_ns":' in shown.stdout
    found = json.loads(look("explain", identity, "--json").stdout)
    heads = {}
    while True:
        heads[found["ref"]] = found["hash"]
        if not found["causes"]:
            break
        found = found["causes"][0]
    assert found["ref"].startswith("snapshots.desk@")
    for digest in heads.values():
        assert f"chain {digest}" in shown.stdout
    image = ElementTree.fromstring((tmp_path / "why.svg").read_text())
    words = " ".join(item.text or "" for item in image.iter("{http://www.w3.org/2000/svg}text"))
    for ref in heads:
        assert ref in words
    assert "desk A/USD price" in words
