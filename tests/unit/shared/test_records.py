"""Record bytes: golden vectors, what is refused, and that reading gives back what was written."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from observer_core.shared.errors import RecordError
from observer_core.shared.records import (
    AnyRecord,
    Decision,
    DeliveryResult,
    Event,
    Note,
    PatternRecord,
    Snapshot,
    SnapshotDecoder,
    decode_record,
    worst,
)

SNAPSHOT = Snapshot(
    source="binance", event_ns=1522886400000000000, ingest_ns=1522886460000000000,
    subjects=("BTC/USDT", "원/달러"),
    fields={"volume": np.array([np.nan, -0.0]), "price": np.array([6778.01, 0.1])},
    quality={"BTC/USDT": ("gap", "clock_skew")}, origin={"load": "ab", "rows": [3, 4]},
)  # fmt: skip
PATTERN = PatternRecord(
    id="p1", pattern="spike", series=(("binance", "BTC/USDT", "price"),), score=0.75, severity="warning",
    direction="up", tags=("major",), detector="ewma_spike/1", evidence={"value": 1e21, "window": 50},
    snapshot="snapshots.binance@7", event_ns=1, time_ns=2, cadence_ns=60,
)  # fmt: skip
EVENT = Event(
    id="e1", source="/qts/observer/live/binance", type="io.qts.observer.pattern.spike", subject="BTC/USDT",
    time_ns=1522886460123456789, data={"score": 0.75}, partitionkey="binance/BTC/USDT",
    sequence="00000000000000000001", causationid="patterns.binance@2", correlationid="",
    severitytext="warning",
)  # fmt: skip
DECISION = Decision(
    id="d1", verdict="block", scope="subject:BTC/USDT", policy="halt", policy_version=2,
    reasons=({"code": "matched", "score": 0.75},), time_ns=5, causation=("events.live@1",), until_ns=None,
)  # fmt: skip
DELIVERY = DeliveryResult(
    subscription="desk",
    record="e1",
    ref="events.live@1",
    attempt=1,
    outcome="delivered",
    time_ns=9,
    latency_ns=3,
)
NOTE = Note(kind="tick", time_ns=7, body={"by": "timer"})

VECTORS: dict[str, tuple[AnyRecord, bytes]] = {
    "snapshot": (SNAPSHOT, (
        '{"epoch":3,"event_ns":1522886400000000000,"fields":{"price":[6778.01,0.1],"volume":[null,-0.0]},'
        '"ingest_ns":1522886460000000000,"kind":"snapshot","origin":{"load":"ab","rows":[3,4]},'
        '"quality":{"BTC/USDT":["gap","clock_skew"]},"source":"binance","status":"ok",'
        '"subjects":["BTC/USDT","원/달러"]}').encode()),
    "pattern": (PATTERN, (
        b'{"cadence_ns":60,"detector":"ewma_spike/1","direction":"up","epoch":3,"event_ns":1,'
        b'"evidence":{"value":1e+21,"window":50},"id":"p1","kind":"pattern","pattern":"spike","score":0.75,'
        b'"series":[["binance","BTC/USDT","price"]],"severity":"warning","snapshot":"snapshots.binance@7",'
        b'"tags":["major"],"time_ns":2}')),
    "event": (EVENT, (
        b'{"causationid":"patterns.binance@2","correlationid":"","data":{"score":0.75},'
        b'"datacontenttype":"application/json","epoch":3,"id":"e1","partitionkey":"binance/BTC/USDT",'
        b'"sequence":"00000000000000000001","severitytext":"warning","source":"/qts/observer/live/binance",'
        b'"specversion":"1.0","subject":"BTC/USDT","time":"2018-04-05T00:01:00.123456789Z",'
        b'"type":"io.qts.observer.pattern.spike"}')),
    "decision": (DECISION, (
        b'{"causation":["events.live@1"],"epoch":3,"evidence":{},"id":"d1","kind":"decision","policy":"halt",'
        b'"policy_version":2,"reasons":[{"code":"matched","score":0.75}],"scope":"subject:BTC/USDT",'
        b'"severity":"info","time_ns":5,"until_ns":null,"verdict":"block"}')),
    "delivery": (DELIVERY, (
        b'{"attempt":1,"code":null,"detail":null,"epoch":3,"kind":"delivery","latency_ns":3,'
        b'"outcome":"delivered","record":"e1","ref":"events.live@1","replay":false,"subscription":"desk",'
        b'"time_ns":9}')),
    "note": (NOTE, b'{"body":{"by":"timer"},"epoch":3,"kind":"tick","time_ns":7}'),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_a_record_has_exactly_these_bytes(name: str) -> None:
    record, expected = VECTORS[name]
    assert record.encode(3) == expected


@pytest.mark.parametrize("name", VECTORS)
def test_reading_gives_what_writes_the_same_bytes(name: str) -> None:
    record, expected = VECTORS[name]
    found = decode_record(expected)
    assert type(found) is type(record)
    assert found.epoch == 3
    assert found.time_ns == record.time_ns
    assert found.encode(3) == expected


def test_a_chain_over_the_vectors_has_this_hash() -> None:
    digest = bytes(32)
    for _, data in VECTORS.values():
        digest = hashlib.sha256(digest + data).digest()
    assert digest.hex() == "cbb856f888b8bbe2419d0e22e1c415bfe6c09eb9f003c03680181248187e6ea2"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_finite_number_is_refused_and_named(value: float) -> None:
    note = Note(kind="tick", time_ns=1, body={"a": [1.0, {"b": value}], "c": None})
    with pytest.raises(RecordError, match=r"\$\.body\.a\[1\]\.b is (nan|-?inf); a finite number or null"):
        note.encode(1)


def test_an_infinity_in_a_column_is_refused_and_named() -> None:
    snapshot = Snapshot(
        source="s", event_ns=1, ingest_ns=1, subjects=("a",), fields={"p": np.array([np.inf])}
    )
    with pytest.raises(RecordError, match="field 'p' holds an infinity"):
        snapshot.encode(1)


def test_a_column_of_another_length_is_refused() -> None:
    snapshot = Snapshot(source="s", event_ns=1, ingest_ns=1, subjects=("a", "b"), fields={"p": np.zeros(1)})
    with pytest.raises(RecordError, match=r"field 'p' has shape \(1,\), expected \(2,\)"):
        snapshot.encode(1)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"kind":"nothing"}', b'{"kind":"snapshot"}', b"\xff", b"{"]
)
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(RecordError, match="expected"):
        decode_record(data)


def test_the_fast_decoder_reads_what_the_plain_one_reads() -> None:
    decoder = SnapshotDecoder()
    names = tuple(f'S{n}","source":"x' for n in range(12))
    other = tuple(f"T{n}" for n in range(12))
    for step, subjects in enumerate([names, names, other, names, names[:11], other, other]):
        snapshot = Snapshot(
            source="x" if step != 4 else "y", event_ns=step, ingest_ns=step, subjects=subjects,
            fields={"p": np.arange(len(subjects), dtype=float)}, status="ok" if step < 5 else "partial",
        )  # fmt: skip
        data = snapshot.encode(1)
        assert decoder(data).encode(1) == data
    note = NOTE.encode(1)
    assert decoder(note).encode(1) == note


def test_the_worst_severity_counts() -> None:
    assert worst(["info", "critical", "warning"]) == "critical"
