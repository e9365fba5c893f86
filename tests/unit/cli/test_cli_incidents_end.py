"""incidents end: what no recovery will ever end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import MINUTES, OPTIONS, recording, run

BY = ("--author", "kim", "--reason", "B/USD was delisted")


def incidents(folder: Path) -> dict[str, dict[str, Any]]:
    shown = run(folder, "incidents", "ls", "--limit", "0", "--json").stdout
    return {item["id"]: item for item in map(json.loads, shown.splitlines())}


def work(folder: Path, more: int) -> None:
    recording(folder / "desk.csv", range(MINUTES + more))
    assert run(folder, "ingest", folder / "desk.csv", *OPTIONS).exit_code == 0


def silent(folder: Path) -> str:
    """The incident that B/USD, which reports no more, holds open."""
    (identity,) = [one["id"] for one in incidents(folder).values() if "feed_stale" in one["patterns"]]
    assert incidents(folder)[identity]["state"] == "open"
    return str(identity)


def test_an_incident_that_would_stay_open_for_ever_is_ended(own: Path) -> None:
    identity = silent(own)
    asked = run(own, "incidents", "end", identity[:8], *BY)
    assert asked.exit_code == 0, asked.output
    assert f"commands.desk@1  end of incident {identity} in domain desk" in asked.stdout
    work(own, 2)
    ended = incidents(own)[identity]
    assert (ended["state"], ended["standing"]) == ("resolved", 0)
    assert run(own, "gate", "check", "B/USD").exit_code == 1, "it opens nothing"
    work(own, 60)
    assert incidents(own)[identity]["state"] == "resolved"
    assert run(own, "verify").exit_code == 0
    assert run(own, "replay", "--verify").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ffffffff", *BY), "no incident is open whose id begins with 'ffffffff'"),
        (("abc", *BY), "give 4 characters of the id at least"),
        (("ffffffff", *BY, "--domain", "nix"), "there is no domain 'nix'"),
        (("ffffffff", "--author", "kim"), "Missing option '--reason'"),
    ],
)
def test_what_cannot_be_ended_is_told_and_not_recorded(
    own: Path, words: tuple[str, ...], message: str
) -> None:
    refused = run(own, "incidents", "end", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert "commands" not in run(own, "digest").stdout


def test_who_ends_it_must_say_who_he_is(own: Path) -> None:
    refused = run(own, "incidents", "end", silent(own), "--author", " ", "--reason", "x")
    assert refused.exit_code == 2
    assert "author: expected who or why in words" in refused.stderr
