"""Backups of this store: made, checked and thinned out by themselves, and for whoever asks.

Nothing that the Observer decides depends on them: a failure is logged, kept for the health check and tried
again, and stops nothing else. What was made, removed and restored is a record in the operations journal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Literal

import structlog

from observer_core.backup.config import BackupConfig, ContainerTarget, FolderTarget
from observer_core.backup.creating import Made, Order, OutOfTime
from observer_core.backup.creating import create as create_backup
from observer_core.backup.cutting import Removed
from observer_core.backup.keeping import Pruned
from observer_core.backup.keeping import prune as prune_backups
from observer_core.backup.lease import PARTITION, Busy, Lease
from observer_core.backup.manifest import Manifest
from observer_core.backup.objects import Damaged
from observer_core.backup.place import FolderPlace, NewTar, Place, TarPlace
from observer_core.backup.restoring import Restored, Wish, finish, planned
from observer_core.backup.restoring import restore as restore_backup
from observer_core.backup.sealing import Identity, IndexKey, check_recipients
from observer_core.backup.vault import Vault
from observer_core.backup.verifying import Checked, Finding, Verifier, check_catalogue, settle
from observer_core.logs.redaction import without_paths
from observer_core.runtime import operate
from observer_core.runtime import settings as configured
from observer_core.runtime.looking import Looking
from observer_core.runtime.pushing import KEPT, REFUSED
from observer_core.runtime.settings import Settings
from observer_core.runtime.storages import RESTORING
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND, Clock
from observer_core.shared.errors import ConfigError, InputError, JournalError, NotFound, ObserverError
from observer_core.shared.records import Note
from observer_core.storage.epochs import Build
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import hash_at
from observer_core.storage.local import LocalStorage
from observer_core.storage.local.files import LocalBlobs, make_directories, os_errors, sync_directory
from observer_core.storage.ports import Op, Storage
from observer_core.storage.recovery import OPERATIONS

_AGAIN_NS: Final = 60 * SECOND
"""After a failure nothing is tried for so long."""
_LOOK_SECONDS: Final = 5.0
_AUTHOR: Final = "observer"
_KEY: Final = "key."
_AZURE: Final = "azure:"
_LATE: Final = 2
"""A backup is late after so many times `every`, and the check fails after twice as many."""
_log = structlog.get_logger("observer.backup")


# ---------------------------------------------------------------------- places


def place_of(settings: Settings, text: str | None = None) -> Place:
    """Where `text` says, or `[backup]`; `ConfigError` when neither does, or it cannot be used.

    `text`: a folder, a tar file that is there, or azure:CONNECTION/CONTAINER.
    """
    store = settings.paths.data if settings.storage.kind == "local" else None
    if text is None:
        match settings.backup.to:
            case FolderTarget() as target:
                return FolderPlace(settings.paths.root / target.path, store)
            case ContainerTarget() as target:
                return _container(target.connection, target.container)
        raise ConfigError(
            '[backup] names no place: give to = { kind = "folder" | "container", … } there, or the option'
        )
    if text.startswith(_AZURE):
        connection, _, container = text.removeprefix(_AZURE).partition("/")
        return _container(connection, container or "backups")
    path = Path(text)
    return TarPlace(path) if path.is_file() else FolderPlace(path, store)


def _container(connection: str, container: str) -> Place:
    from observer_core.storage.azure import AzureStorage
    from observer_core.storage.azure.places import AzurePlace

    values = configured.connection_values(connection)
    return AzurePlace(AzureStorage.connect(values, name=connection), container)


def vault_at(place: Place, storage: Storage | None = None, identity: Path | None = None) -> Vault:
    """With the keys of the store, where there is one, and of an identity file."""
    found = None if identity is None else Identity.read(identity)
    return Vault(place, {} if storage is None else _keys(storage), found)


def _keys(storage: Storage) -> dict[str, IndexKey]:
    found = {}
    for row in storage.tables.query(PARTITION, _KEY, _KEY + "~"):
        value = decode(row.value)
        found[row.key.removeprefix(_KEY)] = IndexKey(
            bytes.fromhex(value["secret"]), tuple(value["recipients"])
        )
    return found


# ---------------------------------------------------------------------- what is known


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store remembers of its backups at one place. Times in ns, 0: never.

    `verified_ns`: when the newest was read back whole; at first, when the first was made.
    """

    number: int = 0
    time_ns: int = 0
    verified_ns: int = 0
    written: int = 0
    error: str | None = None
    findings: int = 0

    @staticmethod
    def of(storage: Storage, place: Place) -> Standing:
        row = storage.tables.get(PARTITION, _last(place))
        return Standing() if row is None else Standing(**decode(row.value))

    def save(self, storage: Storage, place: Place) -> None:
        value = {name: getattr(self, name) for name in Standing.__dataclass_fields__}
        storage.tables.commit(PARTITION, [Op("upsert", _last(place), encode(value))])

    def but(self, **changes: Any) -> Standing:
        return Standing(
            **{name: changes.get(name, getattr(self, name)) for name in Standing.__dataclass_fields__}
        )

    def status(self, every_ns: int, now_ns: int) -> tuple[Literal["pass", "warn", "fail"], str | None]:
        """`pass`, `warn` or `fail`, and why."""
        age_ns = abs(now_ns - self.time_ns)  # one of the future is none to rely on
        late = f"the newest backup is older than {_LATE} times [backup] every"
        if self.findings:
            return "fail", f"{self.findings} faults were found in it; see `observer backup verify`"
        if not self.number:
            return "warn", self.error or "there is no backup yet"
        if age_ns > 2 * _LATE * every_ns:
            return "fail", f"{late}, and twice that{f': {self.error}' if self.error else ''}"
        if age_ns > _LATE * every_ns:
            return "warn", f"{late}{f': {self.error}' if self.error else ''}"
        return ("warn", self.error) if self.error else ("pass", None)


