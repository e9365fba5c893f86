"""Receipts for allows: signed with the configured key, verified with any that is trusted.

`Permits.permit_for(ref)` is what the gate calls once an allow is recorded; it may be
called from any thread. It adds nothing to the record: everything in a receipt follows from the
evaluation, the journals that it rests on, and the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from observer_core.decision_pipeline.permits import Permit, Receipt, Rest, assembled, taken_apart, unsigned
from observer_core.runtime import settings as configured
from observer_core.runtime.settings import Settings
from observer_core.safety.signing import PublicKey, SigningKey, read_key_file
from observer_core.shared.errors import InputError, JournalError, NotFound, StorageError
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import Evaluation
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import commit_hashes, hash_at, row_at

_REMEMBERED: Final = 8192


def signing_key(settings: Settings) -> SigningKey | None:
    """The key that `[permits]` names; None when it names none, `ConfigError` when that cannot be used."""
    config = settings.permits
    if config.key is not None:
        where = f"the environment's {config.key.env}, which [permits] names as its key"
        return SigningKey.read(configured.secret(config.key.env), where)
    if config.key_file is not None:
        return read_key_file(settings.paths.root / config.key_file)
    return None


def read_public(path: Path) -> list[PublicKey]:
    """The public keys of a file; `InputError` when it has none."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"the public key {path} cannot be read: {reason}") from None
    return PublicKey.read(text, str(path))


def trusted_keys(settings: Settings, more: Iterable[Path] = ()) -> dict[str, PublicKey]:
    """By id: the keys of `more`; without them that of the configuration and those it trusts."""
    given = list(more)
    found = [key for path in given for key in read_public(path)]
    if not given:
        own = signing_key(settings)
        found = [] if own is None else [own.public]
        for path in settings.permits.trusted:
            found += read_public(settings.paths.root / path)
    return {key.id: key for key in found}


class Permits:
    """Signs receipts. Its key is read once, when it is made."""

    def __init__(self, journals: Journals, key: SigningKey, lifetime_ns: int) -> None:
        self._journals, self._key, self._lifetime_ns = journals, key, lifetime_ns
        # Of what is committed: it does not change, and many allows rest on the same.
        self._rests: dict[tuple[str, int], Rest] = {}
        self._policies: Callable[[str, int], tuple[int, str]] = lru_cache(maxsize=64)(self._read_policies)

    @staticmethod
    def of(settings: Settings, journals: Journals) -> Permits | None:
        """None without a key in `[permits]`; `ConfigError` when there is one that cannot be used."""
        key = signing_key(settings)
        return None if key is None else Permits(journals, key, settings.permits.lifetime)

    def __repr__(self) -> str:
        return f"Permits({self._key!r})"

    def permit_for(self, ref: str, record: Evaluation | None = None) -> str:
        """The receipt for a recorded allow (`gate.live@17`), a JWS in compact form.

        `record` saves reading it. `InputError` for a denial; `StorageError` when what it rests
        on cannot be read: then there is no receipt.
        """
        name, position = parse_ref(ref)
        if record is None:
            record = _evaluation(self._journals, ref)
        rests = {journal: self._rest(journal, at) for journal, at in record.rests.items()}
        rests[name] = self._rest(name, position)
        domain = name.partition(".")[2]
        decisions = f"decisions.{domain}"
        epoch, policies = self._policies(decisions, record.rests.get(decisions, 0))
        permit = Permit.of(record, ref, domain, rests, self._lifetime_ns, epoch, policies)
        signed = unsigned(permit, self._key.id)
        return assembled(signed, self._key.sign(signed))

    def _rest(self, journal: str, position: int) -> Rest:
        found = self._rests.get((journal, position))
        if found is None:
            hashes = commit_hashes(self._journals.open(journal), position)
            rests = {(journal, at): Rest(at, digest.hex()) for at, digest in hashes}
            if len(self._rests) >= _REMEMBERED:
                self._rests = {}
            self._rests.update(rests)
            found = rests[journal, position]
        return found

    def _read_policies(self, decisions: str, position: int) -> tuple[int, str]:
        if not position:
            return 0, ""
        journal = self._journals.open(decisions)
        epoch = row_at(journal, position).epoch
        row = journal.epoch_row(epoch)
        return epoch, "" if row is None else str(row["identity"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a receipt. `permit` is None while nothing of it may be believed.

    `signature` and `time` are why it fails, None where it does not; `data` what is not as it says in
    the journals, None when they were not asked.
    """

    key: str
    permit: Permit | None
    signature: str | None = None
    time: str | None = None
    data: tuple[str, ...] | None = None

    @property
    def holds(self) -> bool:
        return self.permit is not None and self.signature is None and self.time is None and not self.data


def verify(
    text: str, keys: Mapping[str, PublicKey], at_ns: int | None, journals: Journals | None = None
) -> Verdict:
    """Is it ours, does it hold at `at_ns` (None: not asked), is what it rests on in the journals?

    `InputError` for a text that is no receipt.
    """
    receipt = taken_apart(text)
    signature = _signature(receipt, keys)
    if signature is not None:
        return Verdict(receipt.key, None, signature)
    permit = Permit.read(receipt.claims)
    lapse = None if at_ns is None else permit.lapse(at_ns)
    data = None if journals is None else tuple(_differences(permit, journals))
    return Verdict(receipt.key, permit, None, lapse, data)


def _signature(receipt: Receipt, keys: Mapping[str, PublicKey]) -> str | None:
    key = keys.get(receipt.key)
    if key is None:
        known = ", ".join(sorted(keys)) or "none"
        return f"it is signed with key {receipt.key[:64]}, which is not trusted; trusted are: {known}"
    if not key.verifies(receipt.signature, receipt.signed):
        return f"the signature is not that of key {key.id}: the receipt was changed, or never signed with it"
    return None


def _differences(permit: Permit, journals: Journals) -> Iterable[str]:
    for name, rest in permit.rests.items():
        if journals.domain_of(name) is None:
            yield f"there is no journal {name!r} here"
            continue
        try:
            found = hash_at(journals.open(name), rest.position).hex()
        except NotFound:
            end = journals.open(name).head().position
            yield f"{name} ends at position {end}; the receipt rests on {rest.position}"
            continue
        except JournalError as error:
            yield str(error)
            continue
        if found != rest.hash:
            yield (
                f"{name} has {found[:16]} at position {rest.position}, the receipt {rest.hash[:16]}: one of "
                "the two was written anew"
            )
    try:
        record = _evaluation(journals, permit.answer)
    except (InputError, StorageError, JournalError) as error:
        yield f"{permit.answer}: {error}"
        return
    said = (record.verdict, record.caller, record.action, record.resource, record.time_ns)
    if said != ("allow", permit.caller, permit.action, permit.resource, permit.issued_ns):
        yield f"{permit.answer} is not the answer that the receipt speaks of"


def _evaluation(journals: Journals, ref: str) -> Evaluation:
    try:
        name, position = parse_ref(ref)
    except ValueError as error:
        raise InputError(str(error)) from None
    entries = journals.open(name).read(position - 1, 1)
    record = entries[0].record if entries else None
    if not isinstance(record, Evaluation):
        raise InputError(f"{ref} is no answer of the gate")
    return record
