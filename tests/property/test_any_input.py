"""Whatever comes, by whatever mapping: a snapshot that can be recorded, or an error that says why not."""

from __future__ import annotations

import json
from typing import Any

import jmespath
from hypothesis import given
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from observer_core.runtime.collector import SnapshotWriter
from observer_core.safety.outbound import Answer
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import InputError
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.normalise import Normaliser
from observer_core.snapshot_engine.source import Collection, collect_safely
from observer_core.snapshot_engine.sources.http_api import HttpApiConfig, HttpApiSource
from observer_core.snapshot_engine.sources.push import CONTENT_TYPES, parse_push
from observer_core.storage.epochs import Build
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify

NOW = 1_700_000_000 * SECOND
keys = st.sampled_from(
    ["data", "ts", "time", "subject", "subjects", "fields", "values", "last", "a.b", "*", ""]
)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["1.5", "1e999", "NaN", "0.12345678901234567890", "BTC/USDT", "2024-01-01T00:00:00"])
)  # fmt: skip
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=25,
)
names = st.sampled_from(["data", "ts", "subject", "last", '"a.b"', "@", "*"])
paths = st.recursive(
    names,
    lambda inner: st.one_of(
        st.tuples(inner, names).map(".".join),
        inner.map(lambda path: f"{path}[]"),
        inner.map(lambda path: f"{path}[*]"),
        inner.map(lambda path: f"{path}[0]"),
        inner.map(lambda path: f"{path}[?last]"),
        inner.map(lambda path: f"values({path})"),
        inner.map(lambda path: f"to_number({path})"),
        inner.map(lambda path: f"sum({path})"),
        st.tuples(inner, inner).map(" || ".join),
        st.tuples(inner, inner).map(lambda pair: f"[{pair[0]}, {pair[1]}]"),
    ),
    max_leaves=4,
).filter(lambda path: _is_path(path))


def _is_path(path: str) -> bool:
    try:
        jmespath.compile(path)
    except JMESPathError:
        return False
    return True


class Answered(HttpApiSource):
    """A source whose answer is given."""

    def __init__(self, config: HttpApiConfig, body: bytes) -> None:
        super().__init__("any", config, str)
        self._body = body

    def collect(self, now_ns: int) -> Snapshot:
        return self._snapshot(Answer(200, {}, self._body), now_ns)


@given(documents, paths, paths, paths, st.none() | paths)
def test_any_json_by_any_mapping_is_recorded_as_a_snapshot_or_as_unavailable(
    document: Any, rows: str, subject: str, field: str, time: str | None
) -> None:
    config = HttpApiConfig(
        url="https://api.example/x", rows=rows, subject=subject, fields={"last": field}, time=time, zone="UTC"
    )
    storage = MemoryStorage()
    journals = Journals(storage, worker="w")
    writer = SnapshotWriter(journals, "any", "live", Normaliser(), Build("1", "l"), {})
    for turn in range(2):
        collected = collect_safely(Answered(config, json.dumps(document).encode()), NOW + turn)
        (recorded,) = writer.record(Collection("any", NOW + turn, collected, {}))
        assert (recorded.error is None) == (recorded.status == "ok")
        assert recorded.subjects or recorded.status == "unavailable"
    assert verify(journals.open("snapshots.any")).fault is None


@given(
    documents | st.lists(documents, max_size=4), st.sampled_from(CONTENT_TYPES), st.none() | st.just("UTC")
)
def test_any_json_that_is_pushed_gives_snapshots_and_named_rows_or_an_error(
    document: Any, content_type: str, zone: str | None
) -> None:
    _check_push(json.dumps(document).encode(), content_type, zone)


@given(st.binary(max_size=60), st.sampled_from(CONTENT_TYPES))
def test_any_bytes_that_are_pushed_do_too(body: bytes, content_type: str) -> None:
    _check_push(body, content_type, None)


def _check_push(body: bytes, content_type: str, zone: str | None) -> None:
    try:
        pushed = parse_push("any", body, content_type, NOW, zone)
    except InputError:
        return
    assert pushed.snapshots
    assert all(row > 0 and why for row, why in pushed.rejected)
    normaliser = Normaliser()
    state = normaliser.initial()
    for snapshot in pushed.snapshots:
        assert normaliser.apply(state, snapshot).encode(1)
