"""A backup becomes a store again, in an empty place, whole or as it was known at a time.

Heads and the registry come last: until then there is no journal for anybody. Killed at any step, the next
run of the same restore finishes it; what it finds of a journal that was not done it writes anew. It
says that it is done when every chain of the new store was computed from its bytes, and ends where it must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from observer_core.backup.cutting import Cut, base_of, cuts, removed, rest_of
from observer_core.backup.lease import PARTITION
from observer_core.backup.manifest import Body, Manifest, Part, digest_of
from observer_core.backup.objects import Objects
from observer_core.backup.stretches import Opened, Stretch, listed, opened, stretches
from observer_core.backup.vault import Vault
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.errors import InputError, StorageCorrupt
from observer_core.storage.archive.excerpts import Excerpt, unpack
from observer_core.storage.archive.packs import is_packed
from observer_core.storage.journals import Journals
from observer_core.storage.ports import APPEND_BYTES, ROWS_PER_TRANSACTION, Op, Storage
from observer_core.storage.rows import Base, CommitRow, Head, StateRow, segment_name
from observer_core.storage.verify import verify

_REGISTRY: Final = "registry"
_UNDER_WAY: Final = "restoring"
_WHOLE: Final = "whole"
_DONE: Final = "restored"
"""Before the name of each journal that was."""
_HOUR_NS: Final = 3600 * SECOND
_BYTES: Final = 2 * 1024 * 1024
"""Of row values, a transaction."""
_STAY: Final = ("hold.", "safe_mode")
"""Views that no stage makes again, as `storage.recovery` has it: a hold that was asked for later still holds.
Quarantines, and holds that were ended later, follow from the records.
"""
_MARKS: Final = (b'"kind":"quarantine"', b'"kind":"redrive"', b'"kind":"hold"')


@dataclass(frozen=True, slots=True)
class Restored:
    """What is there now. `cut`: journals that end before the backup does, and how many records it had."""

    digest: str
    records: int
    journals: Mapping[str, int]
    cut: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be restored: of which backup, as it was known when, which blobs that waited with it.

    `older`: backups in which states may be found that a later one has not any more, newest first.
    """

    manifest: Manifest
    until_ns: int | None = None
    waited: Callable[[str], bool] = lambda _: True
    older: Sequence[Manifest] = ()
    tell: Callable[[str], None] = lambda _: None

    @property
    def identity(self) -> dict[str, Any]:
        return {"backup": self.manifest.file, "until_ns": self.until_ns}


def restore(vault: Vault, wish: Wish, target: Storage) -> Restored:
    """`InputError` when `target` is not empty, but for what the same restore had begun."""
    body = vault.body(wish.manifest)
    objects = vault.objects(wish.manifest.seal)
    found = planned(vault, wish)
    begun = _begin(target, wish.identity)
    whole = target.tables.get(PARTITION, _WHOLE)
    if whole is not None:
        return Restored(**decode(whole.value))
    positions = {name: cut.end.position for name, cut in found.items()}
    for name, part in body.journals.items():
        wish.tell(name)
        if target.tables.get(PARTITION, f"{_DONE}.{name}") is None:
            if begun:
                _wipe(target, name)
            if found[name].end.seq or found[name].whole:
                _Writing(vault, wish, objects, target, name, part, found[name], positions).write()
            target.segments.sync()  # what is said to be done survives a power failure
            target.tables.commit(PARTITION, [Op("upsert", f"{_DONE}.{name}", b"{}")])
    for name, ref in body.waiting:
        if wish.waited(name):
            target.blobs.put(name, objects.get(ref))
    _heads(target, body, found)
    target.checkpoint()
    restored = _checked(target, body, found)
    target.tables.commit(PARTITION, [Op("upsert", _WHOLE, encode(asdict(restored)))])
    return restored


