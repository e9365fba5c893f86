"""An export for an auditor: journals as they are stored, checked with `sha256sum` and nothing of ours.

What a decision of the time range follows from, step by step down to the snapshots, is in
the export too, so a journal may begin before the range.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from observer_core.shared.clock import format_time
from observer_core.shared.errors import InputError
from observer_core.shared.ids import parse_ref, ref
from observer_core.shared.records import AnyRecord, Decision, Evaluation, Event, PatternRecord
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import LEDGER, hash_at
from observer_core.storage.rows import chain

INSTRUCTIONS: Final = "INSTRUCTIONS.txt"
MANIFEST: Final = "MANIFEST.sha256"
_FOLLOWED: Final = ("gate", "decisions", "events", "patterns")
"""Journals whose records cite others, each before those that it cites."""
_TARS: Final = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: journals, records, bytes of them, and the sha256 of the manifest."""

    path: Path
    journals: int
    records: int
    size: int
    manifest: str


@dataclass(slots=True)
class _Part:
    journal: Journal
    first: int
    last: int


def export(
    journals: Journals, target: Path, *, domain: str | None = None, since_ns: int | None = None,
    until_ns: int | None = None,
) -> Exported:  # fmt: skip
    """Writes a folder, or a `.tar`, `.tar.gz` or `.tgz` file, which must not be there yet.

    The ledger's anchors are always in it. `InputError` when nothing is in the range.
    """
    if target.exists():
        raise InputError(f"{target} exists; an export is never written over: give another name")
    packed = target.name.endswith(_TARS)
    folder = target.with_name(target.name + ".partial")
    if folder.exists():
        raise InputError(f"{folder} is left of an export that was broken off; remove it")
    folder.mkdir(parents=True)
    try:
        done = _write(journals, folder, domain, since_ns, until_ns)
        if packed:
            _pack(folder, target)
        else:
            folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Exported(target, done.journals, done.records, done.size, done.manifest)


def _write(
    journals: Journals, folder: Path, domain: str | None, since_ns: int | None, until_ns: int | None
) -> Exported:
    parts = _parts(journals, domain, since_ns, until_ns)
    records = size = 0
    (folder / "journals").mkdir()
    (folder / "chains").mkdir()
    with (folder / "lineage.txt").open("w") as lineage:
        _follow(parts, lineage)
    parts = {name: part for name, part in parts.items() if part.first <= part.last}
    if not any(name != LEDGER for name in parts):
        raise InputError("nothing was recorded in that range; see `observer digest` and `observer status`")
    with (folder / "HEADS.txt").open("w") as heads:
        for name, part in sorted(parts.items()):
            before = hash_at(part.journal, part.first - 1)
            after, written = _journal(part, before, folder)
            heads.write(f"{name} {part.first} {part.last} {before.hex()} {after.hex()}\n")
            records += part.last - part.first + 1
            size += written
    ledger = folder / "journals" / f"{LEDGER}.ndjson"
    if ledger.exists():
        shutil.copyfile(ledger, folder / "anchors.ndjson")
    else:
        (folder / "anchors.ndjson").touch()
    text = Path(__file__).with_suffix(".txt").read_text("utf-8")
    (folder / INSTRUCTIONS).write_text(text.format(range=_range(domain, since_ns, until_ns)))
    manifest = "".join(
        f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )
    (folder / MANIFEST).write_text(manifest)
    return Exported(folder, len(parts), records, size, hashlib.sha256(manifest.encode()).hexdigest())


def _parts(
    journals: Journals, domain: str | None, since_ns: int | None, until_ns: int | None
) -> dict[str, _Part]:
    found = {}
    for name in sorted({*journals.names(domain=domain), LEDGER} & {*journals.names()}):
        journal = journals.open(name)
        whole = name == LEDGER
        last = journal.head().position if until_ns is None or whole else journal.position_at(until_ns)
        first = 1 if since_ns is None or whole else journal.position_at(since_ns - 1) + 1
        found[name] = _Part(journal, max(first, journal.base().position + 1), last)
    return found


def _follow(parts: dict[str, _Part], lineage: IO[str]) -> None:
    """Writes which record follows from which, and widens the parts so that what is cited is in them.

    Not by what an answer of the gate was read from, nor by earlier records of a journal itself: these
    may be the whole past.
    """
    for kind in _FOLLOWED:
        for name in [name for name in parts if name.startswith(f"{kind}.")]:
            part = parts[name]
            if part.first > part.last:
                continue
            for entry in part.journal.scan(part.first, part.last):
                for cited in _causes(entry.record):
                    journal, position = parse_ref(cited)
                    other = parts.get(journal)
                    kept = other is not None and position > other.journal.base().position
                    if other is not None and kept and kind != "gate" and journal != name:
                        if other.first > other.last:
                            other.first = other.last = position
                        other.first, other.last = min(other.first, position), max(other.last, position)
                    inside = other is not None and other.first <= position <= other.last
                    lineage.write(f"{ref(name, entry.position)} {cited}{'' if inside else ' outside'}\n")


def _causes(record: AnyRecord) -> list[str]:
    match record:
        case Decision():
            return list(record.causation)
        case Event():
            return [record.causationid]
        case PatternRecord():
            return [record.snapshot]
        case Evaluation():
            return [ref(name, position) for name, position in record.rests.items()]
    return []


def _journal(part: _Part, before: bytes, folder: Path) -> tuple[bytes, int]:
    """Writes one journal and its chain; gives the hash after it and its bytes."""
    name, digest, size = part.journal.name, before, 0
    with (
        (folder / "journals" / f"{name}.ndjson").open("wb") as out,
        (folder / "chains" / f"{name}.txt").open("w") as hashes,
    ):
        hashes.write(f"{ref(name, part.first - 1)} {digest.hex()}\n")
        for position, line in _lines(part):
            digest = chain(digest, [line])
            out.write(line + b"\n")
            hashes.write(f"{ref(name, position)} {digest.hex()}\n")
            size += len(line) + 1
    if digest != hash_at(part.journal, part.last):
        raise InputError(f"{name} is not what was committed; see `observer verify {name}`")
    return digest, size


def _lines(part: _Part) -> Iterator[tuple[int, bytes]]:
    for row, lines in part.journal.raw(part.first, part.last):
        for position, line in enumerate(lines, row.first):
            if part.first <= position <= part.last:
                yield position, line


def _range(domain: str | None, since_ns: int | None, until_ns: int | None) -> str:
    since = "the beginning" if since_ns is None else format_time(since_ns)
    until = "the newest record" if until_ns is None else format_time(until_ns)
    return f"{'all domains' if domain is None else f'domain {domain}'}, from {since} to {until}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(folder: Path, target: Path) -> None:
    """Equal exports give equal bytes: no times, owners or orders of this machine."""
    temporary = target.with_name(target.name + ".packing")
    top = target.name.partition(".tar")[0].removesuffix(".tgz")

    def plain(item: tarfile.TarInfo) -> tarfile.TarInfo:
        item.mtime = item.uid = item.gid = 0
        item.uname = item.gname = ""
        item.mode = 0o644
        return item

    try:
        with temporary.open("wb") as raw:
            packed = None if target.suffix == ".tar" else gzip.GzipFile("", "wb", fileobj=raw, mtime=0)
            with tarfile.open(fileobj=packed or raw, mode="w") as tar:
                for path in sorted(folder.rglob("*")):
                    if path.is_file():
                        tar.add(path, f"{top}/{path.relative_to(folder).as_posix()}", filter=plain)
            if packed is not None:
                packed.close()
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
