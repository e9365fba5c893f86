from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from observer_core.automation.sinks.file import TAIL_BYTES, FileSink
from observer_core.shared.errors import DeliveryError


def body(record_id: str, padding: int = 0) -> bytes:
    return b'{"data":"%s","id":"%s"}' % (b"x" * padding, record_id.encode())


def send(sink: FileSink, record_id: str, padding: int = 0) -> None:
    sink.send(record_id, body(record_id, padding), content_type="application/json", replay=False)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """A real short write: the kernel takes what fits below the limit and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_each_record_is_a_line_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "to" / "desk.ndjson"
    sink = FileSink(path, fsync=True)
    send(sink, "a")
    send(sink, "b")
    assert path.read_bytes() == body("a") + b"\n" + body("b") + b"\n"


def test_what_was_written_is_recognised_by_the_same_and_by_the_next_sink(tmp_path: Path) -> None:
    path = tmp_path / "desk.ndjson"
    first = FileSink(path)
    send(first, "a")
    assert first.already_has("a")
    first.close()
    second = FileSink(path)
    assert second.already_has("a")
    assert not second.already_has("b")


def test_an_id_that_is_only_cited_is_not_taken_for_a_delivered_one(tmp_path: Path) -> None:
    path = tmp_path / "desk.ndjson"
    path.write_bytes(b'{"causation":["a"],"id":"b"}\n')
    assert not FileSink(path).already_has("a")


@pytest.mark.parametrize("cut", range(1, len(body("second"))))
def test_a_torn_last_line_is_cut_off_and_written_again_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "desk.ndjson"
    path.write_bytes(body("first") + b"\n" + body("second")[:cut])
    sink = FileSink(path)
    assert sink.already_has("first")
    assert not sink.already_has("second")
    send(sink, "second")
    assert path.read_bytes() == body("first") + b"\n" + body("second") + b"\n"


def test_a_last_line_that_only_lacks_its_newline_counts_as_delivered(tmp_path: Path) -> None:
    path = tmp_path / "desk.ndjson"
    path.write_bytes(body("first"))
    sink = FileSink(path)
    assert sink.already_has("first")
    send(sink, "second")
    assert path.read_bytes() == body("first") + b"\n" + body("second") + b"\n"


def test_a_torn_line_longer_than_the_tail_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "desk.ndjson"
    path.write_bytes(body("first") + b"\n" + body("second", 2 * TAIL_BYTES)[:-1])
    sink = FileSink(path)
    assert sink.already_has("first")
    assert path.read_bytes() == body("first") + b"\n"


def test_a_last_line_that_is_no_record_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"somebody's notes")
    send(FileSink(path), "a")
    assert path.read_bytes() == b"somebody's notes\n" + body("a") + b"\n"


def test_only_the_last_256_kib_are_remembered(tmp_path: Path) -> None:
    path = tmp_path / "desk.ndjson"
    sink = FileSink(path)
    for number in range(40):
        send(sink, f"r{number}", padding=10_000)
    for known in (sink, FileSink(path)):
        assert not known.already_has("r0")
        assert known.already_has("r39")
        assert sum(known.already_has(f"r{number}") for number in range(40)) in (25, 26)


def test_a_full_disk_leaves_whole_lines_and_the_record_goes_through_later(tmp_path: Path) -> None:
    path = tmp_path / "desk.ndjson"
    sink = FileSink(path)
    send(sink, "a")
    size = path.stat().st_size
    with (
        file_size_limit(size + 7),
        pytest.raises(DeliveryError, match="cannot append to .*free space") as caught,
    ):
        send(sink, "b")
    assert caught.value.retry
    assert path.read_bytes() == body("a") + b"\n"
    assert not sink.already_has("b")
    send(sink, "b")
    assert path.read_bytes() == body("a") + b"\n" + body("b") + b"\n"


def test_a_torn_line_that_could_not_be_cut_off_at_once_is_cut_off_at_the_next_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "desk.ndjson"
    sink = FileSink(path)
    send(sink, "a")

    def broken(fd: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", broken)
        with file_size_limit(path.stat().st_size + 7), pytest.raises(DeliveryError):
            send(sink, "b")
    assert path.read_bytes() == body("a") + b"\n" + body("b")[:7]
    send(sink, "b")
    assert path.read_bytes() == body("a") + b"\n" + body("b") + b"\n"


def test_a_folder_in_the_place_of_the_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match=f"cannot read {tmp_path}: Is a directory"):
        FileSink(tmp_path).already_has("a")


def test_a_record_of_several_lines_is_refused_for_good(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "desk.ndjson")
    with pytest.raises(DeliveryError, match="a record is one line of JSON") as caught:
        sink.send("a", b'{\n"id":"a"}', content_type="application/json", replay=False)
    assert not caught.value.retry


def test_truncation_from_outside_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "desk.ndjson"
    sink = FileSink(path)
    send(sink, "a")
    os.truncate(path, 0)
    send(sink, "b")
    assert path.read_bytes() == body("b") + b"\n"