def _go_on(vault: Vault, wish: Wish, body: Body, objects: Objects, found: Mapping[str, Cut]) -> None:
    """`InputError` where a stage would find no state to go on from: what it consumed since was removed."""
    bases = {name: base_of(part) for name, part in body.journals.items()}
    for name, part in body.journals.items():
        inputs = [other for other in part.consumed if bases.get(other, Base()).position]
        if found[name].whole or part.states is None or not (inputs or bases[name].seq):
            continue
        donor = _donor(vault, wish, name, found[name])
        lists = [(part, objects), *([donor] if donor else [])]
        rows = [StateRow.of(row) for one, at in lists if one.states for row, _ in listed(one.states, at)]
        if not any(
            bases[name].seq <= row.seq <= found[name].end.seq
            and all(row.consumed.get(other, 0) >= bases[other].position for other in inputs)
            for row in rows
        ):
            raise removed(next(bases[other] for other in (name, *inputs) if bases[other].seq))


def _donor(vault: Vault, wish: Wish, name: str, cut: Cut) -> tuple[Part, Objects] | None:
    """An older backup of a journal that ends at the cut or before it: its states are nearer to that."""
    if cut.whole:
        return None
    for manifest in wish.older:
        part = vault.body(manifest).journals.get(name)
        if part is not None and 0 < part.end.seq <= cut.end.seq and part.states is not None:
            return part, vault.objects(manifest.seal)
    return None


def planned(vault: Vault, wish: Wish) -> dict[str, Cut]:
    """Where each journal would end; `Removed` when the backup has not any more what was known then."""
    body = vault.body(wish.manifest)
    objects = vault.objects(wish.manifest.seal)
    if not objects.seal.opens:
        raise InputError(
            "the backup is encrypted: give the identity of one of its recipients (--identity FILE)"
        )
    found = cuts(body, objects, wish.until_ns)
    _go_on(vault, wish, body, objects, found)
    return found


def finish(target: Storage) -> None:
    """Nobody needs to know any more that it was restored step by step: from now on it is a store."""
    low, high = f"{_DONE}.", f"{_DONE}.~"
    while rows := target.tables.query(PARTITION, low, high, ROWS_PER_TRANSACTION):
        target.tables.commit(PARTITION, [Op("delete", row.key) for row in rows])
    target.tables.commit(PARTITION, [Op("delete", _UNDER_WAY), Op("delete", _WHOLE)])


def _begin(target: Storage, identity: Mapping[str, Any]) -> bool:
    """True when the same restore has been here before."""
    row = target.tables.get(PARTITION, _UNDER_WAY)
    if row is not None:
        begun = decode(row.value)
        if begun != identity:
            until_ns = begun["until_ns"]
            as_of = "" if until_ns is None else f", --until {format_time(until_ns)}"
            raise InputError(
                "another restore was begun there and is not finished: of the backup whose file is "
                f"{begun['backup'][:16]}{as_of}; finish it (`observer backup ls --json` has its number), or "
                "empty the place"
            )
        return True
    used = target.tables.query(_REGISTRY, "", "~", 1) or target.tables.query(PARTITION, "", "~", 1)
    if used or next(iter(target.segments.list()), None) is not None:
        raise InputError(
            "there is an Observer's data already; a backup is restored into an empty place, never over data"
        )
    target.tables.commit(PARTITION, [Op("insert", _UNDER_WAY, encode(dict(identity)))])
    return False


def _wipe(target: Storage, name: str) -> None:
    kind, _, rest = name.partition(".")
    folder = f"{kind}/source={rest}/"
    for segment in list(target.segments.list(folder)):
        target.segments.delete(segment)
    for file in list(target.archives.list(folder)):
        target.archives.delete(file)
    while rows := target.tables.query(name, "", "~", ROWS_PER_TRANSACTION):
        target.tables.commit(name, [Op("delete", row.key) for row in rows])


def _heads(target: Storage, body: Body, found: Mapping[str, Cut]) -> None:
    """Makes the journals known. What stands there already is this restore's own, or somebody else's."""
    for name, domain in body.registry.items():
        cut = found[name]
        if cut.end.seq or cut.whole:
            if cut.head != Head():
                states = target.tables.query(name, "s.", "s.~")
                newest = max((StateRow.of(row).seq for row in states), default=0)
                _insert(target, name, "head", cut.head._replace(state=newest).value())
            _insert(target, _REGISTRY, name, encode({"domain": domain}))


