"""gate check --at and report nonexecution: what somebody was told, and of how much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from observer_core.runtime.gate.desk import GateDesk, Question
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import format_time
from tests.unit.cli.conftest import run


@pytest.fixture
def asked(own: Path) -> Path:
    """The recorded market, after alpha was told yes of A/USD and beta no of what nobody observes."""
    observer = Observer.local(load(root=own))
    desk = GateDesk(observer, Gate(observer.journals, observer.settings, observer.clock))
    for caller, subject in (("alpha", "C/USD"), ("beta", "X/USD"), ("beta", "B/USD")):
        question = Question(caller=caller, action="order", resource=subject, domain="desk")
        assert desk.ask(question).result(20).ref
    desk.stop()
    observer.close()
    return own


def newest(folder: Path) -> str:
    observer = Observer.local(load(root=folder))
    head = observer.journals.open("snapshots.desk").head()
    observer.close()
    return format_time(head.time_ns)


def test_with_a_moment_it_says_who_asked_nearest_to_it(asked: Path) -> None:
    at = newest(asked)
    done = run(asked, "gate", "check", "C/USD", "--at", at)
    assert f"alpha asked (order) at {at}, then, and was told allow: gate.desk@2" in done.stdout
    done = run(asked, "gate", "check", "B/USD", "--at", "1h")
    assert "1h later, and was told deny (" in done.stdout
    assert "gate.desk@4" in done.stdout
    assert "nobody asked around then" in run(asked, "gate", "check", "A/USD", "--at", at).stdout
    assert "asked" not in run(asked, "gate", "check", "C/USD").stdout


def test_as_json_too(asked: Path) -> None:
    found = json.loads(run(asked, "gate", "check", "X/USD", "--at", newest(asked), "--json").stdout)["asked"]
    assert (found["id"], found["caller"], found["decision"]) == ("gate.desk@3", "beta", "deny")
    assert found["reasons"][0]["code"] == "unknown_subject"
    assert "asked" not in json.loads(run(asked, "gate", "check", "X/USD", "--json").stdout)


def test_the_report_says_of_how_much_first(asked: Path) -> None:
    done = run(asked, "report", "nonexecution")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["evaluated", "3"] in lines
    assert ["allowed", "1", "33.3%"] in lines
    assert ["denied", "2", "66.7%"] in lines
    assert ["not", "observed", "1", "33.3%"] in lines
    assert ["denied:", "unknown_subject", "1", "50.0%"] in lines
    assert ["beta", "2", "0", "2"] in lines
    assert lines.index(["evaluated", "3"]) < lines.index(["denied", "2", "66.7%"])
    matched = next(int(line[-1]) for line in lines if line[:2] == ["policy", "matches"])
    assert matched > 0


def test_the_report_of_one_caller_as_json(asked: Path) -> None:
    done = run(asked, "report", "nonexecution", "--caller", "beta", "--since", "1h", "--json")
    found = json.loads(done.stdout)
    assert (found["domain"], found["gate"]["evaluated"], found["gate"]["denied"]) == ("desk", 2, 2)
    assert list(found["gate"]["callers"]) == ["beta"]


def test_where_nobody_asked_it_says_so(own: Path) -> None:
    done = run(own, "report", "nonexecution")
    assert "domain desk: nobody asked the gate" in done.stdout
    assert "-" in done.stdout
