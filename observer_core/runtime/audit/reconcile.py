"""Fills against what the gate allowed: every fill has a permit or an allow, or is named.

A fill is covered by its receipt, else by the record of the gate that it names, else by the newest
allow for its instrument within `window` before it that fits: same side, and enough quantity left,
where both sides say so. Several fills may share an allow, up to its quantity.

Alarms falsely when the clock of the fills and the Observer's differ by more than the window takes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from observer_core.decision_pipeline.history import Standing
from observer_core.decision_pipeline.scopes import DOMAIN, source_scope, subject_scope
from observer_core.runtime.audit.fills import Fill
from observer_core.runtime.audit.permits import verify
from observer_core.safety.signing import PublicKey
from observer_core.shared.clock import format_duration, format_time
from observer_core.shared.errors import InputError
from observer_core.shared.ids import ref
from observer_core.shared.records import Decision, Evaluation, Json
from observer_core.storage.journals import Journals

GATE: Final = "gate"
CODES: Final = (
    "no_allow", "permit_invalid", "permit_mismatch", "permit_late", "unknown_answer", "denied_answer",
    "over_quantity", "worse_price", "while_blocked", "duplicate_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a fill; `code` is one of `CODES`."""

    code: str
    fill: Fill
    text: str

    def to_json(self) -> Json:
        fill = self.fill
        return {
            "code": self.code, "text": self.text, "line": fill.line, "id": fill.id,
            "instrument": fill.instrument, "time_ns": fill.time_ns, "side": fill.side,
            "quantity": None if fill.quantity is None else str(fill.quantity),
            "price": None if fill.price is None else str(fill.price),
        }  # fmt: skip


@dataclass(slots=True)
class Allow:
    """An allow of the gate, and what fills have taken of it."""

    ref: str
    record: Evaluation
    left: Decimal | None
    fills: int = 0

    @property
    def side(self) -> str | None:
        side = self.record.context.get("side")
        return side.lower() if isinstance(side, str) else None

    @property
    def price(self) -> Decimal | None:
        return _decimal(self.record.context.get("price"))


@dataclass(slots=True)
class Reconciled:
    """Denominators first: all fills and how each is covered, all allows and what became of them.

    `open`: allows so young, at the end of the period, that their fill may still come.
    """

    fills: int = 0
    by_permit: int = 0
    by_answer: int = 0
    by_match: int = 0
    uncovered: int = 0
    while_blocked: int = 0
    allows: int = 0
    filled: int = 0
    open: int = 0
    unfilled: list[Allow] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def summary(self) -> Json:
        return {
            "fills": self.fills, "by_permit": self.by_permit, "by_answer": self.by_answer,
            "by_match": self.by_match, "uncovered": self.uncovered, "while_blocked": self.while_blocked,
            "allows": self.allows, "filled": self.filled, "open": self.open, "unfilled": len(self.unfilled),
            "findings": len(self.findings),
        }  # fmt: skip


def reconcile(
    journals: Journals, domain: str, fills: Sequence[Fill], *, window_ns: int,
    keys: Mapping[str, PublicKey], since_ns: int | None = None, until_ns: int | None = None,
    caller: str | None = None,
) -> Reconciled:  # fmt: skip
    """Compares `fills`, in the order of their times, with what the gate of `domain` has recorded.

    Allows are counted from `since_ns` to `until_ns` (default: the first fill's window to the last fill).
    """
    since = since_ns if since_ns is not None else (fills[0].time_ns - window_ns if fills else 0)
    until = until_ns if until_ns is not None else (fills[-1].time_ns if fills else None)
    return _Reconciliation(journals, domain, window_ns, keys, caller).run(fills, since, until)


NO_ORDER = frozenset(("check", "cancel"))
"""Actions whose allow covers no fill: somebody looked (as `GET /v1/gate` does), or took an order back."""


