"""Intent checks: what a caller means to do, held against limits and the last good price. Pure.

A check that lacks its data denies. They are the kinds of pre-trade control that MiFID II RTS 6
article 15 (price collars, maximum order value and volume, maximum messages) and SEC rule 15c3-5
(price and size, duplicative orders) name. They supplement such controls and never satisfy them: the
Observer is not in the way of an order, and who does not ask is not held up.

* collar: |limit price − reference| in percent of the reference. Alarms falsely when the reference is old.
* quantity, notional: of one intent; notional = quantity × the greater of limit price and reference.
* messages: intents of this caller under this rule that were allowed within the span, this one included.
* duplicate: caller, instrument, action, side, quantity and price all equal one that was allowed
  within the span.

Rate and duplicates look at what was recorded as allowed (`Sent`), so they survive a restart.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import translate
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, StringConstraints, model_validator

from observer_core.decision_pipeline.policy import Globs
from observer_core.shared.clock import SECOND, format_duration
from observer_core.shared.config import Config, DurationNs, Name
from observer_core.shared.records import Evaluation, Json

KEPT: Final = ("side", "quantity", "price")
"""What the checks read of a request's context."""
MID: Final = "mid"
"""Where a source has no such field: the middle of its `bid` and `ask`."""
PRICES: Final = (MID, "last", "price", "close")
"""Fields that are a price; the first that a source has counts."""
CHECKS: Final = ("price_collar", "max_quantity", "max_notional", "max_messages", "no_duplicate_within")
_MAX_KEYS: Final = 10_000
_MAX_SIDE: Final = 32
_MAX_MESSAGES: Final = 1_000_000

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Span = Annotated[DurationNs, Field(gt=0)]


class Limits(Config):
    """What an intent may be at most. What is not given is not checked.

    `price_collar` is in percent of the reference; at most `max_messages` within `messages_within`.
    """

    price_collar: Positive | None = None
    max_quantity: Positive | None = None
    max_notional: Positive | None = None
    max_messages: Annotated[int, Field(gt=0, le=_MAX_MESSAGES)] | None = None
    messages_within: Span = SECOND
    no_duplicate_within: Span | None = None

    @property
    def checks(self) -> tuple[str, ...]:
        return tuple(name for name in CHECKS if getattr(self, name) is not None)


class IntentConfig(Limits):
    """One `[[intent]]`: limits for the callers, instruments and actions that match. All that match apply."""

    name: Name
    callers: Globs = ("*",)
    instruments: Globs = ("*",)
    actions: Globs = ("*",)

    @model_validator(mode="after")
    def _checks_something(self) -> IntentConfig:
        if not self.checks:
            raise ValueError(f"intent {self.name!r} checks nothing; give one of {', '.join(CHECKS)}")
        return self


