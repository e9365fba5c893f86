"""permit key, permit verify and reconcile, over answers that the gate has recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from observer_core.runtime.audit.permits import Permits
from observer_core.runtime.gate.desk import GateDesk, Question
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.observer import Observer as Core
from observer_core.runtime.settings import load
from observer_core.shared.clock import format_time
from tests.unit.cli.conftest import run

CONFIG = '[permits]\nkey_file = "keys/permits"\nlifetime = "1m"\n'


@pytest.fixture
def desk(own: Path) -> Path:
    """A store whose gate has allowed C/USD and denied B/USD; `receipt` holds the permit of the first."""
    (own / "config").mkdir()
    assert run(own, "permit", "key", "new", own / "keys/permits").exit_code == 0
    (own / "config/observer.toml").write_text(CONFIG)
    core = Core.open(load(own / "config/observer.toml", root=own))
    gate = GateDesk(core, Gate(core.journals, core.settings, core.clock))
    permits = Permits.of(core.settings, core.journals)
    assert permits is not None
    for resource in ("C/USD", "B/USD"):
        found = gate.ask(Question(caller="mm", action="trade", resource=resource, domain="desk")).result(10)
        if found.ref is not None and found.allowed:
            (own / "receipt").write_text(permits.permit_for(found.ref) + "\n")
            (own / "at").write_text(format_time(found.now_ns))
    gate.stop()
    core.close()
    assert (own / "receipt").is_file()
    return own


def at(desk: Path) -> str:
    return (desk / "at").read_text()


def test_a_receipt_is_verified_by_file_argument_or_standard_input(desk: Path) -> None:
    text = (desk / "receipt").read_text()
    for given, stdin in ((str(desk / "receipt"), None), (text.strip(), None), ("-", text)):
        done = run(desk, "permit", "verify", given, "--at", at(desk), "--data", stdin=stdin)
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith("mm may trade C/USD (domain desk), gate.desk@2, from ")
        assert "✓ data" in done.stdout


def test_it_has_expired_by_now(desk: Path) -> None:
    done = run(desk, "permit", "verify", desk / "receipt")
    assert done.exit_code == 1
    assert "✗ time: it has expired at" in done.stdout
    found = json.loads(run(desk, "permit", "verify", desk / "receipt", "--json").stdout)
    assert (found["holds"], found["signature"], found["data"]) == (False, "good", None)
    assert found["permit"]["sub"] == "mm"


def test_only_the_keys_that_are_given_count(desk: Path, tmp_path: Path) -> None:
    run(desk, "permit", "key", "new", tmp_path / "other")
    for name, code in ((tmp_path / "other.pub", 1), (desk / "keys/permits.pub", 0)):
        done = run(desk, "permit", "verify", desk / "receipt", "--at", at(desk), "--key", name)
        assert done.exit_code == code, done.output
    assert "not trusted" in run(
        desk, "permit", "verify", desk / "receipt", "--key", tmp_path / "other.pub"
    ).stdout  # fmt: skip


def test_the_public_key_is_printed_and_the_private_one_never(desk: Path) -> None:
    private = (desk / "keys/permits").read_text().splitlines()[1]
    shown = run(desk, "permit", "key", "show")
    assert shown.stdout == (desk / "keys/permits.pub").read_text()
    keys = json.loads(run(desk, "permit", "key", "show", "--as", "jwks").stdout)["keys"]
    assert [key["kty"] for key in keys] == ["OKP"]
    everything = "".join(
        run(desk, *words).output
        for words in (("config", "check"), ("config", "show"), ("doctor",), ("permit", "key", "show"))
    )
    assert private not in everything


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("verify", "nowhere"), "no receipt, and no file that could hold one"),
        (("verify", "eyJx.y.z"), "not base64url"),
        (("verify", "x", "--key", "nowhere"), "the public key nowhere cannot be read"),
        (("verify", "eyJx.y.z", "--at", "soon"), "'soon' is not a time"),
        (("key", "show", "nowhere"), "the key file nowhere cannot be read"),
    ],
)
def test_bad_input_is_told(desk: Path, words: tuple[str, ...], message: str) -> None:
    refused = run(desk, "permit", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_a_key_file_that_others_may_read_is_refused(desk: Path) -> None:
    (desk / "keys/permits").chmod(0o644)
    refused = run(desk, "permit", "verify", desk / "receipt")
    assert refused.exit_code == 2
    assert "chmod 600" in refused.stderr


def test_without_any_key_that_is_said(own: Path) -> None:
    for words in (("permit", "verify", "eyJx.y.z"), ("permit", "key", "show")):
        refused = run(own, *words)
        assert refused.exit_code == 2
        assert "no key is" in refused.stderr


class TestReconcile:
    def test_fills_are_told_with_their_denominators_first(self, desk: Path) -> None:
        receipt = (desk / "receipt").read_text().strip()
        (desk / "fills.csv").write_text(
            "id,time,symbol,permit\n"
            f"one,{at(desk)},C/USD,{receipt}\n"
            f"two,{at(desk)},B/USD,\n"
            f"three,{at(desk)},C/USD,{receipt[:-4]}AAAA\n"
        )
        done = run(desk, "reconcile", desk / "fills.csv", "--instrument", "symbol")
        assert done.exit_code == 1, done.output
        first, second, *rest = done.stdout.splitlines()
        assert first == (
            "3 fills: 1 by permit, 0 by the answer they name, 0 by a recorded allow, 2 without; "
            "1 while blocked"
        )
        assert second == "1 allows: 1 filled, 0 without a fill, 0 too young to say"
        text = "\n".join(rest)
        for part in ("two  ", "no_allow", "it was denied (gate.desk@3", "while_blocked", "permit_invalid"):
            assert part in text
        as_json = run(desk, "reconcile", desk / "fills.csv", "--instrument", "symbol", "--json")
        found = [json.loads(line) for line in as_json.stdout.splitlines()]
        assert found[0]["fills"] == 3
        assert [(item["id"], item["code"]) for item in found[1:]] == [
            ("two", "no_allow"), ("two", "while_blocked"), ("three", "permit_invalid"),
        ]  # fmt: skip

    def test_nothing_wrong_ends_with_0(self, desk: Path) -> None:
        (desk / "fills.csv").write_text(f"time;instrument\n{at(desk)};C/USD\n")
        done = run(desk, "reconcile", desk / "fills.csv", "--delimiter", ";", "--window", "5s")
        assert done.exit_code == 0, done.output
        assert "1 by a recorded allow, 0 without" in done.stdout

    def test_an_allow_without_a_fill_is_listed_and_no_finding(self, desk: Path) -> None:
        (desk / "fills.csv").write_text("time,instrument\n")
        done = run(desk, "reconcile", desk / "fills.csv")
        assert done.exit_code == 0
        assert "no fill for gate.desk@2: mm trade C/USD" in done.stdout
        found = json.loads(run(desk, "reconcile", desk / "fills.csv", "--json").stdout.splitlines()[1])
        assert (found["code"], found["answer"]) == ("unfilled", "gate.desk@2")

    def test_bad_input_is_told(self, desk: Path) -> None:
        (desk / "bad.csv").write_text("time,instrument\nnever,C/USD\n")
        (desk / "good.csv").write_text(f"time,instrument,permit\n{at(desk)},C/USD,x.y.z\n")
        for words, message in (
            (("bad.csv",), "line 2: 'never' is not a time"),
            (("none.csv",), "cannot be read"),
            (("good.csv", "--side", "way"), "no column 'way'"),
            (("good.csv", "--delimiter", "::"), "one character was expected"),
            (("good.csv", "--window", "long"), "not a duration"),
            (("good.csv", "--domain", "nix"), "there is no domain 'nix'"),
        ):
            refused = run(desk, "reconcile", desk / words[0], *words[1:])
            assert refused.exit_code == 2, words
            assert message in refused.stderr

    def test_receipts_without_a_trusted_key_are_refused_not_skipped(self, desk: Path) -> None:
        (desk / "config/observer.toml").unlink()
        (desk / "fills.csv").write_text(f"time,instrument,permit\n{at(desk)},C/USD,x.y.z\n")
        refused = run(desk, "reconcile", desk / "fills.csv")
        assert refused.exit_code == 2
        assert "no key is trusted" in refused.stderr
