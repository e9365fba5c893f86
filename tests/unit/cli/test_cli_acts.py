"""ingest, push, gate, redrive, subscriptions: what changes something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from observer_core.cli.opened import running
from observer_core.runtime.standalone import single_instance
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from tests.unit.cli.conftest import MINUTES, OPTIONS, SILENT_FROM, START_MINUTE, Observer, recording, run

BY = ("--author", "kim", "--reason", "drill")


def at(minute: int) -> str:
    return str((START_MINUTE + minute) * 60)


# ---------------------------------------------------------------------- ingest


def test_ingest_says_what_it_found_and_where_to_look_next(tmp_path: Path) -> None:
    done = run(tmp_path, "ingest", recording(tmp_path / "desk.csv"), *OPTIONS)
    assert done.exit_code == 0
    assert f"{MINUTES} snapshots of desk with {2 * MINUTES + SILENT_FROM} observations" in done.stdout
    for text in ("1 feed_stale", "2 block", "observations a second", "observer decisions ls --domain desk"):
        assert text in done.stdout


def test_ingesting_again_adds_nothing_and_says_so(own: Path) -> None:
    before = run(own, "digest").stdout
    again = run(own, "ingest", own / "desk.csv", *OPTIONS)
    assert "nothing new: all 670 rows were in desk already" in again.stdout
    assert run(own, "digest").stdout == before


def test_the_summary_as_json_counts_only_what_is_new(own: Path) -> None:
    recording(own / "desk.csv", range(MINUTES + 5))
    found = json.loads(run(own, "ingest", own / "desk.csv", *OPTIONS, "--json").stdout)
    assert (found["snapshots"], found["observations"]) == (5, 10)
    assert found["patterns"].get("feed_stale") is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bar", "often"), "options of ingest: bar: 'often' is not a duration"),
        (("--zone", "Mars/Base"), "zone: 'Mars/Base' is not an IANA time zone"),
        (("--as", "X"), "subject (a column) and subject_name (one name for all rows) exclude each other"),
        (("--fields", "price,nix"), "has no field 'nix'"),
        (("--domain", "Not A Name"), "is not a journal name"),
    ],
)
def test_options_of_ingest_that_cannot_be_used_are_explained(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    refused = run(tmp_path, "ingest", recording(tmp_path / "desk.csv"), *OPTIONS, *words)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    refused = run(tmp_path, "ingest", tmp_path / "nix.csv", *OPTIONS)
    assert refused.exit_code == 2
    assert "nix.csv: cannot be opened: No such file or directory" in refused.stderr


# ---------------------------------------------------------------------- push


def test_push_takes_rows_and_prints_their_position(tmp_path: Path) -> None:
    body = '{"subject": "X", "price": 1.5}\n{"subject": "Y", "price": 2}\n'
    done = run(tmp_path, "push", "hand", stdin=body)
    assert (done.exit_code, done.stdout) == (0, "snapshots.hand@2  1 snapshots\n")
    found = json.loads(run(tmp_path, "snapshots", "ls", "--json").stdout)
    assert (found["subjects"], found["fields"]) == (["X", "Y"], {"price": [1.5, 2.0]})
    streamed = run(tmp_path, "push", "hand", "--stream", "--json", stdin=body)
    assert [json.loads(line)["position"] for line in streamed.stdout.splitlines()] == [3, 4]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "standard input holds no observation"),
        ("\nnot json\n", "row 2: not JSON"),
        ('{"subject": "X"}\n', "row 1: has no number"),
    ],
)
def test_push_takes_nothing_of_what_it_cannot_use(tmp_path: Path, body: str, message: str) -> None:
    refused = run(tmp_path, "push", "hand", stdin=body)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert not list((tmp_path / "data/observer").glob("snapshots/*"))


def test_push_takes_the_lines_that_it_can_use_and_names_the_others(tmp_path: Path) -> None:
    body = '{"subject": "X", "price": 1}\n\nnot json\n{"subject": "Y", "price": "2.5"}\n'
    done = run(tmp_path, "push", "hand", stdin=body)
    assert done.exit_code == 1
    assert "1 snapshots" in done.stdout
    assert "observer: not taken: row 3: not JSON" in done.stderr
    assert "observer: 1 lines were not taken, all others were" in done.stderr


def test_push_refuses_a_source_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text('[[source]]\nname = "host"\nkind = "system"\n')
    refused = run(tmp_path, "push", "host", stdin='{"subject": "X", "price": 1}\n')
    assert refused.exit_code == 2
    assert "source 'host' is configured as system" in refused.stderr


def test_push_does_not_mix_live_into_recorded_time(own: Path) -> None:
    refused = run(own, "push", "hand", "--domain", "desk", stdin='{"subject": "X", "price": 1}\n')
    assert refused.exit_code == 2
    assert "domain 'desk' keeps recorded time" in refused.stderr


# ---------------------------------------------------------------------- gate


def test_the_gate_allows_with_0_and_denies_with_1(look: Observer) -> None:
    allowed = look("gate", "check", "C/USD")
    assert (allowed.exit_code, allowed.stdout.splitlines()[0]) == (0, "allow C/USD (domain desk, risk calm)")
    denied = look("gate", "check", "B/USD")
    assert denied.exit_code == 1
    assert "blocked: subject:B/USD is blocked by stale-feed" in denied.stdout
    assert look("gate", "check", "nix").exit_code == 1
    assert look("gate", "check", "nix", "--domain", "nowhere").exit_code == 2


def test_the_gate_as_json_gives_the_whole_answer(look: Observer) -> None:
    answer = json.loads(look("gate", "check", "B/USD", "--json").stdout)
    assert (answer["decision"], answer["domain"]) == ("deny", "desk")
    assert {reason["code"] for reason in answer["reasons"]} >= {"blocked", "subject_stale"}


def test_the_gate_tells_what_it_said_then(look: Observer) -> None:
    early = json.loads(look("gate", "check", "B/USD", "--at", at(SILENT_FROM), "--json").stdout)
    late = json.loads(look("gate", "check", "B/USD", "--at", at(MINUTES), "--json").stdout)
    assert "blocked" not in {reason["code"] for reason in early["reasons"]}
    assert "blocked" in {reason["code"] for reason in late["reasons"]}
    assert late["valid_until_ns"] >= int(at(MINUTES)) * 10**9


def test_a_command_waits_in_the_journal_until_the_domain_is_worked_and_is_then_obeyed(own: Path) -> None:
    closed = run(own, "gate", "close", "subject:C/USD", *BY, "--for", "1h")
    assert closed.exit_code == 0
    assert "commands.desk@1  block subject:C/USD in domain desk until 2018-04-04T05:20:00Z" in closed.stdout
    assert "Nothing works domain desk now: the record waits in the journal" in closed.stdout
    assert run(own, "gate", "check", "C/USD").exit_code == 0
    recording(own / "desk.csv", range(MINUTES + 2))
    run(own, "ingest", own / "desk.csv", *OPTIONS)
    denied = run(own, "gate", "check", "C/USD")
    assert denied.exit_code == 1
    assert "blocked by kim: drill" in denied.stdout
    assert "subject:C/USD  by operator" in run(own, "status").stdout
    assert run(own, "gate", "release", "subject:C/USD", *BY, "--policy", "operator").exit_code == 0
    recording(own / "desk.csv", range(MINUTES + 4))
    run(own, "ingest", own / "desk.csv", *OPTIONS)
    assert run(own, "gate", "check", "C/USD").exit_code == 0
    assert run(own, "replay", "--verify").exit_code == 0
    decision = json.loads(
        run(own, "decisions", "ls", "--verdict", "release", "--json").stdout.splitlines()[-1]
    )
    assert "command=block" in run(own, "explain", decision["id"]).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("close", "C/USD", *BY, "--domain", "desk"), "scope: expected subject:NAME, source:NAME or *"),
        (("close", "*", "--author", " ", "--reason", "x"), "author: expected who or why in words"),
        (("close", "*", *BY, "--for", "soon"), "'soon' is not a duration"),
        (("release", "source:nix", *BY), "there is no source 'nix'; known are desk"),
        (("rearm", "*", *BY, "--domain", "nix"), "there is no domain 'nix'; known are desk"),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused_and_not_recorded(
    own: Path, words: tuple[str, ...], message: str
) -> None:
    refused = run(own, "gate", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert "commands" not in run(own, "digest").stdout


@pytest.mark.parametrize(
    ("words", "command"), [(("override", "--for", "1h"), "override"), (("rearm",), "rearm")]
)
def test_overrides_are_commands_too(own: Path, words: tuple[str, ...], command: str) -> None:
    assert run(own, "gate", words[0], "source:desk", *BY, *words[1:]).exit_code == 0
    note = _entry(own, "commands.desk", 1)
    assert (note.body["command"], note.body["scope"], note.body["author"]) == (command, "source:desk", "kim")


def test_a_scope_of_several_domains_needs_the_domain(own: Path) -> None:
    run(own, "ingest", own / "desk.csv", *OPTIONS, "--source", "twin")
    for scope in ("*", "subject:C/USD"):
        refused = run(own, "gate", "close", scope, *BY)
        assert refused.exit_code == 2
        assert "say --domain, one of desk, twin" in refused.stderr
    assert "domain twin" in run(own, "gate", "close", "*", *BY, "--domain", "twin").stdout


def test_a_running_observer_is_known_by_its_lock(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = own / "data/observer"
    assert running(data) is None
    with single_instance(data):
        process = running(data)
        assert process is not None
        assert f"runs as process {process}" in run(own, "status").stdout
        monkeypatch.setattr("observer_core.cli.opened.Reader.mode", lambda *_: "live")
        closed = run(own, "gate", "close", "*", *BY)
        assert f"The running Observer (process {process}) takes it" in closed.stdout
    assert running(data) is None


# ---------------------------------------------------------------------- quarantine


def _entry(own: Path, name: str, position: int) -> Any:
    storage = LocalStorage(own / "data/observer")
    record = Journals(storage, worker="test").open(name).entry(position).record
    storage.close()
    return record


def test_what_is_set_aside_is_listed_and_comes_again_by_redrive(own: Path) -> None:
    storage = LocalStorage(own / "data/observer")
    journal = Journals(storage, worker="test").open("patterns.desk")
    head = journal.head()
    body = {"input": "snapshots.desk", "position": 7, "error": "ValueError: x", "attempts": 3,
            "scopes": ["source:desk"]}  # fmt: skip
    view = journal.view_op("quarantined.snapshots.desk@7", body)
    note = Note(kind="quarantine", time_ns=head.time_ns, body=body)
    journal.commit(head, Commit(records=[note], extra=[view]))
    storage.close()
    listed = run(own, "quarantine", "ls")
    assert "snapshots.desk@7" in listed.stdout
    assert "observer redrive patterns.desk snapshots.desk 7" in listed.stdout
    assert json.loads(run(own, "quarantine", "ls", "--json").stdout) == {"journal": "patterns.desk", **body}
    done = run(own, "redrive", "patterns.desk", "snapshots.desk", "7", *BY)
    assert (done.exit_code, done.stdout) == (
        0,
        f"snapshots.desk@7 comes again as snapshots.desk@{MINUTES + 3}\n",
    )
    assert run(own, "quarantine", "ls").stdout == "nothing is quarantined\n"
    refused = run(own, "redrive", "patterns.desk", "snapshots.desk", "7", *BY)
    assert refused.exit_code == 2
    assert "is not quarantined in patterns.desk" in refused.stderr


# ---------------------------------------------------------------------- subscriptions

SUBSCRIPTION = """
[[subscription]]
name = "desk-file"
stream = "decisions"
verdicts = ["block"]
domains = ["desk"]
sink = { kind = "file", path = "out.ndjson" }