class CallerConfig(Config):
    """One `[[caller]]`: what its name is, what it is told of what nobody observes, its limits.

    A caller that is not configured is denied what is unknown.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    on_unknown: Literal["deny", "allow"] = "deny"
    limits: Limits = Limits()


class Intent(NamedTuple):
    """What the context of a request says; `faults` are the parts that cannot be used, with why."""

    side: str | None
    quantity: float | None
    price: float | None
    faults: Mapping[str, str]

    @staticmethod
    def of(context: Mapping[str, Any]) -> Intent:
        faults: dict[str, str] = {}
        side = context.get("side")
        if side is not None and not (isinstance(side, str) and 0 < len(side) <= _MAX_SIDE):
            faults["side"] = f"a text of 1 to {_MAX_SIDE} characters was expected"
            side = None
        quantity = _number(context, "quantity", faults)
        price = _number(context, "price", faults)
        return Intent(side.lower() if side else None, quantity, price, faults)


class Reference(NamedTuple):
    """The last good price: of which field, in which record, known since when, and good until when."""

    price: float
    field: str
    ref: str
    time_ns: int
    until_ns: int

    def to_json(self) -> Json:
        return {"price": self.price, "field": self.field, "ref": self.ref, "time_ns": self.time_ns}


class Rule(NamedTuple):
    """Limits under the name that reasons and counts know them by."""

    name: str
    limits: Limits

    @property
    def needs_reference(self) -> bool:
        return self.limits.price_collar is not None or self.limits.max_notional is not None


class IntentRules:
    """The rules for each caller, instrument and action; globs are compiled once."""

    def __init__(self, callers: Iterable[CallerConfig], intents: Iterable[IntentConfig]) -> None:
        self._callers = {
            item.name: Rule(f"caller:{item.name}", item.limits) for item in callers if item.limits.checks
        }
        self._intents = [
            (Rule(item.name, item), *map(_compile, (item.callers, item.instruments, item.actions)))
            for item in intents
        ]
        self._known: dict[tuple[str, str, str], tuple[Rule, ...]] = {}
        rules = [*self._callers.values(), *(item[0] for item in self._intents)]
        limits = [rule.limits for rule in rules]
        spans = [item.messages_within for item in limits if item.max_messages is not None]
        self.duplicate_span_ns = max((item.no_duplicate_within or 0 for item in limits), default=0)
        self.span_ns = max([*spans, self.duplicate_span_ns])
        """How far back rate and duplicates look; 0 when nothing does."""

    def of(self, caller: str, instrument: str, action: str) -> tuple[Rule, ...]:
        key = (caller, instrument, action)
        found = self._known.get(key)
        if found is None:
            own = self._callers.get(caller)
            found = (
                *([own] if own is not None else []),
                *(
                    rule
                    for rule, callers, instruments, actions in self._intents
                    if callers(caller) and instruments(instrument) and actions(action)
                ),
            )
            if len(self._known) >= _MAX_KEYS:
                self._known.clear()
            self._known[key] = found
        return found


class Sent:
    """What was allowed lately, as rate and duplicates count it. Folded from records, nothing else."""

    def __init__(self, rules: IntentRules) -> None:
        self._rules = rules
        self._times: dict[tuple[str, str], deque[int]] = {}
        self._seen: dict[tuple[Any, ...], int] = {}

    def apply(self, record: Evaluation) -> None:
        if record.verdict != "allow" or not self._rules.span_ns:
            return
        now_ns = record.time_ns
        for rule in self._rules.of(record.caller, record.resource, record.action):
            if rule.limits.max_messages is not None:
                key = (rule.name, record.caller)
                times = self._times.get(key)
                if times is None:
                    self._make_room(now_ns)
                    times = self._times[key] = deque(maxlen=rule.limits.max_messages)
                times.append(now_ns)
        if self._rules.duplicate_span_ns:
            intent = Intent.of(record.context)
            same = (record.caller, record.resource, record.action, intent.side, intent.quantity, intent.price)
            self._seen.pop(same, None)
            self._seen[same] = now_ns
            while (oldest := next(iter(self._seen))) != same:
                if self._seen[oldest] > now_ns - self._rules.duplicate_span_ns:
                    break
                del self._seen[oldest]

    def full_until(self, rule: Rule, caller: str, now_ns: int) -> int | None:
        """When the next message may come, if not now."""
        times = self._times.get((rule.name, caller))
        if times is None or len(times) < (times.maxlen or 0):
            return None
        until_ns = times[0] + rule.limits.messages_within
        return until_ns if until_ns > now_ns else None

    def last(self, caller: str, instrument: str, action: str, intent: Intent) -> int | None:
        """When the same was allowed last."""
        return self._seen.get((caller, instrument, action, intent.side, intent.quantity, intent.price))

    def _make_room(self, now_ns: int) -> None:
        if len(self._times) >= _MAX_KEYS:
            enough = now_ns - self._rules.span_ns
            self._times = {key: times for key, times in self._times.items() if times[-1] > enough}


def check(
    rules: Sequence[Rule], caller: str, instrument: str, action: str, context: Mapping[str, Any],
    reference: Reference | None, sent: Sent, now_ns: int,
) -> list[Json]:  # fmt: skip
    """Reasons not to do it, with the rule and the numbers of each; none: nothing is against it."""
    if not rules:
        return []
    intent = Intent.of(context)
    reasons: list[Json] = []
    for rule in rules:
        reasons += _size(rule, intent, reference)
        until_ns = sent.full_until(rule, caller, now_ns)
        if until_ns is not None:
            most, span = rule.limits.max_messages, rule.limits.messages_within
            text = f"{caller} has been allowed {most} within {format_duration(span)}, which is the most"
            reasons.append(_reason("max_messages", text, rule, limit=most, within_ns=span, until_ns=until_ns))
        reasons += _duplicate(rule, caller, instrument, action, intent, sent, now_ns)
    return reasons


def _size(rule: Rule, intent: Intent, reference: Reference | None) -> Iterator[Json]:
    limits, quantity, price = rule.limits, intent.quantity, intent.price
    if rule.needs_reference and reference is None:
        text = "no source has a good price of it that is fresh, which the rule's check needs"
        yield _reason("no_reference_price", text, rule)
    if limits.price_collar is not None:
        if price is None:
            yield _incomplete(rule, "price_collar", "price", intent)
        elif reference is not None:
            away = abs(price - reference.price)
            if away * 100 > limits.price_collar * reference.price:
                off = away / reference.price * 100
                text = (
                    f"the limit price {price:g} is {off:.4g} % off {reference.price:g}; "
                    f"at most {limits.price_collar:g} % are allowed"
                )
                yield _reason(
                    "price_collar", text, rule, price=price, reference=reference.price,
                    percent=_finite(off), limit=limits.price_collar,
                )  # fmt: skip
    if limits.max_quantity is not None:
        if quantity is None:
            yield _incomplete(rule, "max_quantity", "quantity", intent)
        elif quantity > limits.max_quantity:
            text = f"the quantity {quantity:g} is above {limits.max_quantity:g}"
            yield _reason("max_quantity", text, rule, quantity=quantity, limit=limits.max_quantity)
    if limits.max_notional is not None:
        if quantity is None:
            yield _incomplete(rule, "max_notional", "quantity", intent)
        elif "price" in intent.faults:
            yield _incomplete(rule, "max_notional", "price", intent)
        elif reference is not None:
            notional = quantity * max(reference.price, price or 0.0)
            if not notional <= limits.max_notional:
                text = f"the notional {notional:g} is above {limits.max_notional:g}"
                limit, found = limits.max_notional, _finite(notional)
                yield _reason("max_notional", text, rule, notional=found, limit=limit)


def _duplicate(
    rule: Rule, caller: str, instrument: str, action: str, intent: Intent, sent: Sent, now_ns: int
) -> Iterator[Json]:
    span = rule.limits.no_duplicate_within
    if span is None:
        return
    needed = {"side": intent.side, "quantity": intent.quantity}
    missing = [name for name, value in needed.items() if value is None]
    missing += ["price"] if "price" in intent.faults else []
    for name in missing:
        yield _incomplete(rule, "no_duplicate_within", name, intent)
    last_ns = sent.last(caller, instrument, action, intent)
    if not missing and last_ns is not None and last_ns > now_ns - span:
        age = format_duration(max(now_ns - last_ns, 0))
        text = f"the same was allowed {age} ago; not within {format_duration(span)}"
        yield _reason("duplicate", text, rule, last_ns=last_ns, within_ns=span)


def _incomplete(rule: Rule, check: str, name: str, intent: Intent) -> Json:
    why = intent.faults.get(name, "it is missing")
    text = f"{check} needs {name!r} in the request's context: {why}"
    return _reason("intent_incomplete", text, rule, check=check, field=name)


def _reason(code: str, text: str, rule: Rule, **numbers: Any) -> Json:
    return {"code": code, "text": text, "rule": rule.name, **numbers}


def _number(context: Mapping[str, Any], name: str, faults: dict[str, str]) -> float | None:
    value = context.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number or (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        number = float(value)
        if math.isfinite(number) and number > 0:
            return number
    faults[name] = "a number above 0, or its decimal text, was expected"
    return None


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


_DECIMAL = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?")


def _compile(globs: Sequence[str]) -> Any:
    return re.compile("|".join(map(translate, globs))).match
