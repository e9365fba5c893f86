"""What an act stands on: the journals, who acts, which domain is meant, and what time it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.operate import said
from observer_core.runtime.settings import Settings
from observer_core.shared.errors import InputError
from observer_core.shared.records import Json, Note
from observer_core.storage.journals import Journals
from observer_core.storage.once import Once

STAGES: Final = ("snapshots", "patterns", "events", "decisions")
LATEST_NS: Final = 2**63
_MAX_NAME, _MAX_REASON = 256, 2_000


class Unknown(InputError):
    """There is nothing of the name that was given."""


@dataclass(frozen=True, slots=True)
class By:
    """Who acts and why. `principal`: who the author was proved to be; None where nobody asks for proof."""

    author: str
    reason: str
    principal: str | None = None

    def checked(self) -> By:
        """Itself; `InputError` where it says nothing, or too much."""
        for key, words, longest in (
            ("author", self.author, _MAX_NAME), ("reason", self.reason, _MAX_REASON),
            ("principal", "-" if self.principal is None else self.principal, _MAX_NAME),
        ):  # fmt: skip
            if not words.strip():
                raise InputError(f"{key}: expected who or why in words, found {words!r}")
            if len(words) > longest:
                raise InputError(f"{key}: expected at most {longest} characters, found {len(words)}")
        return self

    def to_json(self) -> Json:
        """As records say it."""
        by = {"author": self.author, "reason": self.reason}
        return by if self.principal is None else {**by, "principal": self.principal}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The record that asks, and what it asks for in a line.

    `needs_confirmation`: nothing is done before a second person has confirmed it.
    """

    ref: str
    text: str
    domain: str
    needs_confirmation: bool = False


@dataclass(frozen=True, slots=True)
class Ground:
    """`option`: what the domain is called where it has to be given."""

    journals: Journals
    settings: Settings
    gate: Gate
    option: str = "domain"

    def domains(self, chosen: str | None = None) -> list[str]:
        """Domains with sources, live first; `Unknown` when `chosen` is not one of them."""
        known = self.gate.domains()
        if chosen is None:
            return known
        if chosen not in known:
            raise Unknown(f"there is no domain {chosen!r}; known are {', '.join(known) or 'none yet'}")
        return [chosen]

    def one_domain(self, chosen: str | None, why: str) -> str:
        """`chosen`, or the only one there is; `InputError` asks for one, because of `why`."""
        found = self.domains(chosen)
        if len(found) != 1:
            raise InputError(f"{why}; say {self.option}, one of {', '.join(found) or 'none yet'}")
        return found[0]

    def domain_of(self, scope: str, chosen: str | None) -> str:
        """The domain that a scope is of: `chosen`, or the one that observes it."""
        level, _, name = scope.partition(":")
        if level == "source" and name:
            found = self.journals.domain_of(f"snapshots.{name}")
            if found is None and chosen is None:
                known = ", ".join(n.partition(".")[2] for n in self.journals.names("snapshots"))
                raise Unknown(f"there is no source {name!r}; known are {known or 'none yet'}")
            if found is not None and chosen not in (None, found):
                raise InputError(f"source {name!r} is of domain {found}, not of {chosen}")
            return self.one_domain(found or chosen, "")
        if chosen is None and level == "subject":
            domains = [domain for domain in self.domains() if name in self.gate.subjects(domain)]
            if len(domains) == 1:
                return domains[0]
            why = "several domains observe" if domains else "no domain observes"
            return self.one_domain(None, f"{why} {name!r}")
        return self.one_domain(chosen, f"{scope} may be in any domain")

    def newest_ns(self, domain: str) -> int:
        """The time of the domain's newest record."""
        names = [name for kind in STAGES for name in self.journals.names(kind, domain)]
        return max((self.journals.open(name).head().time_ns for name in names), default=0)

    def now_ns(self, domain: str) -> int:
        """When an act is given: a recorded domain keeps its own time, the clock would age all in it."""
        return max(self.gate.now_ns(domain), self.newest_ns(domain))

    def told(self, domain: str, once: Once | None) -> Asked | None:
        """What was said when the same request came before; asked before anything is refused."""
        known = None if once is None else once.known(self.journals.open(f"commands.{domain}"))
        return None if known is None else Asked(**known)

    def ask(
        self, domain: str, kind: str, body: Json, now_ns: int, text: str, once: Once | None,
        *, needs_confirmation: bool = False,
    ) -> Asked:  # fmt: skip
        """Records in `commands.<domain>` what is asked, for the stage that obeys such a kind."""
        journal = self.journals.open(f"commands.{domain}", domain)
        note = Note(kind=kind, time_ns=now_ns, body=body)
        answer = {"text": text, "domain": domain, "needs_confirmation": needs_confirmation}
        return Asked(**said(journal, [note], answer, once))
