"""What a trading system imports: it denies whatever is not an allow in time, in full and in order."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from observer_core import client
from observer_core.client import Answer, Change, Gate, drill
from observer_core.runtime import operate
from observer_core.runtime.gate import reader as runtime_gate
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.pushing import Batch, Pushes
from observer_core.runtime.settings import load
from observer_core.safety.tokens import digest_of, new_token
from observer_core.web.app import create_app
from observer_core.web.server import WebServer

PATIENT = 10.0
"""Seconds that a server which answers well may take on a busy machine."""
TOKEN = new_token()
KEPT: dict[str, Any] = {
    "name": "alpha", "sha256": digest_of(TOKEN).hex(), "scopes": ["read"], "caller": "alpha",
}  # fmt: skip


def code(answer: Answer) -> str:
    assert not answer
    return str(answer.reasons[0]["code"])


# ---------------------------------------------------------------------- the real gate


class Served:
    """An Observer with one source, on a real socket."""

    def __init__(self, folder: Path, **more: Any) -> None:
        settings = load(
            **more, root=folder, source=[{"name": "feed", "kind": "push", "max_age": "60s"}],
            intent=[{"name": "size", "callers": ["alpha"], "max_quantity": 10, "actions": ["order"]}],
        )  # fmt: skip
        self.observer = Observer.local(settings)
        gate = runtime_gate.Gate(self.observer.journals, settings, self.observer.clock)
        app = create_app(
            self.observer, health=Health(self.observer, gate), metrics=Metrics(self.observer, gate), gate=gate
        )
        self.server = WebServer(app, port=0)
        self.url = f"http://127.0.0.1:{self.server.start()}"
        pushes = Pushes(self.observer)
        now = self.observer.clock.now_ns()
        row = {"subject": "BTC/USDT", "price": 100.0}
        batch = Batch("feed", json.dumps(row).encode(), "application/json", None, now)
        pushes.commit(batch, pushes.parse(batch).snapshots)
        self.work()

    def work(self) -> None:
        domain = self.observer.domain("live")
        domain.tick()
        domain.refresh()
        domain.work(refresh=True, flush=True)

    def command(self, name: str, scope: str) -> None:
        operate.command(
            self.observer.journals, self.observer.clock, "live", command=name, scope=scope, author="kim",
            reason="drill",
        )  # fmt: skip
        self.work()

    def records(self) -> int:
        return self.observer.journals.open("gate.live").head().position


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.server.stop()
    made.observer.close()


def test_it_asks_the_gate_and_tells_the_answer(served: Served) -> None:
    gate = Gate(served.url, caller="alpha", timeout=PATIENT)
    answer = gate.may_trade("BTC/USDT")
    assert (answer.allowed, answer.reasons, answer.domain, answer.risk) == (True, (), "live", "calm")
    assert answer.id == "gate.live@2"
    assert answer.valid_until
    assert answer.as_of
    assert code(gate.may_trade("DOGE/USDT")) == "unknown_subject"
    assert code(gate.may_trade("BTC/USDT", "order", {"quantity": 11})) == "max_quantity"
    assert gate.may_trade("BTC/USDT", "order", {"quantity": 10})
    assert code(Gate(served.url, domain="mars", timeout=PATIENT).may_trade("BTC/USDT")) == "client_status"
    gate.close()


def test_the_drill_asks_the_real_gate_with_a_token_where_it_wants_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_MARGIN", PATIENT)
    monkeypatch.setattr(client, "_cases", dict)
    kept = {"name": "drill", "sha256": digest_of(TOKEN).hex(), "scopes": ["read"]}
    served = Served(tmp_path, web={"token": [kept]})
    for token, said in ((TOKEN, "unknown_subject"), (None, "client_unauthenticated")):
        *_, last = drill(served.url, 0.5, token)
        assert (last.passed, code(last.answer)) == (True, said)
    served.server.stop()
    served.observer.close()


def test_the_drill_asks_the_real_gate_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_MARGIN", PATIENT)
    monkeypatch.setattr(client, "_cases", dict)
    *_, last = drill(served.url, 0.5)
    assert last.passed
    assert code(last.answer) == "unknown_subject"


def test_an_allow_is_kept_only_if_asked_for_and_without_a_context(served: Served) -> None:
    plain, keeping = (Gate(served.url, caller="x", timeout=PATIENT, cache=cache) for cache in (False, True))
    before = served.records()
    assert [plain.may_trade("BTC/USDT").cached for _ in range(2)] == [False, False]
    assert [keeping.may_trade("BTC/USDT").cached for _ in range(3)] == [False, True, True]
    assert keeping.may_trade("BTC/USDT", context={}).cached is False
    assert keeping.may_trade("BTC/USDT", "cancel").cached is False
    assert [bool(keeping.may_trade("nobody")) for _ in range(2)] == [False, False]
    # One of them opened the journal's epoch.
    assert served.records() - before == 1 + 2 + 1 + 1 + 1 + 2


def test_a_block_ends_what_is_kept_at_once(served: Served) -> None:
    gate = Gate(served.url, caller="x", timeout=PATIENT, cache=True)
    assert gate.may_trade("BTC/USDT")
    assert gate.may_trade("BTC/USDT").cached
    told: list[Change] = []
    stop, ready = threading.Event(), threading.Event()

    def watch() -> None:
        for change in gate.changes(wait=5.0, stop=stop.is_set):
            told.append(change)
            ready.set()

    served.command("block", "subject:ETH/USDT")  # stands before, so that it is told first
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert ready.wait(20)
    assert gate.may_trade("BTC/USDT").cached is False
    ready.clear()
    served.command("block", "subject:BTC/USDT")
    assert ready.wait(20)
    assert code(gate.may_trade("BTC/USDT")) == "blocked"
    stop.set()
    served.command("release", "subject:BTC/USDT")
    thread.join(20)
    assert not thread.is_alive()
    assert [(change.verdict, change.scope) for change in told] == [
        ("block", "subject:ETH/USDT"), ("block", "subject:BTC/USDT"), ("release", "subject:BTC/USDT"),
    ]  # fmt: skip


def test_a_stream_that_is_lost_is_a_change_and_nothing_is_kept_meanwhile(served: Served) -> None:
    gate = Gate(served.url, caller="x", timeout=PATIENT, cache=True)
    assert gate.may_trade("BTC/USDT")
    port, gate._port = gate._port, 1  # nothing listens there
    stream = gate.changes(wait=0.1)
    gate.close()
    lost = next(stream)
    assert (lost.verdict, lost.scope) == ("lost", "*")
    gate._port = port
    assert [gate.may_trade("BTC/USDT").cached for _ in range(2)] == [False, False]
    served.command("block", "subject:ETH/USDT")
    assert next(stream).verdict == "block"
    assert [gate.may_trade("BTC/USDT").cached for _ in range(2)] == [False, True]


def test_nothing_is_kept_once_nobody_listens_for_changes(served: Served) -> None:
    served.command("block", "subject:ETH/USDT")
    gate = Gate(served.url, caller="x", timeout=PATIENT, cache=True)
    stream = gate.changes(wait=0.1)
    assert next(stream).verdict == "block"
    assert [gate.may_trade("BTC/USDT").cached for _ in range(2)] == [False, True]
    stream.close()  # type: ignore[attr-defined]
    assert [gate.may_trade("BTC/USDT").cached for _ in range(2)] == [False, False]


# ---------------------------------------------------------------------- it fails closed


def test_the_drill_passes_every_case_and_would_fail_for_a_client_that_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_MARGIN", PATIENT)
    cases = list(drill(timeout=0.5))
    assert [case.name for case in cases if not case.passed] == []
    assert len(cases) > 50
    assert sum(case.answer.allowed for case in cases) == 3
    found = {case.name: code(case.answer) for case in cases if case.answer.reasons}
    for turn in ("", ", again"):
        assert found[f"does not know the token{turn}"] == "client_unauthenticated"
        assert found[f"forbids what is asked{turn}"] == "client_forbidden"
        assert found[f"looks into no more tokens{turn}"] == "client_status"
    denies = client._answers(lambda: {"decision": False, "context": client._context()})
    monkeypatch.setattr(client, "_cases", lambda: {"denies": denies})
    monkeypatch.setattr(client.Gate, "_read", lambda *_: (Answer(True), 1.0))
    assert any(not case.passed for case in drill(timeout=0.5))


def server(behave: Callable[[Any, str], None]) -> Any:
    return client._Server(behave)


@pytest.mark.parametrize("cached", [False, True])
def test_an_allow_ends_when_it_is_no_longer_valid(monkeypatch: pytest.MonkeyPatch, cached: bool) -> None:
    now = time.monotonic()
    with server(client._answers(lambda: {"decision": True, "context": client._context(valid=30.0)})) as port:
        gate = Gate(f"http://127.0.0.1:{port}", timeout=PATIENT, cache=cached)
        assert gate.may_trade("a")
        assert gate.may_trade("a").cached is cached
        monkeypatch.setattr(client.time, "monotonic", lambda: now + 40)
        assert gate.may_trade("a").cached is False


def test_an_allow_ends_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(client._answers()) as port:
        gate = Gate(f"http://127.0.0.1:{port}", timeout=PATIENT, cache=True)
        assert [gate.may_trade("a").cached for _ in range(2)] == [False, True]
        awake = time.time() + 3600  # the monotonic clock has stood still
        monkeypatch.setattr(client.time, "time", lambda: awake)
        assert gate.may_trade("a").cached is False


def test_an_allow_that_was_under_way_when_something_changed_is_not_kept() -> None:
    gate: list[Gate] = []
    good = client._answers()

    def behave(connection: Any, asked: str) -> None:
        gate[0].drop()
        good(connection, asked)

    with server(behave) as port:
        gate.append(Gate(f"http://127.0.0.1:{port}", timeout=PATIENT, cache=True))
        assert [gate[0].may_trade("a").cached for _ in range(2)] == [False, False]


def test_clocks_need_not_agree_where_that_is_said() -> None:
    behave = client._answers(lambda: {"decision": True, "context": client._context(ahead=-3600.0)})
    with server(behave) as port:
        url = f"http://127.0.0.1:{port}"
        assert code(Gate(url, timeout=PATIENT).may_trade("a")) == "client_clock_skew"
        assert Gate(url, timeout=PATIENT, max_skew=None).may_trade("a")


def test_an_answer_in_chunks_is_read() -> None:
    def behave(connection: Any, asked: str) -> None:
        data = json.dumps({"decision": True, "context": client._context()}).encode()
        head = client._head("200 OK", client._JSON, "Transfer-Encoding: chunked", asked)
        parts = (data[:10], data[10:], b"")
        connection.sendall(head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts))

    with server(behave) as port:
        gate = Gate(f"http://127.0.0.1:{port}", timeout=PATIENT)
        assert all(gate.may_trade("a") for _ in range(3))


@pytest.mark.parametrize("context", [{"x": object()}, {"x": float("nan")}, 7])
def test_what_cannot_be_asked_is_denied(context: Any) -> None:
    assert code(Gate("http://127.0.0.1:1").may_trade("a", context=context)) == "client_error"


def test_a_subject_that_is_none_is_denied_too() -> None:
    subject: Any = ["a"]
    assert code(Gate("http://127.0.0.1:1").may_trade(subject)) == "client_error"


def test_a_skew_that_is_no_number_is_never_kept() -> None:
    with server(client._answers()) as port:
        gate = Gate(f"http://127.0.0.1:{port}", timeout=PATIENT, max_skew=float("nan"))
        assert code(gate.may_trade("a")) == "client_clock_skew"


def test_a_name_with_many_addresses_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    granted: list[float] = []
    clock = [0.0]

    class Deaf:
        """A socket whose peer never answers: it waits for as long as it may."""

        def __init__(self, *_: int) -> None:
            pass

        def settimeout(self, seconds: float) -> None:
            granted.append(seconds)

        def connect(self, _: Any) -> None:
            clock[0] += granted[-1]
            raise TimeoutError

        def close(self) -> None:
            pass

    address = (client.socket.AF_INET, client.socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))
    monkeypatch.setattr(client.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(client.socket, "getaddrinfo", lambda *_, **__: [address] * 5)
    monkeypatch.setattr(client.socket, "socket", Deaf)
    assert code(Gate("http://gate.example", timeout=0.25).may_trade("a")) == "client_timeout"
    assert sum(granted) == 0.25


def test_the_token_goes_along_and_is_shown_nowhere() -> None:
    seen: list[bytes] = []

    def behave(connection: Any, asked: str) -> None:
        client._answers()(connection, asked)

    class Listening(client._Server):
        def _serve(self, connection: Any) -> None:
            seen.append(connection.recv(65536))
            connection.close()

    with Listening(behave) as port:
        gate = Gate(
            f"http://127.0.0.1:{port}", token="s3cret", headers={"x-functions-key": "k3y"}, caller="a"
        )
        answer = gate.may_trade("a")
    assert b"Authorization: Bearer s3cret\r\n" in seen[0]
    assert b"x-functions-key: k3y\r\n" in seen[0]
    assert repr(gate) == f"Gate('127.0.0.1:{port}', caller='a')"
    assert "s3cret" not in str(answer)


def test_an_observer_that_asks_for_tokens_is_asked_with_one(tmp_path: Path) -> None:
    pushes = {**KEPT, "name": "feed", "sha256": digest_of(TOKEN + "p").hex(), "scopes": ["push"]}
    served = Served(tmp_path, web={"token": [KEPT, pushes]})
    try:

        def asked(token: str | None, caller: str = "alpha") -> Answer:
            return Gate(served.url, token, PATIENT, caller).may_trade("BTC/USDT")

        assert asked(TOKEN)
        for token in (None, "wrong", TOKEN.lower()):
            answer = asked(token)
            assert code(answer) == "client_unauthenticated"
            assert "the token is missing, wrong, or has ended" in answer.reasons[0]["text"]
        assert code(asked(TOKEN, "beta")) == "client_forbidden"
        assert code(asked(TOKEN + "p")) == "client_forbidden"
        served.command("block", "subject:ETH/USDT")
        changes = Gate(served.url, TOKEN, PATIENT).changes(wait=0.1)
        assert next(changes).scope == "subject:ETH/USDT"
        lost = next(Gate(served.url, "wrong", PATIENT).changes(wait=0.1))
        assert (lost.verdict, "401" in lost.reason) == ("lost", True)
    finally:
        served.server.stop()
        served.observer.close()


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Evil: 1", "a\x00", "é", "a\n"])
def test_a_token_that_is_none_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match=r"^token: printable ASCII characters without spaces were expected$"):
        Gate("http://127.0.0.1:1", token)


def test_a_header_that_would_be_two_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match=r"^headers: printable ASCII characters were expected in 'x-key'$"):
        Gate("http://127.0.0.1:1", headers={"x-key": "k\r\nX-Evil: 1"})


@pytest.mark.parametrize(
    ("url", "options", "why"),
    [
        ("127.0.0.1:8000", {}, "an address like"),
        ("ftp://x", {}, "an address like"),
        ("http://example.com", {"token": "t"}, "in the clear; use https"),
        ("http://example.com", {"headers": {"x-functions-key": "k"}}, "in the clear; use https"),
        ("http://x", {"timeout": 0}, "more than 0 seconds"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(url: str, options: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Gate(url, **options)


# ---------------------------------------------------------------------- alone


def test_it_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    source = Path(client.__file__)
    names = {
        name.name.partition(".")[0]
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    assert names <= sys.stdlib_module_names
    shutil.copy(source, tmp_path / "gate_client.py")
    code = "import gate_client; print(bool(gate_client.Gate('http://127.0.0.1:1').may_trade('a')))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_the_command_prints_each_case_and_says_how_to_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = client.Drilled("says nothing", client._denial("client_timeout", "no answer"), 0.25, passed=True)
    asked: list[str | None] = []
    monkeypatch.setattr(client, "drill", lambda url: asked.append(url) or iter([case]))
    assert client.main(["drill", "http://127.0.0.1:1"]) == 0
    assert asked == ["http://127.0.0.1:1"]
    assert capsys.readouterr().out == (
        "pass     250 ms  says nothing: deny (client_timeout)\n1 of 1 cases passed\n"
    )
    assert client.main([]) == 2
    assert "usage: python -m observer_core.client drill [URL]" in capsys.readouterr().err


def test_the_command_fails_when_a_case_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = client.Drilled("says nothing", Answer(True), 0.001, passed=False)
    monkeypatch.setattr(client, "drill", lambda url: iter([case]))
    assert client.main(["drill"]) == 1
    out = capsys.readouterr().out
    assert "FAIL       1 ms  says nothing: allow\n" in out
    assert "0 of 1 cases passed: it does NOT fail closed" in out
