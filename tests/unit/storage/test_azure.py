"""What only Azure has: blocks and positions, answers that get lost, pages, and a bill."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient

from observer_core.shared.errors import (
    Conflict,
    LimitExceeded,
    SegmentFull,
    StorageFull,
    StorageUnavailable,
)
from observer_core.storage.azure import AzureStorage
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import ROW_BYTES, Op, Storage
from observer_core.storage.verify import verify
from tests.support import market
from tests.support.toys import note, worker_name
from tests.support.wires import FaultyWire, answered, lost_answer, never_sent, service

Opening = Callable[..., AzureStorage]
NAME = "snapshots/source=x/date=2018-04-05/00.ndjson"


@pytest.fixture
def wire() -> FaultyWire:
    return FaultyWire()


@pytest.fixture
def faulty(azure_storage: Opening, wire: FaultyWire) -> AzureStorage:
    return azure_storage(transport=wire, retries=1)


def journal(storage: Storage) -> Journal:
    return Journals(storage, worker=worker_name()).open("commands.x", "d")


def add(to: Journal, number: int) -> None:
    to.commit(to.head(), Commit(records=[note(number, n=number)]))


def numbers(storage: Storage) -> list[int]:
    return [entry.record.body["n"] for entry in journal(storage).scan()]  # type: ignore[union-attr]


def asked(storage: AzureStorage, act: Callable[[], object]) -> dict[str, int]:
    """The operations that `act` costs."""
    before = storage.operations.counts()
    act()
    return dict(storage.operations.counts() - before)


# ---------------------------------------------------------------------- segments


def test_a_segment_is_full_before_the_service_says_so(azure_storage: Opening) -> None:
    storage = azure_storage(blocks_per_segment=3)
    assert [storage.segments.append(NAME, b"x\n") for _ in range(3)] == [0, 2, 4]
    with pytest.raises(SegmentFull, match="3 blocks"):
        storage.segments.append(NAME, b"x\n")
    # Who has not appended yet learns it by its first append.
    other = azure_storage(blocks_per_segment=3)
    assert other.segments.append(NAME, b"x\n") == 6
    with pytest.raises(SegmentFull):
        other.segments.append(NAME, b"x\n")


def test_a_journal_goes_on_in_the_next_segment(azure_storage: Opening) -> None:
    storage = azure_storage(blocks_per_segment=2)
    commands = journal(storage)
    for number in range(5):
        add(commands, number)
    names = [name.rpartition("/")[2] for name in storage.segments.list("commands/")]
    assert names == ["00.ndjson", "00~1.ndjson", "00~2.ndjson"]
    assert numbers(storage) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("code", ["BlockCountExceedsLimit", "MaxBlobSizeConditionNotMet"])
def test_a_segment_that_the_service_calls_full_is_full(
    faulty: AzureStorage, wire: FaultyWire, code: str
) -> None:
    faulty.segments.append(NAME, b"x\n")
    wire.arm("comp=appendblock", answered(409, code))
    with pytest.raises(SegmentFull, match="no more appends"):
        faulty.segments.append(NAME, b"x\n")


def test_writers_in_turns_get_ranges_of_their_own_and_soon_one_operation_each(azure_storage: Opening) -> None:
    one, two = azure_storage(), azure_storage()
    for turn in range(3):
        for storage in (one, two):
            data = b"%d %d\n" % (turn, id(storage))
            offset = storage.segments.append(NAME, data)
            assert one.segments.read(NAME, offset, len(data)) == data
    for storage in (one, two):
        assert asked(storage, lambda at=storage: at.segments.append(NAME, b"x\n")) == {"blob.append": 1}


def test_an_append_whose_answer_was_lost_stands_there_once(faulty: AzureStorage, wire: FaultyWire) -> None:
    faulty.segments.append(NAME, b"one\n")
    wire.arm("comp=appendblock", lost_answer)
    assert faulty.segments.append(NAME, b"two\n") == 4
    assert faulty.segments.append(NAME, b"three\n") == 8
    assert faulty.segments.read(NAME, 0, 14) == b"one\ntwo\nthree\n"


def test_a_segment_begins_with_whoever_comes_first(azure_storage: Opening) -> None:
    one, two = azure_storage(), azure_storage()
    assert one.segments.append(NAME, b"one\n") == 0
    one.segments.delete(NAME)
    assert two.segments.append(NAME, b"two\n") == 0
    assert one.segments.append(NAME, b"three\n") == 4
    assert one.segments.read(NAME, 0, 10) == b"two\nthree\n"


def test_what_others_keep_in_the_account_is_not_a_segment(azure: AzureStorage, azurite: str) -> None:
    azure.segments.append(NAME, b"x\n")
    azure.blobs.put("a/b", b"1")
    with BlobServiceClient.from_connection_string(azurite, api_version="2024-11-04") as account:
        theirs = account.create_container(f"{azure.prefix}-webjobs-hosts")
        theirs.upload_blob("locks/host", b"")
    assert list(azure.segments.list()) == [NAME]


def test_a_kind_that_no_container_can_have_is_refused(azure: AzureStorage) -> None:
    with pytest.raises(LimitExceeded, match=r"container .*dead_letters.* is not possible"):
        azure.segments.append("dead_letters/x.ndjson", b"x\n")


# ---------------------------------------------------------------------- tables


def test_a_large_value_is_split_over_properties_and_joined_again(azure: AzureStorage) -> None:
    value = bytes(number % 251 for number in range(ROW_BYTES))
    azure.tables.commit("p", [Op("insert", "k", value), Op("insert", "empty")])
    entity = azure.tables._table.get_entity("p", "k")
    assert {len(part) for name, part in entity.items() if name.startswith("v")} == {61_440, 30_720}
    (empty, row) = azure.tables.query("p", "", "~")
    assert (row.value, empty.value) == (value, b"")
    azure.tables.commit("p", [Op("upsert", "k", b"short")])
    assert azure.tables.query("p", "k", "l")[0].value == b"short"


def test_a_query_follows_the_pages_of_the_service(azure: AzureStorage) -> None:
    for start in range(0, 1100, 100):
        azure.tables.commit("p", [Op("insert", f"{n:05d}", b"%d" % n) for n in range(start, start + 100)])
    rows = azure.tables.query("p", "", "~")
    assert [int(row.value) for row in rows] == list(range(1100))
    assert asked(azure, lambda: azure.tables.query("p", "", "~", 1000)) == {"table.query": 1}
    assert len(azure.tables.query("p", "00500", "~", 550)) == 550


def test_rows_that_are_gone_already_do_not_keep_others_from_being_deleted(azure: AzureStorage) -> None:
    azure.tables.commit("p", [Op("insert", key, b"1") for key in "ace"])
    etags = azure.tables.commit("p", [*(Op("delete", key) for key in "abcde"), Op("insert", "f", b"1")])
    assert [row.key for row in azure.tables.query("p", "", "~")] == ["f"]
    assert [bool(etag) for etag in etags] == [False] * 5 + [True]


# ---------------------------------------------------------------------- answers that are lost


def test_a_commit_whose_answer_was_lost_is_known_by_its_id(faulty: AzureStorage, wire: FaultyWire) -> None:
    commands = journal(faulty)
    add(commands, 1)
    wire.arm("$batch", lost_answer)
    add(commands, 2)
    add(commands, 3)
    assert numbers(faulty) == [1, 2, 3]
    assert (verify(commands).records, verify(commands).fault) == (3, None)


def test_a_commit_that_was_asked_for_twice_is_no_conflict_with_itself(
    faulty: AzureStorage, wire: FaultyWire
) -> None:
    commands = journal(faulty)
    add(commands, 1)
    before = len(wire.sent)
    wire.arm("$batch", answered(500, "OperationTimedOut"))
    add(commands, 2)
    assert sum("$batch" in sent for sent in wire.sent[before:]) == 2
    assert numbers(faulty) == [1, 2]


def test_a_conflict_after_a_second_attempt_is_called_unknown(faulty: AzureStorage, wire: FaultyWire) -> None:
    faulty.tables.commit("p", [Op("insert", "k", b"1")])
    wire.arm("$batch", answered(503, "ServerBusy"))
    with pytest.raises(StorageUnavailable, match="answered 503, and when asked again .*'new'"):
        faulty.tables.commit("p", [Op("insert", "new", b"1")])
    with pytest.raises(Conflict):
        faulty.tables.commit("p", [Op("insert", "new", b"1")])


def test_a_commit_that_never_arrived_has_not_happened(faulty: AzureStorage, wire: FaultyWire) -> None:
    commands = journal(faulty)
    add(commands, 1)
    wire.arm("$batch", never_sent)
    with pytest.raises(StorageUnavailable, match="no answer"):
        add(commands, 2)
    assert numbers(faulty) == [1]
    add(commands, 3)
    assert numbers(faulty) == [1, 3]


# ---------------------------------------------------------------------- a service that does not serve


def everything(storage: Storage) -> Iterator[Callable[[], object]]:
    yield lambda: storage.segments.append(NAME, b"x")
    yield lambda: storage.segments.read(NAME, 0, 1)
    yield lambda: storage.segments.size(NAME)
    yield lambda: storage.segments.list("snapshots/")
    yield lambda: storage.segments.delete(NAME)
    yield lambda: storage.blobs.put("b", b"x")
    yield lambda: storage.blobs.get("b")
    yield lambda: storage.blobs.list()
    yield lambda: storage.blobs.delete("b")
    yield lambda: storage.tables.get("p", "k")
    yield lambda: storage.tables.query("p", "", "~")
    yield lambda: storage.tables.commit("p", [Op("delete", "k")])
    yield lambda: storage.queues.send("hints", b"x")
    yield lambda: storage.queues.receive("hints")
    yield lambda: storage.queues.length("hints")


def at(url: str, **options: Any) -> AzureStorage:
    key = base64.b64encode(b"key").decode()
    endpoints = "".join(f"{name}Endpoint={url};" for name in ("Blob", "Queue", "Table"))
    values = {"AzureWebJobsStorage": f"AccountName=acc;AccountKey={key};{endpoints}"}
    return AzureStorage.connect(values, **options)


@pytest.mark.parametrize(
    ("status", "code", "error", "why"),
    [
        (503, "ServerBusy", StorageUnavailable, "answered 503 ServerBusy"),
        (500, "InternalError", StorageUnavailable, "answered 500 InternalError"),
        (403, "AuthorizationFailure", StorageUnavailable, "403 AuthorizationFailure; .* Storage Blob Data"),
        (409, "ContainerBeingDeleted", StorageUnavailable, "409 ContainerBeingDeleted"),
        (413, "RequestBodyTooLarge", LimitExceeded, "answered 413"),
        (507, "InsufficientStorage", StorageFull, "answered 507"),
    ],
)
def test_what_the_service_refuses_is_an_error_of_the_storage(
    status: int, code: str, error: type[Exception], why: str
) -> None:
    with service(status, code) as url:
        storage = at(url, retries=0)
        for ask in everything(storage):
            with pytest.raises(error, match=why):
                ask()
        assert storage.operations.counts().total() == 15


def test_a_service_that_is_silent_or_gone_is_unavailable(wire: FaultyWire) -> None:
    with service(None) as url:
        impatient = RequestsTransport(connection_timeout=1, read_timeout=0.05)
        for ask in everything(at(url, retries=0, transport=impatient)):
            with pytest.raises(StorageUnavailable, match=r"no answer from 127.0.0.1:\d+ \(ReadTimeout\)"):
                ask()
    for ask in everything(at(url, retries=0)):
        with pytest.raises(StorageUnavailable, match=r"no answer from 127.0.0.1:\d+ "):
            ask()


def test_the_sdk_tries_again_and_each_attempt_is_counted(faulty: AzureStorage, wire: FaultyWire) -> None:
    faulty.blobs.put("b", b"1")

    def refused(send: object) -> None:
        raise ServiceRequestError("refused")

    wire.arm("", refused)
    assert asked(faulty, lambda: faulty.blobs.get("b")) == {"blob.read": 2}


# ---------------------------------------------------------------------- queues


def test_messages_are_base64_as_the_functions_host_expects(azure: AzureStorage, azurite: str) -> None:
    azure.queues.send("hints", '{"journal":"é"}'.encode())
    with QueueClient.from_connection_string(
        azurite, f"{azure.prefix}-hints", api_version="2024-11-04"
    ) as theirs:
        (message,) = theirs.receive_messages()
        assert base64.b64decode(message.content).decode() == '{"journal":"é"}'
        theirs.send_message("not base64!")
    (found,) = azure.queues.receive("hints")
    assert found.body == b"not base64!"


def test_more_messages_than_one_request_can_bring(azure: AzureStorage) -> None:
    for number in range(40):
        azure.queues.send("hints", b"%d" % number)
    before = azure.operations.counts()
    assert len(azure.queues.receive("hints", count=50)) == 40
    assert (azure.operations.counts() - before) == {"queue.receive": 2}


# ---------------------------------------------------------------------- the whole


def test_a_commit_of_a_journal_costs_an_append_and_a_transaction(azure: AzureStorage) -> None:
    commands = journal(azure)
    add(commands, 1)
    head = commands.head()
    cost = asked(azure, lambda: commands.commit(head, Commit(records=[note(2, n=2)], views={"v": {"a": 1}})))
    assert cost == {"blob.append": 1, "table.transaction": 1}
    cost = asked(azure, lambda: commands.commit(commands.head(refresh=False), Commit(through_ns=10**19)))
    assert cost == {"table.transaction": 1}
    assert asked(azure, lambda: list(Journals(azure, worker="w").open("commands.x").scan())) == {
        "table.query": 1,
        "blob.read": 1,
    }


def test_a_recording_gives_the_same_heads_as_in_memory(azure: AzureStorage, tmp_path: Path) -> None:
    path = market.recording(tmp_path / "desk.csv")
    found = []
    for storage in (MemoryStorage(), azure):
        observer = market.observer(tmp_path, storage)
        market.take(observer, path)
        found.append(market.heads(observer.journals))
    assert found[0] == found[1]
    assert {"patterns.desk", "events.desk", "decisions.desk"} <= found[1].keys()
    # What another worker finds there is whole, and it goes on from it.
    other = market.observer(tmp_path, azure)
    assert all(verify(other.journals.open(name)).fault is None for name in other.journals.names())
    market.take(other, path)
    assert market.heads(other.journals) == found[0]
