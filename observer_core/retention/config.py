"""`[retention]`: how long records are kept. Without a rule everything is, forever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from observer_core.shared.clock import SECOND, format_duration
from observer_core.shared.config import Config, DurationNs

DAY_NS: Final = 86_400 * SECOND
FIVE_YEARS_NS: Final = 1826 * DAY_NS
FLOORED: Final = frozenset(("decisions", "gate", "events", "commands", "clock", "operations", "ledger"))
"""Kinds of journals that say what was decided, and what it is computed from: never kept for less."""
_LEAST_NS: Final = DAY_NS


def _long_enough(value: int | str) -> int | str:
    if isinstance(value, int) and value < _LEAST_NS:
        raise ValueError('a day is the least; "forever" keeps everything')
    return value


Glob = Annotated[str, Field(min_length=1)]


class RetentionRule(Config):
    """What fits all of its globs is kept for `keep`, by the time of its domain."""

    journals: Glob = "*"
    source: Glob = "*"
    domain: Glob = "*"
    keep: Annotated[Literal["forever"] | DurationNs, AfterValidator(_long_enough)]

    def fits(self, journal: str, domain: str) -> bool:
        kind, _, name = journal.partition(".")
        if self.source != "*" and not (kind in ("snapshots", "patterns") and fnmatchcase(name, self.source)):
            return False
        return fnmatchcase(journal, self.journals) and fnmatchcase(domain, self.domain)

    @property
    def text(self) -> str:
        """As it is told and recorded."""
        globs = ["all journals" if self.journals == "*" else self.journals]
        more = {"source": self.source, "domain": self.domain}
        globs += [f"{what} {glob}" for what, glob in more.items() if glob != "*"]
        return f"{', '.join(globs)}: {_spelled(self.keep)}"


class RetentionConfig(Config):
    """The first `rule` that fits a journal counts.

    `decisions_floor`: `FLOORED` journals are kept for so long whatever a rule says. `every`: so often by
    itself; `0s` never. `only_backed_up`: nothing goes that no backup has; left out, it is so where backups
    are configured. `cited_by`: what journals of these kinds cite is kept out of what goes.
    """

    rule: tuple[RetentionRule, ...] = ()
    decisions_floor: Annotated[DurationNs, Field(ge=0)] = FIVE_YEARS_NS
    every: Annotated[DurationNs, Field(ge=0)] = DAY_NS
    only_backed_up: bool | None = None
    cited_by: tuple[Literal["decisions", "gate", "events", "commands", "feedback"], ...] = (
        "decisions", "gate", "events", "commands", "feedback",
    )  # fmt: skip

    @property
    def warning(self) -> str | None:
        """What whoever looks at it is to be told."""
        if self.decisions_floor >= FIVE_YEARS_NS:
            return None
        return (
            f"decisions_floor is {format_duration(self.decisions_floor)}: decisions, and what they follow "
            f"from, may go before the five years ({format_duration(FIVE_YEARS_NS)}) for which most rules of "
            "markets want them kept"
        )


@dataclass(frozen=True, slots=True)
class Term:
    """How long a journal is kept; None: forever. `floor`: the floor has made it longer than its rule says."""

    keep_ns: int | None
    rule: str
    floor: bool = False


def term_of(config: RetentionConfig, journal: str, domain: str) -> Term:
    """What counts for a journal."""
    for rule in config.rule:
        if rule.fits(journal, domain):
            if rule.keep == "forever":
                return Term(None, rule.text)
            kind = journal.partition(".")[0]
            floor_ns = config.decisions_floor if kind in FLOORED else 0
            if floor_ns > rule.keep:
                return Term(floor_ns, f"{rule.text}, at least {format_duration(floor_ns)}", True)
            return Term(rule.keep, rule.text)
    return Term(None, "no rule: forever")


def shortest(terms: Sequence[Term]) -> int | None:
    """The shortest time of those that end."""
    return min((term.keep_ns for term in terms if term.keep_ns is not None), default=None)


def _spelled(keep: int | str) -> str:
    return keep if isinstance(keep, str) else format_duration(keep)