class _Reconciliation:
    def __init__(
        self, journals: Journals, domain: str, window_ns: int, keys: Mapping[str, PublicKey],
        caller: str | None,
    ) -> None:  # fmt: skip
        self._journals, self._domain, self._window_ns, self._keys = journals, domain, window_ns, keys
        self._gate = f"{GATE}.{domain}"
        self._allows: dict[str, Allow] = {}
        self._denials: dict[str, Evaluation] = {}
        self._of: dict[str, list[Allow]] = {}
        self._times: dict[str, list[int]] = {}
        self._denied: dict[str, list[tuple[int, str]]] = {}
        for entry in journals.open(self._gate).scan():
            record = entry.record
            if isinstance(record, Evaluation) and caller in (None, record.caller):
                self._take(ref(self._gate, entry.position), record)
        self._done = Reconciled()

    def _take(self, cited: str, record: Evaluation) -> None:
        if record.verdict != "allow":
            code = str(record.reasons[0].get("code")) if record.reasons else "?"
            self._denied.setdefault(record.resource, []).append((record.time_ns, f"{cited}, {code}"))
            self._denials[cited] = record
            return
        allow = self._allows[cited] = Allow(cited, record, _decimal(record.context.get("quantity")))
        if record.action in NO_ORDER:
            return
        self._of.setdefault(record.resource, []).append(allow)
        self._times.setdefault(record.resource, []).append(record.time_ns)

    def run(self, fills: Sequence[Fill], since_ns: int, until_ns: int | None) -> Reconciled:
        done, seen = self._done, set[str]()
        done.fills = len(fills)
        # What a fill names comes first: another must not be matched with an allow that is spoken for.
        covered = {fill.line: self._named(fill) for fill in fills}
        for fill, standing in zip(fills, self._standing(fills)):
            if fill.id in seen:
                self._find("duplicate_id", fill, f"{fill.id} was there before; is it one fill or two?")
            seen.add(fill.id)
            if covered[fill.line] is None:
                covered[fill.line] = self._matched(fill)
            done.uncovered += not covered[fill.line]
            for text in standing:
                self._find("while_blocked", fill, text)
            done.while_blocked += bool(standing)
        for allow in self._allows.values():
            time_ns = allow.record.time_ns
            if time_ns < since_ns or (until_ns is not None and time_ns > until_ns):
                continue
            done.allows += 1
            if allow.fills:
                done.filled += 1
            elif until_ns is not None and time_ns + self._window_ns > until_ns:
                done.open += 1
            else:
                done.unfilled.append(allow)
        done.findings.sort(key=lambda found: (found.fill.time_ns, found.fill.line, found.code))
        return done

    # ------------------------------------------------------------------ what covers a fill

    def _named(self, fill: Fill) -> bool | None:
        """Whether what the fill names covers it; None when it names nothing."""
        if fill.permit is not None:
            found = self._by_permit(fill)
            self._done.by_permit += found
            return found
        if fill.answer is not None:
            found = self._by_answer(fill, fill.answer)
            self._done.by_answer += found
            return found
        return None

    def _by_permit(self, fill: Fill) -> bool:
        assert fill.permit is not None
        try:
            verdict = verify(fill.permit, self._keys, None)
        except InputError as error:
            return self._find("permit_invalid", fill, str(error))
        permit = verdict.permit
        if permit is None:
            return self._find("permit_invalid", fill, str(verdict.signature))
        if (permit.resource, permit.domain) != (fill.instrument, self._domain):
            text = f"its permit is for {permit.resource} in domain {permit.domain}, not {fill.instrument}"
            return self._find("permit_mismatch", fill, text)
        if not permit.issued_ns <= fill.time_ns < permit.expires_ns + self._window_ns:
            text = (
                f"its permit held from {format_time(permit.issued_ns)} to {format_time(permit.expires_ns)}; "
                f"the fill is of {format_time(fill.time_ns)}"
            )
            return self._find("permit_late", fill, text)
        allow = self._allows.get(permit.answer)
        if allow is None or allow.record.time_ns != permit.issued_ns:
            text = f"its permit names {permit.answer}, which is not that allow in this journal"
            return self._find("unknown_answer", fill, text)
        return self._fits(fill, allow)

    def _by_answer(self, fill: Fill, cited: str) -> bool:
        allow = self._allows.get(cited)
        if allow is None:
            if cited in self._denials:
                return self._find("denied_answer", fill, f"it names {cited}, which is a denial")
            return self._find("unknown_answer", fill, f"it names {cited}, which is no answer in {self._gate}")
        if allow.record.resource != fill.instrument:
            text = f"it names {cited}, which is about {allow.record.resource}, not {fill.instrument}"
            return self._find("permit_mismatch", fill, text)
        time_ns = allow.record.time_ns
        if not time_ns <= fill.time_ns <= max(allow.record.valid_until_ns, time_ns) + self._window_ns:
            text = f"it names {cited} of {format_time(time_ns)}; the fill is of {format_time(fill.time_ns)}"
            return self._find("permit_late", fill, text)
        return self._fits(fill, allow)

    def _fits(self, fill: Fill, allow: Allow) -> bool:
        """Takes the fill from the allow; a finding for what it was not allowed to be."""
        if allow.record.action in NO_ORDER:
            text = f"{allow.ref} allows to {allow.record.action}, which fills nothing"
            return self._find("permit_mismatch", fill, text)
        if fill.side and allow.side and fill.side != allow.side:
            return self._find("permit_mismatch", fill, f"{allow.ref} allows {allow.side}, not {fill.side}")
        allow.fills += 1
        if fill.quantity is not None and allow.left is not None:
            allow.left -= fill.quantity
            if allow.left < 0:
                quantity = allow.record.context.get("quantity")
                text = f"with it, {-allow.left} more is filled than {allow.ref} allows ({quantity})"
                self._find("over_quantity", fill, text)
        self._price(fill, allow)
        return True

    def _matched(self, fill: Fill) -> bool:
        allows, times = self._of.get(fill.instrument, []), self._times.get(fill.instrument, [])
        number = bisect_right(times, fill.time_ns)
        short = False
        while number and times[number - 1] >= fill.time_ns - self._window_ns:
            number -= 1
            allow = allows[number]
            if fill.side and allow.side and fill.side != allow.side:
                continue
            if fill.quantity is not None and allow.left is not None and allow.left < fill.quantity:
                short = True
                continue
            self._done.by_match += 1
            return self._fits(fill, allow)
        within = f"within {format_duration(self._window_ns)} before it"
        text = f"no allow for {fill.instrument} {within}"
        if short:
            text = f"no allow for {fill.instrument} {within} has so much quantity left"
        denied = [
            why
            for time_ns, why in self._denied.get(fill.instrument, ())
            if fill.time_ns - self._window_ns <= time_ns <= fill.time_ns
        ]
        return self._find("no_allow", fill, text + (f"; it was denied ({denied[-1]})" if denied else ""))

    def _price(self, fill: Fill, allow: Allow) -> None:
        side, limit = fill.side or allow.side, allow.price
        if fill.price is None or limit is None or side not in ("buy", "sell"):
            return
        if fill.price > limit if side == "buy" else fill.price < limit:
            text = f"{side} at {fill.price} is worse than the {limit} of {allow.ref}"
            self._find("worse_price", fill, text)

    def _find(self, code: str, fill: Fill, text: str) -> bool:
        self._done.findings.append(Finding(code, fill, text))
        return False

    # ------------------------------------------------------------------ what stood then

    def _standing(self, fills: Sequence[Fill]) -> Iterator[list[str]]:
        """For each fill what blocked its instrument at its moment."""
        standing = Standing()
        decisions = self._decisions()
        waiting = next(decisions, None)
        sources = self._sources()
        for fill in fills:
            while waiting is not None and waiting.time_ns <= fill.time_ns:
                standing.apply(waiting)
                waiting = next(decisions, None)
            scopes = [DOMAIN, subject_scope(fill.instrument), *sources.get(fill.instrument, ())]
            yield [
                f"{scope} was blocked by {policy} since {format_time(entry['since_ns'])}: {entry['reason']}"
                for scope in scopes
                for policy, entry in standing.blocks.get(scope, {}).items()
            ]

    def _decisions(self) -> Iterator[Decision]:
        for entry in self._journals.open(f"decisions.{self._domain}").scan():
            if isinstance(entry.record, Decision):
                yield entry.record

    def _sources(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._journals.names("patterns", self._domain):
            view = self._journals.open(name).views().get("subjects", {})
            for subject in view.get("subjects", ()):
                found.setdefault(subject, []).append(source_scope(name.partition(".")[2]))
        return found


def _decimal(value: Any) -> Decimal | None:
    """A number of an intent; None where it says none that can be used."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = Decimal(str(value))
        except ArithmeticError:
            return None
        return number if number.is_finite() and number > 0 else None
    return None
