"""Subscriptions of the configuration: which sinks they get, which domains, and their threads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from observer_core.automation.delivery import Deliverer
from observer_core.automation.sinks.file import FileSink
from observer_core.automation.sinks.log import LogSink
from observer_core.automation.sinks.queue import QueueSink
from observer_core.automation.sinks.webhook import WebhookSink
from observer_core.runtime import operate
from observer_core.runtime.deliveries import Deliveries, deliverer
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import ManualClock
from observer_core.shared.errors import InputError, StorageUnavailable
from observer_core.shared.records import DeliveryResult, Route
from observer_core.storage.memory import MemoryStorage
from tests.support.instances import START_NS, Instances
from tests.support.market import eventually, observer, recording, take
from tests.support.receiver import receiving

FILE = {"kind": "file", "path": "out/blocks.ndjson"}


def subscription(name: str, sink: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "start": "beginning", "stream": "decisions", "sink": sink, **more}


def observed(folder: Path, *subscriptions: dict[str, Any]) -> Observer:
    return observer(folder, subscription=list(subscriptions))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(
    ("sink", "kind"),
    [
        ({"kind": "log"}, LogSink),
        (FILE, FileSink),
        ({"kind": "queue", "queue": "blocks"}, QueueSink),
        ({"kind": "webhook", "url": "https://h.example/x", "secret": "hunter2"}, WebhookSink),
    ],
)
def test_each_kind_of_sink_is_made_of_its_configuration(
    tmp_path: Path, sink: dict[str, Any], kind: type
) -> None:
    made = deliverer(observed(tmp_path, subscription("s", sink)), "s", "live")
    assert type(made._sink) is kind
    assert made._sink.name == made.name == "s"


def test_an_unknown_subscription_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="domain live has no subscription 'nix'; there are: s"):
        deliverer(observed(tmp_path, subscription("s", FILE)), "nix", "live")
    with pytest.raises(InputError, match="domain live has no subscription 'nix'; there are: none"):
        deliverer(observed(tmp_path), "nix", "live")


def test_a_recording_pages_nobody_unless_its_domain_is_named(tmp_path: Path) -> None:
    it = observed(
        tmp_path, subscription("ops", {"kind": "file", "path": "ops"}, verdicts=["block"]),
        subscription("desk", FILE, domains=["live", "desk"], verdicts=["block"]),
    )  # fmt: skip
    take(it, recording(tmp_path / "desk.csv"))
    sending = Deliveries(it, ["desk", "live"])
    sending.start()
    try:
        eventually(lambda: len(lines(tmp_path / FILE["path"])) == 2)
    finally:
        sending.stop()
    assert [line["type"] for line in lines(tmp_path / FILE["path"])] == ["io.qts.observer.decision.block"] * 2
    assert lines(tmp_path / "ops") == []
    assert it.journals.names("results") == ["results.desk-desk", "results.live-desk", "results.live-ops"]


def test_only_domains_that_run_are_served(tmp_path: Path) -> None:
    it = observed(tmp_path, subscription("s", FILE, domains=["live", "elsewhere"]))
    Deliveries(it, ["live"])
    assert it.journals.names("results") == ["results.live-s"]


def test_what_is_new_is_delivered_when_it_wakes_and_nothing_after_it_stopped(tmp_path: Path) -> None:
    it = observed(tmp_path, subscription("s", FILE, domains=["desk"]))
    take(it, recording(tmp_path / "desk.csv", range(100)))
    sending = Deliveries(it, ["desk"])
    sending.start()
    eventually(lambda: lines(tmp_path / FILE["path"]))
    eventually(lambda: deliverer(it, "s", "desk").lag() == 0)
    before = len(lines(tmp_path / FILE["path"]))
    take(it, recording(tmp_path / "desk.csv"))
    sending.wake()
    eventually(lambda: len(lines(tmp_path / FILE["path"])) > before)
    eventually(lambda: deliverer(it, "s", "desk").lag() == 0)
    sending.stop()
    after = len(lines(tmp_path / FILE["path"]))
    take(it, recording(tmp_path / "desk.csv", range(300)))
    sending.wake()
    assert deliverer(it, "s", "desk").lag() > 0
    assert len(lines(tmp_path / FILE["path"])) == after


@pytest.mark.parametrize("error", [StorageUnavailable("down"), ZeroDivisionError("a defect of a sink")])
def test_one_that_fails_goes_on_and_disturbs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    it = observed(
        tmp_path, subscription("bad", {"kind": "file", "path": "bad"}, domains=["desk"]),
        subscription("good", FILE, domains=["desk"]),
    )  # fmt: skip
    take(it, recording(tmp_path / "desk.csv"))
    failing = [True]
    failed: list[str] = []
    pump = Deliverer.pump

    def pumping(self: Deliverer) -> int:
        if self.name == "bad" and failing[0]:
            failed.append(self.name)
            raise error
        return pump(self)

    monkeypatch.setattr(Deliverer, "pump", pumping)
    sending = Deliveries(it, ["desk"])
    sending.start()
    try:
        eventually(lambda: lines(tmp_path / FILE["path"]))
        eventually(lambda: failed)
        assert lines(tmp_path / "bad") == []
        failing[0] = False
        sending.wake()
        eventually(lambda: len(lines(tmp_path / "bad")) == len(lines(tmp_path / FILE["path"])) > 0)
    finally:
        sending.stop()


# ---------------------------------------------------------------------- what is routed


def ask(it: Observer, kind: str, **body: Any) -> None:
    body = {"author": "kim", "reason": "test", **body}
    operate.ask(it.journals, "desk", kind, body, it.journals.open("events.desk").head().time_ns)
    it.domain("desk").route(refresh=True)


def test_a_silence_keeps_records_from_subscribers_and_says_so(tmp_path: Path) -> None:
    it = observed(
        tmp_path, subscription("ops", FILE, domains=["desk"]),
        subscription("audit", {"kind": "file", "path": "audit"}, domains=["desk"], always=True),
    )  # fmt: skip
    take(it, recording(tmp_path / "desk.csv", range(100)))
    end_ns = it.journals.open("events.desk").head().time_ns + 10**15
    ask(it, "silence", action="add", match={}, start_ns=0, end_ns=end_ns)
    before = len(stopped(it))
    take(it, recording(tmp_path / "desk.csv"))
    for name in ("ops", "audit"):
        deliverer(it, name, "desk").pump()
    kept = [by for by in stopped(it)[before:] if by.startswith("silence:")]
    assert len(lines(tmp_path / "audit")) - len(lines(tmp_path / FILE["path"])) == len(kept) > 0


def stopped(it: Observer) -> list[str]:
    records = [entry.record for entry in it.journals.open("routes.desk").scan()]
    return [by for record in records if isinstance(record, Route) for by in record.stopped]


def test_one_that_is_added_later_begins_where_it_was_told_to(tmp_path: Path) -> None:
    it = observed(tmp_path, subscription("ops", FILE, domains=["desk"]))
    take(it, recording(tmp_path / "desk.csv", range(100)))
    old = len(list(it.journals.open("decisions.desk").scan()))
    for name, start in (("all", "beginning"), ("new", "now")):
        config = subscription(name, {"kind": "file", "path": name}, domains=["desk"], start=start)
        ask(it, "subscription", action="add", config=config)
        deliverer(it, name, "desk").lag()
    take(it, recording(tmp_path / "desk.csv"))
    for name in ("ops", "all", "new"):
        sender = deliverer(it, name, "desk")
        sender.pump()
        assert sender.lag() == 0
    everything = [line["id"] for line in lines(tmp_path / FILE["path"])]
    assert [line["id"] for line in lines(tmp_path / "all")] == everything
    new = [line["id"] for line in lines(tmp_path / "new")]
    assert new == everything[-len(new) :]
    assert 0 < len(new) < len(everything)
    assert old > 0


def test_one_that_is_paused_is_given_afterwards_what_has_waited(tmp_path: Path) -> None:
    it = observed(tmp_path, subscription("ops", FILE, domains=["desk"]))
    take(it, recording(tmp_path / "desk.csv", range(100)))
    ask(it, "subscription", action="pause", name="ops")
    take(it, recording(tmp_path / "desk.csv"))
    assert deliverer(it, "ops", "desk").pump() == 0
    ask(it, "subscription", action="resume", name="ops")
    assert deliverer(it, "ops", "desk").pump() > 0


def test_a_group_is_one_message_that_names_its_records(tmp_path: Path) -> None:
    one = subscription("ops", FILE, domains=["desk"], stream="events")
    it = observer(tmp_path, subscription=[one], route={"to": ["ops"], "group_by": ["source"]})
    take(it, recording(tmp_path / "desk.csv"))
    deliverer(it, "ops", "desk").pump()
    told = lines(tmp_path / FILE["path"])
    assert {line["type"] for line in told} == {"io.qts.observer.notification"}
    assert told[0]["data"]["group"] == {"source": "desk"}
    records = [record for line in told for record in line["data"]["records"]]
    assert sum(line["data"]["count"] for line in told) == len(records) > 1
    assert records[0]["type"].startswith("io.qts.observer.")
    assert all(result.outcome == "delivered" for result in results(it))


def results(it: Observer) -> list[DeliveryResult]:
    found = [entry.record for entry in it.journals.open("results.desk-ops").scan()]
    return [record for record in found if isinstance(record, DeliveryResult)]


def test_the_threads_take_up_what_an_operator_adds_and_let_go_of_what_he_removes(tmp_path: Path) -> None:
    it = observed(tmp_path, subscription("ops", FILE, domains=["desk"]))
    take(it, recording(tmp_path / "desk.csv"))
    sending = Deliveries(it, ["desk"])
    sending.start()
    try:
        config = subscription("late", {"kind": "file", "path": "late"}, domains=["desk"])
        ask(it, "subscription", action="add", config=config)
        sending.look()
        eventually(lambda: lines(tmp_path / "late"))
        ask(it, "subscription", action="remove", name="late")
        sending.look()
        assert [name for _, name in sending._threads] == ["ops"]
    finally:
        sending.stop()


def test_a_sink_that_hangs_delays_neither_another_nor_the_stages(tmp_path: Path) -> None:
    """The first record still hangs at the one when the other has all of them, and the stages are done."""
    with receiving() as server:
        hanging = {"kind": "webhook", "url": server.url + "/silent", "timeout": "4s", "allow_private": True}
        it = observed(
            tmp_path, subscription("slow", hanging, domains=["desk"]),
            subscription("ops", FILE, domains=["desk"]),
        )  # fmt: skip
        sending = Deliveries(it, ["desk"])
        sending.start()
        try:
            take(it, recording(tmp_path / "desk.csv"))
            sending.wake()
            eventually(lambda: server.requests)
            eventually(lambda: deliverer(it, "ops", "desk").lag() == 0)
            assert len(server.requests) == 1
            assert it.journals.names("results", "desk") == ["results.desk-ops", "results.desk-slow"]
            outcomes = [entry.record for entry in it.journals.open("results.desk-slow").scan()]
            assert not any(isinstance(record, DeliveryResult) for record in outcomes)
        finally:
            server.released.set()
            sending.stop()


# ---------------------------------------------------------------------- in the Functions app


def test_what_operators_change_reaches_an_instance_that_has_delivered_before(tmp_path: Path) -> None:
    """Added, delivered, removed, added anew with another sink, removed for good."""
    app = Instances(tmp_path, MemoryStorage(ManualClock(START_NS)))
    (handlers,) = app.handlers

    def act(**body: Any) -> None:
        body = {"author": "kim", "reason": "test", **body}
        operate.ask(handlers.observer.journals, "live", "subscription", body, START_NS)
        app.handlers[0].route(b'{"domain": "live"}')

    def add(path: str) -> None:
        config = subscription("late", {"kind": "file", "path": path})
        act(action="add", config=config)

    def observe(seconds: range) -> None:
        for second in seconds:
            app.collect("alpha", second)
        app.storage.queues.send(handlers.queue("recognise"), b'{"source": "alpha"}')
        app.drain()

    observe(range(80))
    add("first")
    app.handlers[0].deliver(b'{"domain": "live", "subscription": "late"}')
    before = len(lines(tmp_path / "first"))
    assert before > 0
    act(action="remove", name="late")
    add("second")
    observe(range(80, 160))
    assert len(lines(tmp_path / "first")) == before
    assert lines(tmp_path / "second")
    act(action="remove", name="late")
    app.restart(0)
    app.handlers[0].deliver(b'{"domain": "live", "subscription": "late"}')  # a late hint is no poison
