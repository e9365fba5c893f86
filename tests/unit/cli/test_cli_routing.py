"""silences, and subscriptions that are added, paused and removed while everything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import OPTIONS, recording, run

WHY = ("--author", "kim", "--reason", "maintenance")
CONFIG = """
[[subscription]]
name = "desk"
domains = ["desk"]
sink = { kind = "log" }
"""
LATE = CONFIG.replace('"desk"\n', '"late"\n', 1)


@pytest.fixture
def routed(own: Path) -> Path:
    (own / "config").mkdir()
    (own / "config/observer.toml").write_text(CONFIG)
    (own / "late.toml").write_text(LATE)
    return own


def work(folder: Path) -> None:
    """The recording goes on, and what was asked is taken."""
    done = run(folder, "ingest", recording(folder / "desk.csv", range(300)), *OPTIONS)
    assert done.exit_code == 0, done.output


def listed(folder: Path, what: str) -> list[dict[str, Any]]:
    shown = run(folder, what, "ls", "--json")
    assert shown.exit_code == 0, shown.output
    return [json.loads(line) for line in shown.stdout.splitlines()]


def test_a_silence_is_listed_until_it_is_ended(routed: Path) -> None:
    assert "no silence stands" in run(routed, "silences", "ls").output
    asked = run(routed, "silences", "add", "--type", "feed.*", "--subject", "B/*", "--for", "90d", *WHY)
    assert asked.exit_code == 0, asked.output
    assert "types feed.*" in asked.stdout
    work(routed)
    (silence,) = listed(routed, "silences")
    assert (silence["author"], silence["begun"], silence["match"]["subjects"]) == ("kim", True, ["B/*"])
    assert "subjects B/*; types feed.*" in run(routed, "silences", "ls").stdout
    ended = run(routed, "silences", "end", silence["id"], *WHY)
    assert ended.exit_code == 0, ended.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "--for", "1h", *WHY), "say what to silence"),
        (("add", "--all", *WHY), "say how long: --for DURATION or --to TIME"),
        (("add", "--all", "--for", "1h", "--to", "2030-01-01", *WHY), "say how long"),
        (("add", "--all", "--to", "2001-01-01", *WHY), "the silence would end at 2001-01-01"),
        (("add", "--all", "--for", "1h", "--author", "", "--reason", "x"), "author"),
        (("end", "commands.desk@7", *WHY), "there is no silence 'commands.desk@7'"),
    ],
)
def test_a_silence_that_cannot_be_meant_is_refused(
    routed: Path, words: tuple[str, ...], message: str
) -> None:
    refused = run(routed, "silences", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_a_subscription_is_added_paused_and_removed(routed: Path) -> None:
    assert run(routed, "subscriptions", "add", routed / "late.toml", *WHY).exit_code == 0
    work(routed)
    states = {item["name"]: item["state"] for item in listed(routed, "subscriptions")}
    assert states == {"desk": "active", "late": "active"}
    assert run(routed, "subscriptions", "pause", "late", *WHY).exit_code == 0
    recording(routed / "desk.csv", range(301))
    assert run(routed, "ingest", routed / "desk.csv", *OPTIONS).exit_code == 0
    assert {item["name"]: item["state"] for item in listed(routed, "subscriptions")}["late"] == "paused"
    assert run(routed, "subscriptions", "resume", "late", *WHY).exit_code == 0
    assert run(routed, "subscriptions", "remove", "late", *WHY).exit_code == 0
    recording(routed / "desk.csv", range(302))
    assert run(routed, "ingest", routed / "desk.csv", *OPTIONS).exit_code == 0
    assert [item["name"] for item in listed(routed, "subscriptions")] == ["desk"]


def test_a_secret_is_never_recorded(routed: Path) -> None:
    hook = '{ kind = "webhook", url = "https://h.example/x", secret = "hunter2" }'
    (routed / "late.toml").write_text(LATE.replace('{ kind = "log" }', hook))
    refused = run(routed, "subscriptions", "add", routed / "late.toml", *WHY)
    assert refused.exit_code == 2
    assert "a record may hold no secret" in refused.stderr
    assert "hunter2" not in refused.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pause", "nix", *WHY), "domain desk has no subscription 'nix'; there are: desk"),
        (("add", "late.toml", *WHY), "cannot be read"),
        (("add", "config/observer.toml", "--author", "kim"), "Missing option '--reason'"),
    ],
)
def test_what_cannot_be_done_to_a_subscription_is_told(
    routed: Path, words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (routed / "late.toml").unlink()
    monkeypatch.chdir(routed)
    refused = run(routed, "subscriptions", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr
