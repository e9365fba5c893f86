"""What is cited is what a slow walk over everything finds, however the index came about."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from observer_core.retention.citations import PARTITION, Citations
from observer_core.shared.canonical import decode
from observer_core.shared.records import Evaluation
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from tests.support.ageing import HOURS, Market, copied
from tests.unit.retention.conftest import Aged

KINDS = ("decisions", "gate", "events", "commands", "feedback")
TRACKED = ("snapshots.one", "snapshots.two", "patterns.one", "events.live", "decisions.live")


def oracle(journals: Journals) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """From every record of the citing journals to everything that it leads to."""
    lines: dict[str, set[int]] = defaultdict(set)
    points: dict[str, set[int]] = defaultdict(set)
    todo = [
        (name, position)
        for name in journals.names()
        if name.partition(".")[0] in KINDS
        for position in range(1, journals.open(name).head().position + 1)
    ]
    seen: set[tuple[str, int]] = set()
    while todo:
        name, position = todo.pop()
        if (name, position) in seen:
            continue
        seen.add((name, position))
        record = journals.open(name).entry(position).record
        text = record.encode(0).decode()
        cited = [(journal, int(at)) for journal, at in re.findall(r'"([a-z]+\.[a-z]+)@(\d+)"', text)]
        if isinstance(record, Evaluation):
            for journal, at in record.rests.items():
                points[journal].add(at)
                named = {f"snapshots.{reason.get('source')}" for reason in record.reasons}
                if journal in named:
                    cited.append((journal, at))
        for journal, at in cited:
            lines[journal].add(at)
            if not journal.startswith(("snapshots.", "clock.")):
                todo.append((journal, at))
    return lines, points


def found(index: Citations, kind: str) -> dict[str, set[int]]:
    return {name: set(getattr(index, kind)(name).tolist()) for name in TRACKED}


def made(market: Market) -> Citations:
    index = Citations(market.journals, KINDS, TRACKED)
    index.bring_forward()
    return index


def agrees(index: Citations, journals: Journals) -> bool:
    lines, points = oracle(journals)
    assert sum(map(len, lines.values())) > 20
    wanted = ({name: of[name] for name in TRACKED} for of in (lines, points))
    return [found(index, "lines"), found(index, "points")] == list(wanted)


def test_what_is_cited_many_steps_away_is_found(aged: Aged) -> None:
    market = aged()
    index = made(market)
    assert agrees(index, market.journals)
    ids = re.findall(rb'"block":"([0-9a-f]{32})"', b"".join(raw(market, "decisions.live")))
    assert ids
    assert index.ids >= set(ids)


def raw(market: Market, name: str) -> list[bytes]:
    return [line for _, lines in market.journals.open(name).raw() for line in lines]


def test_it_is_kept_and_brought_forward(aged: Aged) -> None:
    market = aged()
    made(market).save()
    market.live(80)
    again = Citations(market.journals, KINDS, TRACKED)
    assert len(again.lines("snapshots.one")) > 0  # as it was kept
    again.bring_forward()
    assert agrees(again, market.journals)
    again.save()
    blobs = [name for name in market.storage.blobs.list() if name.startswith(PARTITION)]
    assert len(blobs) == 1


@pytest.mark.parametrize("why", ["other journals", "other kinds", "gone", "rewritten"])
def test_one_that_does_not_fit_is_made_anew(aged: Aged, why: str) -> None:
    market = aged()
    made(market).save()
    journals, kinds, tracked = market.journals, KINDS, TRACKED
    if why == "other journals":
        tracked = (*TRACKED, "patterns.two")
    elif why == "other kinds":
        kinds = ("decisions",)
    elif why == "gone":
        row = market.storage.tables.get(PARTITION, "citations")
        assert row is not None
        market.storage.blobs.delete(decode(row.value)["blob"])
    else:
        other = Market(market.settings.paths.root, MemoryStorage())
        other.live(40)  # the same first hours, but the journals end before the index does
        for key, data in market.storage.blobs.data.items():
            other.storage.blobs.put(key, data)
        other.storage.tables.data[PARTITION] = market.storage.tables.data[PARTITION]
        other.storage.tables._keys[PARTITION] = ["citations"]
        journals = other.journals
    index = Citations(journals, kinds, tracked)
    assert len(index.lines("snapshots.one")) == 0
    index.bring_forward()
    assert len(index.lines("snapshots.one")) > 0


def test_it_is_the_same_when_it_is_made_anew_after_removals(aged: Aged) -> None:
    market = aged()
    market.retain()
    kept = {name: market.journals.open(name).base().position for name in TRACKED}
    tracked = [name for name, term in market.retention().terms().items() if term.keep_ns is not None]
    known = Citations(market.journals, market.settings.retention.cited_by, tracked)
    assert len(known.lines("snapshots.one")) > 0
    again = Market(market.settings.paths.root, copied(market.storage), HOURS)
    del again.storage.tables.data[PARTITION]
    again.storage.tables._keys[PARTITION] = []
    fresh = Citations(again.journals, again.settings.retention.cited_by, tracked)
    fresh.bring_forward()
    for name in TRACKED:
        after = {at for at in known.lines(name).tolist() if at > kept[name]}
        assert set(fresh.lines(name).tolist()) == after