[[subscription]]
name = "hook"
domains = ["desk"]
sink = { kind = "webhook", url = "https://hooks.example/T000/secret" }
"""


@pytest.fixture
def subscribed(own: Path) -> Path:
    (own / "config").mkdir()
    (own / "config/observer.toml").write_text(SUBSCRIPTION)
    return own


def test_subscriptions_are_listed_with_their_cursor_and_without_their_secrets(subscribed: Path) -> None:
    shown = run(subscribed, "subscriptions", "ls")
    assert shown.exit_code == 0
    assert "secret" not in shown.stdout
    found = [
        json.loads(line) for line in run(subscribed, "subscriptions", "ls", "--json").stdout.splitlines()
    ]
    assert [(item["name"], item["stream"], item["position"]) for item in found] == [
        ("desk-file", "decisions.desk", None),
        ("hook", "events.desk", None),
    ]


@pytest.mark.parametrize(
    "start", [("--from", "1"), ("--since", "1d"), ("--since", at(0), "--to", at(MINUTES))]
)
def test_a_subscription_is_sent_again_what_matches(subscribed: Path, start: tuple[str, ...]) -> None:
    done = run(subscribed, "subscriptions", "replay", "desk-file", *start)
    assert done.exit_code == 0, done.output
    listed = run(subscribed, "decisions", "ls", "--verdict", "block", "--json").stdout.splitlines()
    blocks = [json.loads(line)["id"] for line in listed]
    assert blocks
    assert done.stdout.startswith(f"{len(blocks)} records of decisions.desk@")
    sent = [json.loads(line) for line in (subscribed / "out.ndjson").read_text().splitlines()]
    assert [event["id"] for event in sent] == blocks
    assert {event["type"] for event in sent} == {"io.qts.observer.decision.block"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("desk-file",), "say where to begin: --from POSITION or --since TIME"),
        (("desk-file", "--from", "1", "--since", "1h"), "say where to begin"),
        (("nix", "--from", "1"), "there is no subscription 'nix'; configured are desk-file, hook"),
        (
            ("desk-file", "--from", "9000"),
            "there is nothing to send: decisions.desk has no positions 9000 to",
        ),
    ],
)
def test_a_replay_that_cannot_be_meant_is_refused(
    subscribed: Path, words: tuple[str, ...], message: str
) -> None:
    refused = run(subscribed, "subscriptions", "replay", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr
