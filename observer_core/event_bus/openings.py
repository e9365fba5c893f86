"""When patterns open an incident, or keep it going: when more came together than chance brings.

Of a source with many series some series always has an alarm: one of 38 metrics that jumps for a
minute wakes nobody. Guarantee: where the alarms of a venue are independent of one another, at most about
`chance` incidents a day (1) open by coincidence in each of the two ways below, for each class of
patterns; a rare alarm opens one alone.

    usual      a day's alarms of that severity: moments with one, yesterday and today, this one included,
               but without those that were more than chance by their company: they were trouble
    needed     the least k with usual · (usual · window)^(k−1) / (k−1)! ≤ chance
               and never more than a third of the witnesses that ever had an alarm
    opens      as many witnesses within the window as are needed at `critical`;
               or at the bar, if those of any severity are as many as are needed of these too

So an alarm of the bar once a day or less opens one alone; in a venue where 20 moments a day have
one and 80 have any, two witnesses at the bar and four in all within three minutes do. A source of up
to five series has one witness at most: each alarm at the bar opens one. Nothing is lost: what opens
none is an event all the same, waits for company for the window, and is taken in when that comes.

Classes are counted apart, so that a noisy metric does not hide a feed that died: moves of a market
and conditions, whose witnesses are subjects (bid and ask of one pair are one witness), and everything
else, where each series is one. What speaks of a whole source needs no witness but itself.

Alarms falsely where series move together for reasons that are no trouble (they count as several
witnesses), in the first days, when little is known to be usual (two to six incidents), and where every
minute has its alarms (10,000 series: three a day). Is blind to one series alone that has the same
alarm, no stronger, for the second time in a day, in a venue of many.

Source: the coincidence rate of Poisson counts (Naus, "Approximations for distributions of scan
statistics", JASA 77, 1982, to first order).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND
from observer_core.shared.records import SEVERITIES, Json, PatternRecord

PatternClass = Literal["condition", "move", "other"]
CLASSES: tuple[PatternClass, ...] = ("condition", "move", "other")
Key = tuple[str, str, str, str]
"""A condition: its pattern, and the series that it holds of."""
_DAY_NS = 86_400 * SECOND
_CRITICAL = SEVERITIES.index("critical")
_KNOWN = 60
_RECENT = 500


@dataclass(slots=True)
class Waiting:
    """A pattern of the present. `begun`: its conditions that still stand. `taken`: it is in an incident."""

    ref: str
    time_ns: int
    pattern: PatternRecord
    begun: set[Key]
    taken: bool = False

    def dump(self) -> Json:
        return {
            "ref": self.ref, "time_ns": self.time_ns, "pattern": decode(self.pattern.encode(0)),
            "begun": sorted(self.begun), "taken": self.taken,
        }  # fmt: skip

    @staticmethod
    def load(value: Json) -> Waiting:
        begun = {(kind, source, subject, name) for kind, source, subject, name in value["begun"]}
        pattern = PatternRecord.decode(value["pattern"])
        return Waiting(value["ref"], value["time_ns"], pattern, begun, value["taken"])


@dataclass(slots=True)
class Watch:
    """What a venue has shown of one class of patterns.

    `today` and `yesterday` count the moments with a pattern of at least each severity, `last_ns`
    holds the last such moments. `recent`: what came within the window of the last pattern. `known` has
    at most 60 witnesses: more need not be told apart.
    """

    by_subject: bool
    since_ns: int
    day: int = 0
    today: list[int] = field(default_factory=lambda: [0, 0, 0])
    yesterday: list[int] = field(default_factory=lambda: [0, 0, 0])
    last_ns: list[int] = field(default_factory=lambda: [-1, -1, -1])
    known: set[str] = field(default_factory=set)
    recent: list[Waiting] = field(default_factory=list)

    def meet(self, pattern: PatternRecord) -> None:
        """Remembers who can be a witness, whether or not this belongs to an incident."""
        for series in pattern.series:
            if len(self.known) >= _KNOWN:
                break
            self.known.add(" ".join(series[: 2 if self.by_subject else 3]))

    def add(self, new: Waiting, window_ns: int, bar: int, chance: float) -> bool:
        """One more pattern. Whether what came within the window is more than chance brings."""
        now_ns, record = new.time_ns, new.pattern
        self._turn(now_ns)
        onset = {name: value for name, value in record.evidence.items() if name == "onset_ns"}
        kept = [item for item in self.recent if item.time_ns >= now_ns - window_ns]
        new.pattern = replace(record, evidence=onset)
        self.recent = [*kept[-_RECENT + 1 :], new]
        ranks = range(SEVERITIES.index(record.severity) + 1)
        counted = [rank for rank in ranks if self.last_ns[rank] != now_ns]
        for rank in counted:
            self.today[rank] += 1
        unusual, together = self._judge(bar, now_ns, window_ns / _DAY_NS, chance)
        for rank in counted:
            if together:
                self.today[rank] -= 1
            else:
                self.last_ns[rank] = now_ns
        return unusual

    def waiting(self, now_ns: int, window_ns: int) -> list[Waiting]:
        return [item for item in self.recent if not item.taken and item.time_ns >= now_ns - window_ns]

    def _judge(self, bar: int, now_ns: int, share: float, chance: float) -> tuple[bool, bool]:
        """Whether this is unusual, and whether its company makes it so."""
        for ranks in ((_CRITICAL,), (bar, 0)):
            needed = [self._needed(rank, now_ns, share, chance) for rank in ranks]
            if all(map(self._are_there, needed, ranks)):
                return True, max(needed) > 1
        return False, False

    def _are_there(self, needed: int, rank: int) -> bool:
        """Whether there are so many witnesses of at least that severity."""
        depth, found = 2 if self.by_subject else 3, set[tuple[str, ...]]()
        for item in self.recent:
            if SEVERITIES.index(item.pattern.severity) >= rank:
                for series in item.pattern.series:
                    found.add(series[:depth])
                    if len(found) >= needed:
                        return True
        return False

    def _needed(self, rank: int, now_ns: int, share: float, chance: float) -> int:
        began_ns = max(self.since_ns, (self.day - 1) * _DAY_NS)
        days = max(1.0, (now_ns - began_ns) / _DAY_NS)
        usual = (self.today[rank] + self.yesterday[rank]) / days
        needed, coincidences, most = 1, usual, max(1, len(self.known) // 3)
        while coincidences > chance and needed < most:
            coincidences *= usual * share / needed
            needed += 1
        return needed

    def _turn(self, now_ns: int) -> None:
        day = now_ns // _DAY_NS
        if day != self.day:
            self.yesterday = self.today if day == self.day + 1 else [0, 0, 0]
            self.today, self.day = [0, 0, 0], day

    def dump(self) -> Json:
        plain: Json = {name: getattr(self, name) for name in _PLAIN}
        return {
            **plain, "known": sorted(self.known), "recent": [item.dump() for item in self.recent]
        }  # fmt: skip

    @staticmethod
    def load(value: Json) -> Watch:
        plain = {name: value[name] for name in _PLAIN}
        return Watch(
            **plain, known=set(value["known"]), recent=[Waiting.load(item) for item in value["recent"]]
        )  # fmt: skip


_PLAIN = ("by_subject", "since_ns", "day", "today", "yesterday", "last_ns")


def waiting(watches: Iterable[Watch], now_ns: int, window_ns: int) -> list[Waiting]:
    """What waits in any of them, in order of time."""
    found = [item for watch in watches for item in watch.waiting(now_ns, window_ns)]
    return sorted(found, key=lambda item: (item.time_ns, item.ref))
