"""What stays and what goes: never a content that a backup needs, and nothing before its time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.backup.config import KeepConfig
from observer_core.backup.creating import OutOfTime
from observer_core.backup.keeping import kept, prune
from observer_core.backup.manifest import Catalogue
from observer_core.backup.objects import Damaged
from observer_core.backup.vault import Vault
from observer_core.backup.verifying import Verifier, check_catalogue
from observer_core.shared.clock import SECOND
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from tests.support.toys import START_NS, Chain, feed
from tests.support.vaults import MemoryPlace, back_up, bring_back, everything

HOUR_NS = 3600 * SECOND
DAY_NS = 24 * HOUR_NS
LAST = KeepConfig(last=1, daily=0, weekly=0, monthly=0, yearly=0)


def test_the_policy_names_the_newest_of_each_period() -> None:
    times = {number: START_NS + number * 6 * HOUR_NS for number in range(1, 401)}
    keep = KeepConfig(last=3, daily=4, weekly=3, monthly=2, yearly=0)
    # 2018-04-05 was a Thursday; the newest is of 2018-07-14, a Saturday.
    assert sorted(kept(times, keep)) == [347, 351, 379, 391, 395, 398, 399, 400]


@given(
    times=st.lists(st.integers(0, 400), min_size=1, max_size=60),
    last=st.integers(1, 5), daily=st.integers(0, 5), weekly=st.integers(0, 5),
    monthly=st.integers(0, 5), yearly=st.integers(0, 3),
)  # fmt: skip
def test_more_is_never_kept_for_less_and_the_newest_always(
    times: list[int], last: int, daily: int, weekly: int, monthly: int, yearly: int
) -> None:
    numbered = {number: START_NS + day * DAY_NS for number, day in enumerate(sorted(times), 1)}
    keep = KeepConfig(last=last, daily=daily, weekly=weekly, monthly=monthly, yearly=yearly)
    found = kept(numbered, keep)
    assert max(numbered) in found
    assert len(found) <= last + daily + weekly + monthly + yearly
    assert found <= set(numbered)
    assert found <= kept(numbered, keep.model_copy(update={"daily": daily + 1}))


@pytest.fixture
def place() -> MemoryPlace:
    """Three backups, a day apart, whose contents differ."""
    place, storage = MemoryPlace(), MemoryStorage()
    chain = Chain(storage, total=200)
    for number in range(3):
        for _ in range(12):
            chain.step()
        back_up(storage, place, time_ns=START_NS + number * DAY_NS)
    return place


def contents(place: MemoryPlace) -> set[str]:
    return {name for name in place.data if name.startswith("objects/")}


def test_a_backup_goes_and_its_contents_when_they_were_not_needed_for_long_enough(place: MemoryPlace) -> None:
    vault = Vault(place)
    before = contents(place)
    kept_one = everything(bring_back(place)[0])
    done = prune(vault, LAST, START_NS, DAY_NS)
    assert (done.backups, done.contents, done.waiting > 0) == ((1, 2), 0, True)
    assert contents(place) == before
    assert prune(vault, LAST, START_NS + DAY_NS - 1, DAY_NS).contents == 0
    later = prune(vault, LAST, START_NS + DAY_NS, DAY_NS)
    assert later.contents == done.waiting
    assert len(contents(place)) == len(before) - later.contents
    assert everything(bring_back(place)[0]) == kept_one
    assert list(check_catalogue(vault.catalogue)) == []
    assert prune(vault, LAST, START_NS + 9 * DAY_NS, DAY_NS) == prune(vault, LAST, START_NS, 0)
    assert set(vault.catalogue.verified()) == {3}


def test_a_dry_run_says_the_same_and_does_nothing(place: MemoryPlace) -> None:
    before = dict(place.data)
    told = prune(Vault(place), LAST, START_NS, 0, dry_run=True)
    assert place.data == before
    done = prune(Vault(place), LAST, START_NS, 0)
    assert told.backups == done.backups == (1, 2)


def test_what_is_needed_again_is_not_removed(place: MemoryPlace) -> None:
    """A backup that was made of an older store names contents that nobody needed for a while."""
    older, _ = bring_back(place, number=1)
    prune(Vault(place), LAST, START_NS, DAY_NS)
    back_up(older, place, time_ns=START_NS + 3 * DAY_NS)
    prune(Vault(place), LAST, START_NS + 9 * DAY_NS, DAY_NS)
    assert everything(bring_back(place)[0]) == everything(older)


def test_the_newest_that_was_found_whole_stays(place: MemoryPlace) -> None:
    catalogue = Catalogue(place)
    catalogue.unmark(3)
    catalogue.unmark(2)
    assert prune(Vault(place), LAST, START_NS, 0).backups == (2,)
    assert set(catalogue.names()) == {1, 3}


def test_what_an_unfinished_backup_has_written_stays(place: MemoryPlace) -> None:
    storage, vault = MemoryStorage(), Vault(place)
    feed(Journals(storage, worker="w"), range(5), name="commands.other")
    with pytest.raises(OutOfTime):
        back_up(storage, place, seconds=0)
    before = contents(place)
    prune(vault, KeepConfig(), START_NS, 0)
    assert contents(place) == before


def test_nothing_goes_while_nobody_can_say_what_is_needed(place: MemoryPlace) -> None:
    vault = Vault(place)
    page = vault.body(vault.catalogue.read(3)).journals["patterns.first"].pages[0].ref.name
    place.delete(f"objects/{page[:2]}/{page}")
    before = contents(place)
    with pytest.raises(Damaged, match=page):
        prune(vault, LAST, START_NS, 0)
    assert contents(place) == before


def test_what_was_damaged_of_backups_that_are_gone_is_forgotten(place: MemoryPlace) -> None:
    vault = Vault(place)
    old = vault.body(vault.catalogue.read(1)).journals["patterns.first"].pages[-1].ref.name
    needed = vault.body(vault.catalogue.read(3)).journals["patterns.first"].pages[-1].ref.name
    vault.catalogue.say_damaged([old, needed])
    prune(vault, LAST, START_NS, 0, dry_run=True)
    assert vault.catalogue.damaged() == {old, needed}
    prune(vault, LAST, START_NS, 0)
    assert vault.catalogue.damaged() == {needed}


def test_many_are_thinned_out_one_after_another(place: MemoryPlace) -> None:
    storage, vault = MemoryStorage(), Vault(MemoryPlace())
    chain = Chain(storage, total=800)
    keep = KeepConfig(last=2, daily=3, weekly=0, monthly=0)
    for number in range(60):
        chain.step()
        now = START_NS + number * 6 * HOUR_NS
        back_up(storage, vault.place, time_ns=now)  # type: ignore[arg-type]
        prune(vault, keep, now, HOUR_NS)
    assert len(vault.catalogue.names()) == 4
    assert list(check_catalogue(vault.catalogue)) == []
    verifier = Verifier(vault)
    assert not [f for n in vault.catalogue.names() for f in verifier.check(vault.catalogue.read(n)).findings]
    assert len(vault.catalogue.pruned()) < 4
