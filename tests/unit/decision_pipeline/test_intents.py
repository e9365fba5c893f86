"""Intent checks: each limit, what lacks its data, and what was allowed before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.decision_pipeline.intents import (
    CallerConfig,
    Intent,
    IntentConfig,
    IntentRules,
    Limits,
    Reference,
    Sent,
    check,
)
from observer_core.shared.canonical import encode
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Evaluation, Json

T0 = 1_700_000_000 * SECOND
BTC = "BTC/USDT"
PRICE = Reference(100.0, "last", "snapshots.binance@7", T0 - SECOND, T0 + SECOND)
BUY = {"side": "buy", "quantity": 2, "price": 101.0}


def rules(*, limits: Limits | None = None, **intent: Any) -> IntentRules:
    callers = [] if limits is None else [CallerConfig(name="alpha", limits=limits)]
    return IntentRules(callers, [IntentConfig(name="desk", **intent)] if intent else [])


def evaluation(
    context: Mapping[str, Any] = BUY, *, time_ns: int = T0, verdict: Any = "allow", caller: str = "alpha",
    resource: str = BTC,
) -> Evaluation:  # fmt: skip
    return Evaluation(
        verdict=verdict, caller=caller, caller_type="strategy", action="order", resource=resource,
        resource_type="instrument", context=context, reasons=(), rests={}, risk="calm", as_of_ns=None,
        valid_until_ns=time_ns, time_ns=time_ns,
    )  # fmt: skip


def ask(
    found: IntentRules, context: Mapping[str, Any] = BUY, *, reference: Reference | None = PRICE,
    sent: Sent | None = None, now_ns: int = T0, caller: str = "alpha", resource: str = BTC,
) -> list[Json]:  # fmt: skip
    chosen = found.of(caller, resource, "order")
    return check(chosen, caller, resource, "order", context, reference, sent or Sent(found), now_ns)


def codes(reasons: list[Json]) -> list[str]:
    assert all(reason["text"] and reason["rule"] for reason in reasons)
    return [reason["code"] for reason in reasons]


@pytest.mark.parametrize(
    ("limits", "context", "code", "numbers"),
    [
        ({"price_collar": 1.0}, BUY, None, {}),
        (
            {"price_collar": 1.0},
            {**BUY, "price": 101.01},
            "price_collar",
            {"price": 101.01, "reference": 100.0, "limit": 1.0},
        ),
        ({"price_collar": 1.0}, {**BUY, "price": "98.99"}, "price_collar", {"price": 98.99}),
        ({"max_quantity": 2}, BUY, None, {}),
        (
            {"max_quantity": 2},
            {**BUY, "quantity": "2.0001"},
            "max_quantity",
            {"quantity": 2.0001, "limit": 2},
        ),
        ({"max_notional": 202}, BUY, None, {}),
        ({"max_notional": 201}, BUY, "max_notional", {"notional": 202.0, "limit": 201}),
        # A sell far below the market is worth what the market pays.
        ({"max_notional": 199}, {**BUY, "side": "sell", "price": 1}, "max_notional", {"notional": 200.0}),
        # A market order has no limit price.
        ({"max_notional": 199}, {"side": "buy", "quantity": 2}, "max_notional", {"notional": 200.0}),
        ({"max_quantity": 1}, {"quantity": 1e308}, "max_quantity", {"quantity": 1e308}),
        ({"max_notional": 1}, {"quantity": 1e308}, "max_notional", {"notional": None}),
        ({"price_collar": 1.0}, {"price": 1.7e308}, "price_collar", {"price": 1.7e308}),
    ],
)
def test_a_limit_allows_up_to_it_and_names_its_numbers(
    limits: dict[str, Any], context: dict[str, Any], code: str | None, numbers: dict[str, Any]
) -> None:
    reasons = ask(rules(**limits), context)
    assert codes(reasons) == ([] if code is None else [code])
    if code is not None:
        assert numbers.items() <= reasons[0].items()


@pytest.mark.parametrize(
    ("limits", "context", "field"),
    [
        ({"price_collar": 1.0}, {"side": "buy", "quantity": 1}, "price"),
        ({"max_quantity": 1}, {}, "quantity"),
        ({"max_notional": 1e9}, {"price": 100}, "quantity"),
        ({"max_notional": 1e9}, {"quantity": 1, "price": "cheap"}, "price"),
        ({"no_duplicate_within": "5s"}, {"quantity": 1}, "side"),
        ({"no_duplicate_within": "5s"}, {"side": "buy"}, "quantity"),
        ({"no_duplicate_within": "5s"}, {"side": "buy", "quantity": 1, "price": 0}, "price"),
        *(
            ({"max_quantity": 10}, {"quantity": value}, "quantity")
            for value in (0, -1, True, "", "1e3", "-1", [1], float("nan"), float("inf"))
        ),
        *(({"no_duplicate_within": "5s"}, {"side": v, "quantity": 1}, "side") for v in ("", 1, "b" * 33)),
    ],
)
def test_a_check_that_lacks_its_data_denies(
    limits: dict[str, Any], context: dict[str, Any], field: str
) -> None:
    (reason,) = ask(rules(**limits), context)
    assert (reason["code"], reason["field"]) == ("intent_incomplete", field)


@pytest.mark.parametrize("limits", [{"price_collar": 1.0}, {"max_notional": 1e9}])
def test_without_a_good_price_what_needs_one_denies(limits: dict[str, Any]) -> None:
    assert codes(ask(rules(**limits), reference=None)) == ["no_reference_price"]
    assert ask(rules(max_quantity=2), reference=None) == []


def test_all_rules_that_match_apply_and_no_other() -> None:
    found = IntentRules(
        [CallerConfig(name="alpha", limits=Limits(max_quantity=1))],
        [
            IntentConfig(name="crypto", instruments=("*/USDT",), max_quantity=1.5),
            IntentConfig(name="others", callers=("beta*",), max_quantity=0.5),
            IntentConfig(name="cancels", actions=("cancel",), max_quantity=0.5),
        ],
    )
    assert [reason["rule"] for reason in ask(found)] == ["caller:alpha", "crypto"]
    assert [reason["rule"] for reason in ask(found, resource="BTC/KRW")] == ["caller:alpha"]
    assert [reason["rule"] for reason in ask(found, caller="beta-2", resource="BTC/KRW")] == ["others"]
    assert ask(found, caller="gamma", resource="BTC/KRW", context={}) == []


def test_a_rule_that_checks_nothing_and_a_limit_of_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="'desk' checks nothing; give one of price_collar"):
        IntentConfig(name="desk")
    for limits in (
        {"max_quantity": 0},
        {"price_collar": -1},
        {"max_messages": 0},
        {"max_messages": 10**30},
        {"max_notional": "inf"},
    ):
        with pytest.raises(ValidationError):
            IntentConfig(name="desk", **limits)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- what was allowed before


def test_a_rate_is_of_the_caller_and_opens_when_the_oldest_is_out_of_its_span() -> None:
    found = rules(max_messages=2, messages_within="1s")
    sent = Sent(found)
    sent.apply(evaluation({}, time_ns=T0))
    assert ask(found, {}, sent=sent, now_ns=T0) == []
    sent.apply(evaluation({}, time_ns=T0 + SECOND // 2, resource="ETH/USDT"))
    (reason,) = ask(found, {}, sent=sent, now_ns=T0 + SECOND - 1)
    assert (reason["code"], reason["until_ns"]) == ("max_messages", T0 + SECOND)
    assert ask(found, {}, sent=sent, now_ns=T0 + SECOND - 1, caller="beta") == []
    assert ask(found, {}, sent=sent, now_ns=T0 + SECOND) == []


def test_a_duplicate_is_the_same_intent_of_the_same_caller_within_the_span() -> None:
    found = rules(no_duplicate_within="5s")
    sent = Sent(found)
    sent.apply(evaluation(BUY))
    same = {"side": "BUY", "quantity": "2.0", "price": "101"}
    (reason,) = ask(found, same, sent=sent, now_ns=T0 + 5 * SECOND - 1)
    assert (reason["code"], reason["last_ns"]) == ("duplicate", T0)
    assert ask(found, same, sent=sent, now_ns=T0 + 5 * SECOND) == []
    for other in ({"side": "sell"}, {"quantity": 3}, {"price": 102}, {"price": None}):
        assert ask(found, {**BUY, **other}, sent=sent) == []
    assert ask(found, same, sent=sent, caller="beta") == []
    assert ask(found, same, sent=sent, resource="ETH/USDT") == []


def test_what_was_denied_was_not_sent() -> None:
    found = rules(max_messages=1, no_duplicate_within="5s")
    sent = Sent(found)
    sent.apply(evaluation(verdict="non_execution"))
    assert ask(found, sent=sent) == []


@given(st.lists(st.integers(0, SECOND), max_size=60), st.integers(1, 5), st.integers(1, 3))
def test_never_more_than_the_most_are_allowed_within_any_span(
    waits: list[int], most: int, seconds: int
) -> None:
    found = rules(max_messages=most, messages_within=seconds * SECOND)
    sent, now, allowed = Sent(found), T0, []
    for wait in waits:
        now += wait
        if not ask(found, {}, sent=sent, now_ns=now):
            allowed.append(now)
            sent.apply(evaluation({}, time_ns=now))
    for first, last in zip(allowed, allowed[most:]):
        assert last - first >= seconds * SECOND


@given(st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(1, 2)), max_size=30), st.integers(0, 30))
def test_what_is_folded_from_records_answers_as_what_has_seen_them_come(
    steps: list[tuple[int, int]], cut: int
) -> None:
    found = rules(max_messages=3, messages_within="2s", no_duplicate_within="5s")
    seen, now, records = Sent(found), T0, []
    for wait, quantity in steps:
        now += wait
        context = {"side": "buy", "quantity": quantity}
        reasons = ask(found, context, sent=seen, now_ns=now)
        record = evaluation(context, time_ns=now, verdict="non_execution" if reasons else "allow")
        records.append(record)
        seen.apply(record)
    late = Sent(found)
    for record in records:
        if record.time_ns > now - found.span_ns:
            late.apply(record)
    for quantity in (1, 2):
        context = {"side": "buy", "quantity": quantity}
        assert ask(found, context, sent=late, now_ns=now) == ask(found, context, sent=seen, now_ns=now)


@given(st.dictionaries(st.sampled_from(["side", "quantity", "price", "x"]), st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.lists(st.integers()),
)))  # fmt: skip
def test_whatever_the_context_holds_the_reasons_can_be_recorded(context: dict[str, Any]) -> None:
    found = rules(
        price_collar=1, max_quantity=1, max_notional=1, max_messages=1, no_duplicate_within="1s"
    )  # fmt: skip
    intent = Intent.of(context)
    assert all(number is None or 0 < number < float("inf") for number in (intent.quantity, intent.price))
    for reason in ask(found, context):
        assert encode(reason)