def _insert(target: Storage, partition: str, key: str, value: bytes) -> None:
    row = target.tables.get(partition, key)
    if row is None:
        target.tables.commit(partition, [Op("insert", key, value)])
    elif row.value != value:
        raise InputError(
            f"somebody else writes to the place that is restored to: row {key!r} of {partition!r} is not "
            "ours. Stop what runs there, and empty it"
        )


def _checked(target: Storage, body: Body, found: Mapping[str, Cut]) -> Restored:
    journals = Journals(target, worker="restore")
    heads: dict[str, tuple[int, bytes]] = {}
    for name in journals.names():
        end = found[name].end
        result = verify(journals.open(name))
        if result.fault is not None or (result.records, result.head) != (end.position, end.hash):
            why = result.fault.detail if result.fault else f"it ends at {result.records}, not {end.position}"
            raise StorageCorrupt(f"the restored journal {name!r} is not what was backed up: {why}")
        heads[name] = (result.records, result.head)
    shorter = {
        name: body.journals[name].head.position
        for name, cut in found.items()
        if cut.end.position < body.journals[name].head.position
    }
    records = sum(position for position, _ in heads.values())
    return Restored(digest_of(heads), records, {name: head[0] for name, head in heads.items()}, shorter)


# ---------------------------------------------------------------------- one journal


