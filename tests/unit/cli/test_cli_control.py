"""gate kill, unkill, confirm, requests: commands with the user of the system beside the author."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from observer_core.cli.principal import os_user
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from tests.unit.cli.conftest import MINUTES, OPTIONS, recording, run

KIM, LEE = ("--author", "kim", "--reason", "drill"), ("--author", "lee", "--reason", "checked")


def entry(own: Path, name: str, position: int) -> Any:
    storage = LocalStorage(own / "data/observer")
    record = Journals(storage, worker="test").open(name).entry(position).record
    storage.close()
    return record


def work(own: Path, more: int) -> None:
    """The recording goes on, so that the domain is worked."""
    recording(own / "desk.csv", range(MINUTES + more))
    assert run(own, "ingest", own / "desk.csv", *OPTIONS).exit_code == 0


def test_the_kill_switch_of_the_domain_is_the_default_and_is_ended_by_unkill_only(own: Path) -> None:
    killed = run(own, "gate", "kill", *KIM)
    assert killed.exit_code == 0
    assert "commands.desk@1  kill * in domain desk" in killed.stdout
    work(own, 2)
    assert "kill switch set by kim: drill" in run(own, "gate", "check", "C/USD").stdout
    run(own, "gate", "release", "*", *KIM)
    work(own, 4)
    assert run(own, "gate", "check", "C/USD").exit_code == 1
    run(own, "gate", "unkill", *LEE)
    work(own, 6)
    assert run(own, "gate", "check", "C/USD").exit_code == 0
    assert run(own, "replay", "--verify").exit_code == 0


def test_the_user_of_the_system_is_recorded_beside_the_author(own: Path) -> None:
    run(own, "gate", "kill", "subject:C/USD", *KIM)
    body = entry(own, "commands.desk", 1).body
    assert (body["author"], body["principal"]) == ("kim", os_user())
    assert body["command"] == "kill"


def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    uid, _, name = os_user().partition(":")
    assert (int(uid), name) == (os.geteuid(), pwd.getpwuid(os.geteuid()).pw_name)
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)
    assert os_user() == f"{2**31 - 7}:"


def test_two_persons_ask_and_confirm(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVER_CONTROL__TWO_PERSON", '["kill"]')
    asked = run(own, "gate", "kill", *KIM)
    assert "observer gate confirm commands.desk@1" in asked.stdout
    work(own, 2)
    assert run(own, "gate", "check", "C/USD").exit_code == 0
    assert "kill commands.desk@1" in run(own, "gate", "requests").stdout
    (waiting,) = run(own, "gate", "requests", "--json").stdout.splitlines()
    assert json.loads(waiting)["request"] == "commands.desk@1"

    run(own, "gate", "confirm", "commands.desk@1", *LEE)  # the same user of the system
    work(own, 4)
    assert run(own, "gate", "check", "C/USD").exit_code == 0
    refused = run(own, "decisions", "ls", "--json").stdout.splitlines()[-1]
    assert json.loads(refused)["reasons"][0]["code"] == "same_person"

    monkeypatch.setattr("observer_core.cli.principal.os_user", lambda: "4711:lee")
    confirmed = run(own, "gate", "confirm", "commands.desk@1", *LEE)
    assert "confirm commands.desk@1 in domain desk" in confirmed.stdout
    work(own, 6)
    assert "kill switch set by kim, confirmed by lee: drill" in run(own, "gate", "check", "C/USD").stdout
    assert "nothing waits for a second person" in run(own, "gate", "requests").stdout
    assert run(own, "replay", "--verify").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("confirm", "nonsense", *LEE), "request: expected the record that asked, commands.DOMAIN@N"),
        (("confirm", "commands.nix@1", *LEE), "there is no domain 'nix'"),
        (("kill", "C/USD", *KIM, "--domain", "desk"), "scope: expected subject:NAME, source:NAME or *"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_not_recorded(
    own: Path, words: tuple[str, ...], message: str
) -> None:
    refused = run(own, "gate", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert "commands" not in run(own, "digest").stdout
