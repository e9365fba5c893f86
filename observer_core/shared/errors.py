"""The error tree.

Every error says what was expected, what came, where, and what to do. A command
line exits with 2 for each of them; `InputError` marks the ones that the user can
mend by changing what was given.
"""

from __future__ import annotations


class ObserverError(Exception):
    """Root of everything this package raises on purpose."""


class InputError(ObserverError):
    """What was given cannot be used: a file, an option, a configuration, a pushed body."""


class ConfigError(InputError):
    """A setting is missing, unknown, mistyped or contradicts another one."""


class RecordError(InputError):
    """Bytes or values that are not a valid record."""


class StateFormat(RecordError):
    """The state of a stage as another version wrote it. It can be computed again from the stage's inputs."""


class StorageError(ObserverError):
    """The storage could not do what was asked. Nothing was half done."""


class NotFound(StorageError):
    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"{what} {name!r} does not exist in this storage")
        self.what, self.name = what, name


class Pruned(NotFound):
    """It was there, and retention has removed it."""

    def __init__(self, journal: str, position: int, first: int, when: str, policy: str) -> None:
        StorageError.__init__(
            self,
            f"{journal}@{position} was removed on {when} by retention ({policy}); "
            f"{journal} is kept from position {first} on",
        )
        self.what, self.name = "entry", f"{journal}@{position}"
        self.journal, self.position, self.first = journal, position, first


class Conflict(StorageError):
    """An etag condition did not hold: somebody else wrote first. Read again, then decide."""

    def __init__(self, partition: str, key: str, found: str = "another version") -> None:
        super().__init__(
            f"row {key!r} of partition {partition!r} was expected unchanged, found {found}; "
            "another worker committed first"
        )
        self.partition, self.key = partition, key


class StorageUnavailable(StorageError):
    """The storage did not answer, or answered that it cannot now. It may or may not have acted."""


class StorageFull(StorageUnavailable):
    """No space left for bytes or rows. Free some; the Observer goes on by itself."""


class StorageCorrupt(StorageError):
    """Stored bytes are not what was stored."""


class LimitExceeded(StorageError):
    """A request is larger than every backend can take (see `storage.ports.Limits`)."""


class SegmentFull(StorageError):
    """A segment takes no more appends; continue in the next one."""


class JournalError(ObserverError):
    """A journal cannot be used as it stands."""


class ChainBroken(JournalError):
    """Stored records do not hash to what was committed."""

    def __init__(self, journal: str, position: int, fault: str, detail: str) -> None:
        super().__init__(f"journal {journal!r} is broken at position {position} ({fault}): {detail}")
        self.journal, self.position, self.fault, self.detail = journal, position, fault, detail


class EpochMoved(JournalError):
    """The journal is in an epoch that this worker does not run. It must not commit."""

    def __init__(self, journal: str, mine: int, found: int, found_version: str) -> None:
        super().__init__(
            f"journal {journal!r} is in epoch {found} (version {found_version}), this worker runs "
            f"epoch {mine}: stop it, or start it anew with the configuration of epoch {found}"
        )
        self.journal, self.mine, self.found = journal, mine, found


class DomainMismatch(JournalError):
    """Live and recorded time were asked to share a domain."""

    def __init__(self, domain: str, is_mode: str, asked: str) -> None:
        super().__init__(
            f"domain {domain!r} keeps {is_mode} time and cannot take {asked} time; "
            f"give the {asked} source a domain of its own (--domain NAME, or domain = in the config)"
        )


class Divergence(JournalError):
    """Two runs over the same input gave different bytes. This is a defect: keep the data folder."""


class DeliveryError(ObserverError):
    """A sink did not take a record. `code` is the sink's own answer where it gave one.

    `retry`: whether another attempt is worth it, `wait_ns`: not before that, if the sink said so.
    """

    def __init__(
        self, message: str, code: int | None = None, *, retry: bool = True, wait_ns: int = 0
    ) -> None:
        super().__init__(message)
        self.code, self.retry, self.wait_ns = code, retry, wait_ns