@dataclass(slots=True)
class _Writing:
    vault: Vault
    wish: Wish
    objects: Objects
    target: Storage
    name: str
    part: Part
    cut: Cut
    positions: Mapping[str, int]
    """Where all journals end."""
    views: dict[str, Any] = field(default_factory=dict)
    """Rows of those that follow from the records."""

    def write(self) -> None:
        with self.target.group():
            self._ops(self._removed())
        donor = _donor(self.vault, self.wish, self.name, self.cut)
        donated = False
        for stretch in stretches(self.part, self.objects):
            if stretch.before.seq >= self.cut.end.seq:
                break
            found = opened(stretch, self.objects)
            if donor is not None:
                donated = donated or any(
                    (row.seq, row.hash) == (donor[0].end.seq, donor[0].end.hash) for row in found.rows
                )
            with self.target.group():
                self._stretch(stretch, found)
            if not self.cut.whole:
                rows = (row for row in found.rows if row.records and row.seq <= self.cut.end.seq)
                self._heed(line for row in rows for line in found.lines(row))
        with self.target.group():
            self._ops(self._states(self.part, self.objects))
            if donor is not None and donated:
                self._ops(self._states(*donor))
            self._ops(self._sides())
        self.target.checkpoint()

    def _removed(self) -> Iterator[Op]:
        """What retention has removed before the first commit, and what it has kept of that."""
        if self.part.base is not None:
            yield Op("upsert", Base.KEY, self.part.base.encode())
        for row, ref in listed(self.part.excerpts, self.objects) if self.part.excerpts else ():
            excerpt, data = Excerpt.of(row), self.objects.get(ref)
            self.target.archives.put(excerpt.file.name, data)
            yield Op("upsert", excerpt.key, excerpt.value())
            if not self.cut.whole:
                kept = (item.line for item in unpack(data, excerpt.file.name) if item.line is not None)
                self._heed(kept)

    # ------------------------------------------------------------------ commits

    def _stretch(self, stretch: Stretch, found: Opened) -> None:
        # The newest commit is never in a packed stretch.
        if stretch.pack is not None and stretch.end.seq < self.cut.end.seq:
            for name, ref in stretch.contents.items():
                self.target.archives.put(stretch.pack.files[name].name, self.objects.get(ref))
            self._ops([Op("upsert", stretch.pack.key, stretch.pack.value())])
            return
        rows = [row for row in found.rows if row.seq <= self.cut.end.seq]
        self._ops(Op("upsert", row.key, row.value()) for row in self._appended(rows, found))

    def _appended(self, rows: Sequence[CommitRow], found: Opened) -> Iterator[CommitRow]:
        """The rows as their records stand in the new store, a few megabytes appended at once."""
        waiting: list[CommitRow] = []
        size = 0
        for row in rows:
            if not row.records:
                yield row._replace(segment="", offset=0, length=0)
                continue
            if is_packed(row.segment):
                row = row._replace(segment=segment_name(self.name, row.first_ns // _HOUR_NS))
            if waiting and (waiting[-1].segment != row.segment or size + row.length > APPEND_BYTES):
                yield from self._append(waiting, found)
                waiting, size = [], 0
            waiting.append(row)
            size += row.length
        if waiting:
            yield from self._append(waiting, found)

    def _append(self, rows: Sequence[CommitRow], found: Opened) -> Iterator[CommitRow]:
        first, last = rows[0], rows[-1]
        data = found.text[first.offset : last.offset + last.length]
        offset = self.target.segments.append(first.segment, data)
        for row in rows:
            yield row._replace(offset=offset + row.offset - first.offset)

    def _ops(self, ops: Iterable[Op]) -> None:
        waiting: list[Op] = []
        size = 0
        for op in ops:
            if waiting and (len(waiting) == ROWS_PER_TRANSACTION or size + len(op.value) > _BYTES):
                self.target.tables.commit(self.name, waiting)
                waiting, size = [], 0
            waiting.append(op)
            size += len(op.value)
        if waiting:
            self.target.tables.commit(self.name, waiting)

    # ------------------------------------------------------------------ all other rows

    def _states(self, part: Part, objects: Objects) -> Iterator[Op]:
        for found, ref in listed(part.states, objects) if part.states else ():
            row = StateRow.of(found)
            if row.seq <= self.cut.end.seq:
                self.target.blobs.put(row.blob, objects.get(ref))
                yield Op("upsert", row.key, row.value())

    def _sides(self) -> Iterator[Op]:
        lost = {} if self.cut.whole else self._lost()
        for ref in self.part.sides:
            for key, text in decode(self.objects.get(ref)):
                value = text.encode() if self.cut.whole else self._at_cut(key, text.encode(), lost)
                if value is not None and key not in self.views:
                    yield Op("upsert", key, value)
        for key, body in self.views.items():
            yield Op("upsert", key, encode(body))

    def _at_cut(self, key: str, value: bytes, lost: Mapping[str, int]) -> bytes | None:
        """A row as it may stand behind the cut; None: not at all. Views come again when a stage works."""
        kind, _, name = key.partition(".")
        if kind == "a" or (kind == "v" and not name.startswith(_STAY)):
            return None
        if kind == "e":
            return value if int(name) <= self.cut.head.epoch else None
        if kind == "i":
            return value if int(decode(value).get("position", 0)) <= self.cut.end.position else None
        return self._checkpoint(name, value, lost) if kind == "c" else value

    def _checkpoint(self, name: str, value: bytes, lost: Mapping[str, int]) -> bytes | None:
        found = decode(value)
        if "total" in found:  # a completely ingested file: only as long as its load is complete
            return None if found["load"] in lost else value
        if "position" not in found:
            return value
        first = lost.get(name)
        if first == 1:
            return None
        position = found["position"] if first is None else first - 1
        # Also where nothing was consumed: a subscriber may have begun behind the cut. Anchors are sent by
        # the ledger's own positions.
        last = self.cut.end.position if name.startswith("sent.") else self.positions.get(name, position)
        position = min(position, last)
        return encode({**found, "position": position})

    def _lost(self) -> dict[str, int]:
        """The first entry of each input that a commit behind the cut had consumed."""
        lost: dict[str, int] = {}
        for row in rest_of(self.part, self.objects, self.cut.end.seq):
            for item in row.inputs:
                lost.setdefault(item.journal, item.first)
        return lost

    def _heed(self, lines: Iterable[bytes]) -> None:
        """Which entries are set aside, and what is held, whatever happened behind the cut."""
        for line in lines:
            if any(mark in line for mark in _MARKS):
                note = decode(line)
                body = note.get("body", {})
                view = f"v.quarantined.{body.get('input')}@{body.get('position')}"
                match note.get("kind"), body.get("action"):
                    case "quarantine", _:
                        self.views[view] = body
                    case "redrive", _:
                        self.views.pop(view, None)
                    case "hold", "add":
                        self.views[f"v.hold.{body['id']}"] = {k: v for k, v in body.items() if k != "action"}
                    case "hold", "end":
                        self.views.pop(f"v.hold.{body['id']}", None)