def _last(place: Place) -> str:
    return f"last.{hashlib.sha256(repr(place).encode()).hexdigest()[:16]}"


def standing(storage: Storage, settings: Settings) -> Standing:
    """Of the configured place; nothing is asked there."""
    place = place_of(settings)
    try:
        return Standing.of(storage, place)
    finally:
        place.close()


def backed_up(storage: Storage, settings: Settings) -> dict[str, int]:
    """How many records of each journal the newest backup has that was found whole.

    Only of this very history: where the store's own records up to there hash to what was backed up.
    Empty where nothing is backed up.
    """
    if settings.backup.to is None:
        return {}
    place = place_of(settings)
    try:
        vault = vault_at(place, storage)
        row = storage.tables.get(PARTITION, "store")
        journals = Journals(storage, worker="backup")
        for number in sorted(vault.catalogue.verified(), reverse=True):
            try:
                manifest = vault.catalogue.read(number)
                if row is None or manifest.store != decode(row.value)["id"]:
                    continue
                parts = vault.body(manifest).journals
            except (Damaged, InputError):
                continue
            return {
                name: part.end.position
                for name, part in parts.items()
                if part.end.position and _is_of(journals, name, part.end.position, part.end.hash)
            }
        return {}
    finally:
        place.close()


def backed_up_to(storage: Storage, settings: Settings, journal: str) -> int:
    """The last position of `journal` that is safe in the newest backup that was found whole; 0: none."""
    return backed_up(storage, settings).get(journal, 0)


def _is_of(journals: Journals, name: str, position: int, digest: bytes) -> bool:
    try:
        return hash_at(journals.open(name), position) == digest
    except (NotFound, JournalError):
        return False


# ---------------------------------------------------------------------- making


