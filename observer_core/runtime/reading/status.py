"""How every domain stands: sources, stages, what stands, what is open. Cheap enough to be asked all the time.

Heads and views come from the gate's own picture (`runtime.gate.views`), read once for all who ask. What is
needed beside them is read again only for journals that have moved since: a checkpoint changes with its
journal's head, and so does a view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from observer_core.decision_pipeline.blocking import KILL
from observer_core.decision_pipeline.gate import GateInputs
from observer_core.runtime.acts.ground import Unknown
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.gate.views import LIVE, DomainView, Picture, Views
from observer_core.runtime.reading.board import Gates
from observer_core.runtime.settings import Settings
from observer_core.runtime.source_kinds import DerivedSourceConfig
from observer_core.shared.records import Json
from observer_core.storage.journals import Journals
from observer_core.storage.rows import Head

_QUARANTINED: Final = "quarantined."


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainState:
    """One domain. `sources` are `models.SourceStatus` with the names of those that are `stale`, `stages`
    `models.StageStatus`, `incidents` and `silences` as the views have them.
    """

    view: DomainView
    now_ns: int
    sources: list[Json]
    stages: list[Json]
    incidents: list[Json]
    silences: list[Json]
    quarantined: list[str]
    positions: dict[str, int]

    @property
    def blocks(self) -> list[Json]:
        """Those that stand, with their scope."""
        found = sorted(self.view.inputs.blocks.items())
        return [{"scope": scope, **entry} for scope, entries in found for entry in entries]

    @property
    def overrides(self) -> list[Json]:
        return list(self._control.get("overrides", ()))

    @property
    def requests(self) -> list[Json]:
        return list(self._control.get("requests", ()))

    @property
    def _control(self) -> Json:
        found: Json = self.view.rows.get(f"decisions.{self.view.name}", {}).get("control", {})
        return found

    def to_json(self, gates: Gates) -> Json:
        """`models.DomainStatus`."""
        blocks = self.blocks
        return {
            "domain": self.view.name, "mode": "live" if self.view.live else "recorded",
            "now_ns": self.now_ns, "risk": self.view.inputs.risk.get("overall", "unknown"),
            "killed": [block["scope"] for block in blocks if block["policy"] == KILL],
            "gate": gates.counts(self.view, self.now_ns), "incidents": len(self.incidents),
            "blocks": len(blocks), "requests": len(self.requests), "silences": len(self.silences),
            "quarantined": len(self.quarantined), "positions": self.positions,
            "sources": [shown(source) for source in self.sources], "stages": self.stages,
        }  # fmt: skip


def shown(source: Json) -> Json:
    """`models.SourceStatus`: who is silent is counted, not named."""
    counted = {name: value for name, value in source.items() if name != "stale"}
    return {**counted, "stale_subjects": len(source["stale"])}


class States:
    """Reads how the domains stand. Safe from any thread: what is kept is replaced, never changed."""

    def __init__(self, journals: Journals, settings: Settings, gate: Gate, views: Views) -> None:
        self._journals, self._settings, self._gate, self._views = journals, settings, gate, views
        self._rows: dict[tuple[str, str], tuple[str, Json]] = {}

    def of(self, asked: str | None) -> DomainState:
        """The domain that is asked for, or the first there is; `Unknown` when there is none of the name."""
        picture = self._views.current()
        name = domain_named(picture, self._settings, asked)
        return self._state(picture.domains.get(name) or _empty(name), ())

    def read(self, *, configured: bool = False) -> list[DomainState]:
        """All domains with sources, live first.

        `configured`: with the sources, and their domains, that have never given data: that nothing is known
        of them must show.
        """
        views = list(self._views.current().domains.values())
        if not configured:
            return [self._state(view, ()) for view in views]
        expected: dict[str, list[str]] = {}
        for item in self._settings.source:
            expected.setdefault(item.domain, []).extend(self._settings.parts_of(item.name))
        views += [_empty(domain) for domain in expected.keys() - {view.name for view in views}]
        views.sort(key=lambda view: (view.name != LIVE, view.name))
        return [self._state(view, expected.get(view.name, ())) for view in views]

    def _state(self, view: DomainView, expected: Sequence[str]) -> DomainState:
        now_ns, domain, heads = self._views.now_ns(view), view.name, dict(view.heads)
        for name in (f"commands.{domain}", f"routes.{domain}") if heads else ():
            heads[name] = self._journals.open(name).head()
        stages = self._stages(view, heads, now_ns)
        routes = self._views_of(f"routes.{domain}", heads)
        events = self._views_of(f"events.{domain}", heads)
        missing = [name for name in expected if f"snapshots.{name}" not in heads]
        return DomainState(
            view=view, now_ns=now_ns, stages=stages,
            sources=[self._source(view, name, now_ns) for name in (*view.sources, *missing)],
            incidents=events.get("incidents", {}).get("open", []),
            silences=routes.get("silences", {}).get("silences", []),
            quarantined=[
                key.removeprefix(_QUARANTINED)
                for journal in sorted({stage["journal"] for stage in stages})
                for key in (view.rows[journal] if journal in view.rows else self._views_of(journal, heads))
                if key.startswith(_QUARANTINED)
            ],
            positions={name: head.position for name, head in heads.items()},
        )  # fmt: skip

    def _source(self, view: DomainView, name: str, now_ns: int) -> Json:
        head, rows = view.heads.get(f"snapshots.{name}", Head()), view.rows.get(f"patterns.{name}", {})
        feed, item, limit_ns = rows.get("feed", {}), self._settings.source_of(name), self._max_age(view, name)
        status = feed.get("status", "unknown") if head.position else "unknown"
        age_ns = now_ns - head.time_ns if head.position else None
        return {
            "source": name, "kind": None if item is None else item.kind,
            "status": "stale" if status == "ok" and age_ns is not None and age_ns > limit_ns else status,
            "error": feed.get("error"), "position": head.position,
            "newest_ns": head.time_ns if head.position else None, "age_ns": age_ns, "max_age_ns": limit_ns,
            "subjects": len(rows.get("subjects", {}).get("subjects", ())),
            "stale": list(feed.get("stale", ())),
        }  # fmt: skip

    def _max_age(self, view: DomainView, name: str) -> int:
        """As the gate takes it; of those that the gate does not ask, as it would."""
        known = (source.max_age_ns for source in view.inputs.sources if source.name == name)
        found = next(known, None)
        return self._gate.max_age_ns(name) if found is None else found

    def _stages(self, view: DomainView, heads: Mapping[str, Head], now_ns: int) -> list[Json]:
        if not heads:
            return []
        domain, sources, max_lag_ns = view.name, view.sources, self._settings.max_lag
        events, commands = f"events.{domain}", f"commands.{domain}"
        wired: list[tuple[str, str, list[str], int]] = [
            (f"recognise {name}", f"patterns.{name}", [f"snapshots.{name}"], self._max_age(view, name))
            for name in sources
        ]
        for item in self._settings.source:
            if isinstance(item, DerivedSourceConfig) and item.domain == domain:
                inputs = [f"snapshots.{source}" for source in self._settings.inputs_of(item.name)]
                limit_ns = self._max_age(view, item.name)
                wired.append((f"derive {item.name}", f"snapshots.{item.name}", inputs, limit_ns))
        wired.append(("publish", events, [f"patterns.{name}" for name in sources], max_lag_ns))
        wired.append(("decide", f"decisions.{domain}", [events, commands], max_lag_ns))
        if heads[f"routes.{domain}"].etag:
            inputs = [events, f"decisions.{domain}", commands]
            wired.append(("route", f"routes.{domain}", inputs, max_lag_ns))
        return [self._stage(*stage, heads, now_ns) for stage in wired]

    def _stage(
        self, name: str, output: str, inputs: Sequence[str], max_lag_ns: int, heads: Mapping[str, Head],
        now_ns: int,
    ) -> Json:  # fmt: skip
        head = self._head(output, heads)
        checkpoints = self._of("c.", output, head, self._journals.open(output).checkpoints)
        behind = 0
        for item in inputs:  # a checkpoint may be read after a head that it is ahead of
            passed = checkpoints.get(item, {"position": 0})["position"]
            behind += max(0, self._head(item, heads).position - passed)
        return {
            "stage": name, "journal": output, "position": head.position, "epoch": head.epoch,
            "through_ns": head.through_ns or None, "max_lag_ns": max_lag_ns, "behind": behind,
            "lag_ns": max(0, now_ns - head.through_ns) if head.through_ns else None,
        }  # fmt: skip

    def _head(self, journal: str, heads: Mapping[str, Head]) -> Head:
        return heads.get(journal) or self._journals.open(journal).head()

    def _views_of(self, journal: str, heads: Mapping[str, Head]) -> Json:
        return self._of("v.", journal, self._head(journal, heads), self._journals.open(journal).views)

    def _of(self, prefix: str, journal: str, head: Head, read: Callable[[], Any]) -> Json:
        """Rows of a journal as they were at its head, or a little later."""
        kept = self._rows.get((prefix, journal))
        if kept is None or kept[0] != head.etag:
            kept = self._rows[prefix, journal] = head.etag, read() if head.etag else {}
        return kept[1]


def _empty(domain: str) -> DomainView:
    """A domain that is configured, and no more."""
    return DomainView(domain, domain == LIVE, GateInputs(sources=(), stages=()), {}, 0, {}, {})


def domain_named(picture: Picture, settings: Settings, asked: str | None) -> str:
    """The domain that is asked for, or the first there is (live, where there is none at all).

    `Unknown` for one that nobody writes and nothing configures.
    """
    known = {*picture.domains, *(item.domain for item in settings.source)}
    names = sorted(known, key=lambda name: (name != LIVE, name)) or [LIVE]
    if asked is None:
        return names[0]
    if asked not in names:
        raise Unknown(f"there is no domain {asked!r}; known are {', '.join(names)}")
    return asked
