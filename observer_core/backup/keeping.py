"""Which backups stay, and how contents go that no backup needs: not before they have been so for a while.

A backup is said to be pruned before its manifest goes, and contents go only while no manifest names them:
killed at any step, no backup that is left lacks anything, and the next run finishes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from observer_core.backup.config import KeepConfig
from observer_core.backup.manifest import Body, Unfinished
from observer_core.backup.objects import FOLDER, path_of
from observer_core.backup.place import Place
from observer_core.backup.vault import Vault
from observer_core.backup.verifying import refs_of
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import NotFound

_DOOMED: Final = "doomed.json"


@dataclass(frozen=True, slots=True)
class Pruned:
    """Which backups went (or would), how many contents with them, and how many wait for their time to go."""

    backups: tuple[int, ...]
    contents: int
    waiting: int


def kept(times: Mapping[int, int], keep: KeepConfig) -> set[int]:
    """The numbers that stay, of backups by number with the time of each."""
    newest_first = sorted(times, reverse=True)
    found = set(newest_first[: keep.last])
    for count, form in (
        (keep.daily, "%Y-%m-%d"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m"), (keep.yearly, "%Y"),
    ):  # fmt: skip
        periods: dict[str, int] = {}
        for number in newest_first:
            moment = datetime.fromtimestamp(times[number] // SECOND, UTC)
            periods.setdefault(moment.strftime(form), number)
        found.update(list(periods.values())[:count])
    return found


def prune(
    vault: Vault, keep: KeepConfig, now_ns: int, grace_ns: int, *,
    drop: Collection[int] = (), unfinished: str | None = None, dry_run: bool = False,
    step: Callable[[], None] = lambda: None,
) -> Pruned:  # fmt: skip
    """Removes backups that `keep` does not name, and what nothing has needed for `grace_ns`.

    The newest backup that was found whole stays in any case. `drop` goes, also where it cannot be read:
    without that nobody can say what such a one needs, and nothing is removed (`Damaged`). `unfinished`: the
    seal under which one was perhaps broken off, which is still to be gone on with. `step` is called before
    each removal.
    """
    place, catalogue = vault.place, vault.catalogue
    numbers = list(catalogue.names())
    manifests = {number: catalogue.read(number) for number in numbers if number not in drop}
    staying = kept({number: item.time_ns for number, item in manifests.items()}, keep)
    staying.update(sorted(catalogue.verified().keys() & manifests)[-1:])
    going = tuple(number for number in numbers if number not in staying)
    if not dry_run and going:
        step()
        catalogue.say_pruned(going)
        for number in going:
            step()
            catalogue.remove(number)
    needed: set[bytes] = set()
    pages: set[str] = set()
    bodies = [(item.seal, vault.body(item)) for number, item in manifests.items() if number in staying]
    bodies.append((unfinished, Body(Unfinished(vault.objects(unfinished)).read())))
    for seal, body in bodies:
        needed.update(map(bytes.fromhex, refs_of(body, vault.objects(seal), pages)))
    unneeded = {name for name in _names(place) if bytes.fromhex(name) not in needed}
    since = _doomed(place)
    due = sorted(name for name in unneeded if now_ns - since.get(name, now_ns) >= grace_ns)
    if dry_run:
        return Pruned(going, len(due), len(unneeded) - len(due))
    damaged = catalogue.damaged()
    still = {name for name in damaged if bytes.fromhex(name) in needed}
    if still != damaged:
        step()
        catalogue.say_damaged(still)
    left = {name: since.get(name, now_ns) for name in unneeded}
    if left != since:
        step()
        place.put(_DOOMED, encode(left))
    for name in due:
        step()
        place.delete(path_of(name))
    if due:
        step()
        gone = set(due)
        place.put(_DOOMED, encode({name: at for name, at in left.items() if name not in gone}))
    step()
    place.tidy()
    return Pruned(going, len(due), len(unneeded) - len(due))


def _names(place: Place) -> Iterator[str]:
    for path in place.list(FOLDER):
        name = path.rpartition("/")[2]
        if len(name) == 64:
            yield name


def _doomed(place: Place) -> dict[str, int]:
    """Since when each content has not been needed."""
    try:
        found: dict[str, int] = decode(place.get(_DOOMED))
    except NotFound:
        return {}
    return found