class Backups:
    """Makes, checks and removes the backups of one store. Acts of several processes exclude one another."""

    def __init__(self, storage: Storage, settings: Settings, clock: Clock, build: Build) -> None:
        self._storage, self._settings, self._clock, self._build = storage, settings, clock, build
        self._config: BackupConfig = settings.backup
        self._worker = f"backup-{token_hex(4)}"
        self._not_before_ns = 0
        self._place: Place | None = None
        self._looking = Looking("backup", self._look_by_itself, lambda: _LOOK_SECONDS, first=_LOOK_SECONDS)

    @property
    def is_on(self) -> bool:
        return self._config.every is not None

    def create(
        self, place: Place, *, author: str = _AUTHOR, adopt: bool = False, seconds: float | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Made:  # fmt: skip
        """A backup at `place`. `adopt`: also where those of another store are.

        `OutOfTime` when it was broken off after `seconds`; the next call goes on.
        """
        known = Standing.of(self._storage, place)
        with Lease(self._storage, self._clock, self._worker) as lease:
            vault = vault_at(place, self._storage)
            store = self._store(vault, adopt)
            objects = vault.objects(self._seal(vault))
            objects.before_put = lease.keep
            order = Order(
                store=store, build=self._build, time_ns=self._clock.now_ns(), number=known.number + 1,
                waiting=(KEPT, REFUSED), seconds=seconds, resumable=not isinstance(place, NewTar), tell=tell,
            )  # fmt: skip
            made = create_backup(Journals(self._storage, worker=self._worker), objects, order)
            manifest = made.manifest
            if isinstance(place, NewTar):
                place.finished()
            else:
                error = "; ".join(made.faults.values()) or None
                known.but(
                    number=manifest.number, time_ns=manifest.time_ns, written=manifest.written, error=error,
                    verified_ns=known.verified_ns or manifest.time_ns,
                ).save(self._storage, place)  # fmt: skip
        self._note(
            act="made", author=author, number=manifest.number, digest=made.digest, store=manifest.store,
            journals=made.journals, records=manifest.records, written=manifest.written,
            objects=manifest.objects, to=without_paths(repr(place)), faults=dict(made.faults),
        )  # fmt: skip
        return made

    def verify(
        self, place: Place, numbers: Sequence[int] | None = None, *, identity: Path | None = None,
        beside: bool = False, tell: Callable[[str], None] = lambda _: None,
    ) -> tuple[list[Checked], list[Finding]]:  # fmt: skip
        """Reads backups back (default: the newest), `beside` the store as it is; what is wrong with all."""
        known = Standing.of(self._storage, place)
        journals = Journals(self._storage, worker=self._worker) if beside else None
        vault = vault_at(place, self._storage, identity)
        found = check(vault, numbers, journals, known.number, self._clock.now_ns(), tell)
        findings = sum(len(item.findings) for item in found[0]) + len(found[1])
        known.but(verified_ns=self._clock.now_ns(), findings=findings).save(self._storage, place)
        return found

    def prune(
        self, place: Place, *, author: str = _AUTHOR, dry_run: bool = False, identity: Path | None = None,
        drop: Collection[int] = (),
    ) -> Pruned:  # fmt: skip
        """Removes what `[backup] keep` does not name, and `drop`; `ConfigError` without a policy."""
        if self._config.keep is None:
            raise ConfigError("[backup] has no keep, so nothing is ever removed; say what is to be kept")
        with Lease(self._storage, self._clock, self._worker) as lease:
            vault = vault_at(place, self._storage, identity)
            pruned = prune_backups(
                vault, self._config.keep, self._clock.now_ns(), self._config.grace,
                drop=drop, unfinished=self._current(vault), dry_run=dry_run, step=lease.keep,
            )  # fmt: skip
        if not dry_run and (pruned.backups or pruned.contents):
            self._note(
                act="pruned", author=author, numbers=list(pruned.backups), contents=pruned.contents,
                dropped=sorted(set(drop)),
                policy=self._config.keep.canonical(), to=without_paths(repr(place)),
            )  # fmt: skip
        return pruned

    def _store(self, vault: Vault, adopt: bool) -> str:
        """The name of this store among others; what lies at the place must be its own."""
        row = self._storage.tables.get(PARTITION, "store")
        mine: str = token_hex(8) if row is None else decode(row.value)["id"]
        newest = vault.catalogue.newest_sound()
        if newest is not None and newest.store != mine:
            if not adopt:
                raise InputError(
                    f"{vault.place!r} has the backups of another store ({newest.store}; perhaps the one that "
                    "this was restored from): give this one a place of its own, or take it over with "
                    "`observer backup create --adopt`"
                )
            mine = newest.store
        self._storage.tables.commit(PARTITION, [Op("upsert", "store", encode({"id": mine}))])
        return mine

    def _current(self, vault: Vault) -> str | None:
        """The seal of what is written now, where there is one already."""
        encrypt = self._config.encrypt
        wanted = None if encrypt is None else tuple(sorted(encrypt.recipients))
        return next((name for name, key in _keys(self._storage).items() if key.recipients == wanted), None)

    def _seal(self, vault: Vault) -> str | None:
        encrypt = self._config.encrypt
        if encrypt is None:
            return None
        check_recipients(encrypt.recipients)
        found = self._current(vault)
        key = _keys(self._storage)[found] if found is not None else IndexKey.new(encrypt.recipients)
        vault.lay_down(key)
        value = encode({"secret": key.secret.hex(), "recipients": list(key.recipients)})
        self._storage.tables.commit(PARTITION, [Op("upsert", f"{_KEY}{key.id}", value)])
        return key.id

    def _note(self, **body: Any) -> None:
        journals = Journals(self._storage, worker=self._worker)
        note = Note(kind="backup", time_ns=self._clock.now_ns(), body=body)
        operate.append(journals.open(OPERATIONS, "operations"), [note])

    # ------------------------------------------------------------------ by itself

    def look(self, seconds: float | None = None) -> None:
        """Makes a backup when one is due, thins out, and reads the newest back when that is due.

        With `seconds` what takes longer is broken off and gone on with the next time; nothing is read back.
        """
        every_ns, now_ns = self._config.every, self._clock.now_ns()
        if every_ns is None or now_ns < self._not_before_ns:
            return
        place = self._place = self._place or place_of(self._settings)
        try:
            self._look(place, every_ns, seconds)
        except OutOfTime as error:
            _log.info("backup is under way", place=without_paths(repr(place)), detail=str(error))
        except Busy:
            self._not_before_ns = now_ns + _AGAIN_NS  # somebody else is at it
        except ObserverError as error:
            self._not_before_ns = self._clock.now_ns() + _AGAIN_NS
            said = without_paths(str(error))
            _log.error("backup failed; tried again in a minute", place=without_paths(repr(place)), error=said)
            self._remember(place, said)

    def _is_due(self, since_ns: int, after_ns: int) -> bool:
        """Also what was done in the future: a clock that was put back must not switch it off for years."""
        return not 0 <= self._clock.now_ns() - since_ns < after_ns

    def _remember(self, place: Place, error: str) -> None:
        try:
            Standing.of(self._storage, place).but(error=error[:500]).save(self._storage, place)
        except ObserverError as failure:
            _log.error("backup: its failure cannot be kept", error=str(failure))

    def _look(self, place: Place, every_ns: int, seconds: float | None) -> None:
        known = Standing.of(self._storage, place)
        due = self._is_due(known.time_ns, every_ns)
        if due:
            made = self.create(place, seconds=seconds)
            for name, fault in made.faults.items():
                _log.error("backup: a journal is broken", journal=name, fault=fault)
            _log.info("backed up", number=made.manifest.number, written=made.manifest.written)
            if self._config.keep is not None:
                self.prune(place)
        verify_ns = self._config.verify
        if verify_ns and seconds is None:
            # Again after what was wrong may have been mended.
            known = Standing.of(self._storage, place)
            late = known.number and self._is_due(known.verified_ns, verify_ns)
            if late or (due and known.findings):
                for finding in _all_findings(*self.verify(place)):
                    _log.error("backup is damaged", backup=finding.backup, detail=finding.detail)

    def start(self, held: Callable[[], object] = lambda: None) -> None:
        """Looks by itself in a thread, unless `held`. `ConfigError` when the place cannot be used."""
        self._held = held
        if self.is_on:
            self._place = place_of(self._settings)
            if self._config.encrypt is not None:
                check_recipients(self._config.encrypt.recipients)
            self._looking.start()

    def stop(self) -> None:
        """A backup under way is left to the next start, which goes on with it."""
        self._looking.stop()
        if self._place is not None:
            self._place.close()

    def _look_by_itself(self) -> None:
        if not self._held():
            self.look()


def check(
    vault: Vault, numbers: Sequence[int] | None, journals: Journals | None, at_least: int, now_ns: int,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[list[Checked], list[Finding]]:  # fmt: skip
    """Reads backups back (default: the newest), looks whether any is missing, and remembers it there."""
    whole = list(check_catalogue(vault.catalogue, at_least))
    verifier, checked = Verifier(vault, journals, tell), []
    for number in list(vault.catalogue.names())[-1:] if numbers is None else numbers:
        try:
            checked.append(verifier.check(vault.catalogue.read(number)))
        except Damaged as error:
            checked.append(Checked(number, 0, findings=[Finding(number, "", str(error))]))
    if not isinstance(vault.place, TarPlace):
        settle(vault.catalogue, checked, now_ns)
    return checked, whole


def _all_findings(checked: Sequence[Checked], whole: Sequence[Finding]) -> Iterator[Finding]:
    for item in checked:
        yield from item.findings
    yield from whole


# ---------------------------------------------------------------------- restoring


def restore(
    vault: Vault, to: str, clock: Clock, *, number: int | None = None, until_ns: int | None = None,
    author: str = _AUTHOR, tell: Callable[[str], None] = lambda _: None,
) -> tuple[Manifest, Restored]:  # fmt: skip
    """Backup `number` as a store: an empty folder, or azure:CONNECTION/PREFIX.

    Default: the newest; where retention had removed what was known at `until_ns`, the first made after that.
    """
    manifest = vault.catalogue.newest() if number is None else vault.catalogue.read(number)
    if manifest is None:
        raise InputError(f"there is no backup in {vault.place!r}")

    def waited(name: str) -> bool:
        came = name.rpartition("/")[2].partition("-")[0]
        return until_ns is None or not came.isdecimal() or int(came) <= until_ns

    wish = Wish(manifest, until_ns, waited, () if until_ns is None else _older(vault, manifest), tell)
    if until_ns is not None and number is None:
        try:
            planned(vault, wish)
        except Removed:
            first = [item for item in wish.older if item.time_ns >= until_ns][-1:]
            if not first:
                raise
            wish = replace(wish, manifest=first[0], older=_older(vault, first[0]))
    with _target(to) as storage:
        restored = restore_backup(vault, wish, storage)
        _note_restored(storage, clock, wish, restored, author)
    return wish.manifest, restored


def _older(vault: Vault, manifest: Manifest) -> list[Manifest]:
    """Those that can be read, newest first."""
    found = []
    for number in sorted(vault.catalogue.names(), reverse=True):
        if number < manifest.number:
            try:
                older = vault.catalogue.read(number)
                vault.body(older)
            except (Damaged, InputError):
                continue
            found.append(older)
    return found


def _note_restored(storage: Storage, clock: Clock, wish: Wish, restored: Restored, author: str) -> None:
    journal = Journals(storage, worker="restore").open(OPERATIONS, "operations")
    body: Mapping[str, Any] = {
        "author": author, "number": wish.manifest.number, "backup": wish.manifest.file,
        "store": wish.manifest.store, "until_ns": wish.until_ns, "digest": restored.digest,
        "cut": dict(restored.cut),
    }  # fmt: skip
    last = journal.head().position
    newest = journal.entry(last).record if last else None
    if not isinstance(newest, Note) or newest.body != body:  # not twice, by who goes on with it
        operate.append(journal, [Note(kind="restore", time_ns=clock.now_ns(), body=body)])


@contextmanager
def _target(to: str) -> Iterator[Storage]:
    """An empty store; whoever would run on it before it is whole is told so."""
    if to.startswith(_AZURE):
        from observer_core.storage.azure import AzureStorage

        connection, _, prefix = to.removeprefix(_AZURE).partition("/")
        values = configured.connection_values(connection)
        remote = AzureStorage.connect(values, name=connection, prefix=prefix)
        try:
            yield remote
            finish(remote)
        finally:
            remote.close()
        return
    folder = Path(to)
    mark = folder / RESTORING
    with os_errors(f"restore to {folder}"):
        make_directories(folder.absolute(), durable=True)
        if not mark.exists():
            ours = ("lost+found", f".{RESTORING}.")  # and a mark that was not written whole
            if any(not path.name.startswith(ours) for path in folder.iterdir()):
                raise InputError(
                    f"{folder} is not empty; a backup is restored into an empty folder, never over data"
                )
            text = b"observer backup restore is not finished; run it again\n"
            LocalBlobs(folder, "full").put(RESTORING, text)
    # Synced journal by journal, and as a whole at the end.
    storage = LocalStorage(folder, durability="normal")
    try:
        yield storage
        storage.segments.sync()
        storage.checkpoint()
        with os_errors(f"restore to {folder}"):
            sync_directory(folder)
            mark.unlink()
            sync_directory(folder)
        # Last: with the mark and without these rows, it would be somebody else's data.
        finish(storage)
    finally:
        storage.close()
