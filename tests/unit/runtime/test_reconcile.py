"""Every fill has a permit or an allow, or is named; the counts add up."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.runtime.audit.fills import Fill
from observer_core.runtime.audit.permits import Permits
from observer_core.runtime.audit.reconcile import CODES, Reconciled, reconcile
from observer_core.safety.signing import SigningKey
from observer_core.shared.clock import SECOND
from observer_core.storage.journal import Commit
from tests.support.allows import BTC, Desk, decision, seconds

KEY = SigningKey.read(base64.b64encode(bytes(range(32))).decode(), "test")
OTHER = SigningKey.read(base64.b64encode(bytes(32)).decode(), "test")
WINDOW_NS = 60 * SECOND


@pytest.fixture
def desk() -> Desk:
    return Desk()


def fill(at: float, number: int = 1, **changes: Any) -> Fill:
    values = {"instrument": BTC, "id": f"f{number}", **changes}
    return Fill(line=number + 1, time_ns=seconds(at), **values)


def done(desk: Desk, *fills: Fill, **options: Any) -> Reconciled:
    ordered = sorted(fills, key=lambda item: (item.time_ns, item.line))
    keys = {KEY.id: KEY.public}
    return reconcile(desk.journals, "live", ordered, window_ns=WINDOW_NS, keys=keys, **options)


def codes(found: Reconciled) -> list[tuple[str, str]]:
    return [(item.fill.id, item.code) for item in found.findings]


def permit(desk: Desk, at: float, key: SigningKey = KEY, **changes: Any) -> str:
    return Permits(desk.journals, key, 10 * SECOND).permit_for(desk.answer(at, **changes))


def test_a_fill_with_a_permit_an_answer_or_an_allow_before_it_is_covered(desk: Desk) -> None:
    text = permit(desk, 1)
    named = desk.answer(2)
    desk.answer(3)
    found = done(desk, fill(1.5, 1, permit=text), fill(2.5, 2, answer=named), fill(3.5, 3))
    assert found.findings == []
    assert (found.fills, found.by_permit, found.by_answer, found.by_match, found.uncovered) == (3, 1, 1, 1, 0)


def test_a_fill_without_any_of_them_is_named(desk: Desk) -> None:
    desk.answer(1, resource="ETH/USDT")
    desk.answer(10)
    found = done(desk, fill(5, 1), fill(80, 2))
    assert codes(found) == [("f1", "no_allow"), ("f2", "no_allow")]
    assert found.uncovered == 2


def test_a_fill_after_a_denial_says_so(desk: Desk) -> None:
    ref = desk.answer(4, "non_execution")
    (finding,) = done(desk, fill(5)).findings
    assert finding.text == f"no allow for {BTC} within 1m before it; it was denied ({ref}, blocked)"


def test_looking_and_cancelling_cover_no_fill(desk: Desk) -> None:
    for number, action in enumerate(("check", "cancel"), 1):
        named = desk.answer(number, action=action)
        (finding,) = done(desk, fill(number + 0.5, answer=named)).findings
        assert (finding.code, finding.text) == (
            "permit_mismatch", f"{named} allows to {action}, which fills nothing"
        )  # fmt: skip
    assert codes(done(desk, fill(3))) == [("f1", "no_allow")]


def test_what_a_fill_names_is_not_given_to_another(desk: Desk) -> None:
    only = desk.answer(1, context={"quantity": 1})
    found = done(desk, fill(2, 1, quantity=Decimal(1)), fill(3, 2, quantity=Decimal(1), answer=only))
    assert codes(found) == [("f1", "no_allow")]
    assert found.by_answer == 1


def test_a_forged_expired_or_foreign_permit_covers_nothing(desk: Desk) -> None:
    good, other_key = permit(desk, 1), permit(desk, 1, OTHER)
    forged = good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")
    found = done(
        desk, fill(2, 1, permit=forged), fill(2, 2, permit=other_key), fill(2, 3, permit="no receipt"),
        fill(100, 4, permit=good), fill(0.5, 5, permit=good), fill(2, 6, permit=good, instrument="ETH/USDT"),
    )  # fmt: skip
    assert sorted(codes(found)) == [
        ("f1", "permit_invalid"), ("f2", "permit_invalid"), ("f3", "permit_invalid"), ("f4", "permit_late"),
        ("f5", "permit_late"), ("f6", "permit_mismatch"),
    ]  # fmt: skip
    assert found.uncovered == 6


def test_a_permit_whose_answer_is_not_in_the_journal_covers_nothing(desk: Desk) -> None:
    elsewhere = Desk()
    elsewhere.answer(0.5)
    text = permit(elsewhere, 1)
    desk.answer(1)
    assert codes(done(desk, fill(2, permit=text))) == [("f1", "unknown_answer")]


def test_an_answer_that_is_a_denial_unknown_late_or_of_another_instrument_covers_nothing(desk: Desk) -> None:
    denial, other = desk.answer(1, "non_execution"), desk.answer(1, resource="ETH/USDT")
    old = desk.answer(2)
    found = done(
        desk, fill(3, 1, answer=denial), fill(3, 2, answer=other), fill(3, 3, answer="gate.live@99"),
        fill(300, 4, answer=old), fill(3, 5, answer="what"),
    )  # fmt: skip
    assert codes(found) == [
        ("f1", "denied_answer"), ("f2", "permit_mismatch"), ("f3", "unknown_answer"),
        ("f5", "unknown_answer"), ("f4", "permit_late"),
    ]  # fmt: skip


def test_partial_fills_share_an_allow_up_to_its_quantity(desk: Desk) -> None:
    ref = desk.answer(1, context={"side": "buy", "quantity": "3"})
    half = {"side": "buy", "quantity": Decimal("1.5")}
    assert codes(done(desk, fill(2, 1, **half), fill(3, 2, **half))) == []
    found = done(desk, fill(2, 1, **half), fill(3, 2, **half), fill(4, 3, **half))
    assert codes(found) == [("f3", "no_allow")]
    assert "has so much quantity left" in found.findings[0].text
    found = done(desk, fill(2, 1, answer=ref, side="buy", quantity=Decimal(4)))
    assert codes(found) == [("f1", "over_quantity")]
    assert "with it, 1 more is filled" in found.findings[0].text


def test_another_side_or_a_worse_price_is_named(desk: Desk) -> None:
    buy = desk.answer(1, context={"side": "buy", "quantity": 5, "price": 100})
    sell = desk.answer(1, context={"side": "SELL", "quantity": 5, "price": "100.0"})
    found = done(
        desk, fill(2, 1, answer=buy, side="sell"),
        fill(2, 2, answer=buy, side="buy", price=Decimal("100.01")),
        fill(2, 3, answer=sell, side="sell", price=Decimal("99.99")),
        fill(2, 4, answer=sell, side="sell", price=Decimal(101)), fill(2, 5, answer=buy, price=Decimal(99)),
    )  # fmt: skip
    assert codes(found) == [("f1", "permit_mismatch"), ("f2", "worse_price"), ("f3", "worse_price")]


@pytest.mark.parametrize("scope", [f"subject:{BTC}", "*", "source:feed"])
def test_a_fill_while_it_was_blocked_is_named_also_with_an_allow(desk: Desk, scope: str) -> None:
    journal = desk.journals.open("patterns.feed", "live")
    journal.commit(journal.head(), Commit(views={"subjects": {"subjects": [BTC]}}))
    desk.answer(1)
    desk.write("decisions.live", decision(2, "block", scope), decision(10, "release", scope))
    found = done(desk, fill(1.5, 1), fill(3, 2), fill(11, 3), fill(3, 4, instrument="ETH/USDT"))
    assert ("f2", "while_blocked") in codes(found)
    blocked = {"f2"} | ({"f4"} if scope == "*" else set())
    assert {name for name, code in codes(found) if code == "while_blocked"} == blocked
    assert found.while_blocked == len(blocked)
    text = next(item.text for item in found.findings if item.code == "while_blocked")
    assert text.startswith(f"{scope} was blocked by stale-feed since 2018-04-05T00:00:02Z")


def test_an_id_that_comes_twice_is_named(desk: Desk) -> None:
    desk.answer(1)
    assert codes(done(desk, fill(2, 1), fill(3, 2, id="f1"))) == [("f1", "duplicate_id")]


def test_allows_are_filled_unfilled_or_too_young_to_say(desk: Desk) -> None:
    desk.answer(1)
    desk.answer(2, resource="ETH/USDT")
    young = desk.answer(100, resource="ETH/USDT")
    desk.answer(119)
    found = done(desk, fill(2, 1), fill(120, 2))
    assert found.findings == []
    assert (found.allows, found.filled, found.open, len(found.unfilled)) == (4, 2, 1, 1)
    assert found.unfilled[0].ref != young
    longer = done(desk, fill(2, 1), fill(120, 2), until_ns=seconds(500))
    assert (longer.open, len(longer.unfilled)) == (0, 2)


def test_without_fills_all_allows_are_counted(desk: Desk) -> None:
    desk.answer(1)
    found = done(desk)
    assert (found.fills, found.allows, len(found.unfilled)) == (0, 1, 1)


def test_only_what_one_caller_was_told_can_be_asked(desk: Desk) -> None:
    desk.answer(1, caller="other")
    assert codes(done(desk, fill(2))) == []
    assert codes(done(desk, fill(2), caller="desk")) == [("f1", "no_allow")]


@given(
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["A", "B"]), st.booleans()), max_size=12),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["A", "B"]), st.integers(1, 3)), max_size=12),
)
def test_the_counts_always_add_up(
    answers: list[tuple[int, str, bool]], fills: list[tuple[int, str, int]]
) -> None:
    desk = Desk()
    for at, resource, allowed in sorted(answers):
        context = {"quantity": 2}
        desk.answer(at, "allow" if allowed else "non_execution", resource=resource, context=context)
    found = done(
        desk,
        *(
            fill(at, number, instrument=name, quantity=Decimal(size))
            for number, (at, name, size) in enumerate(fills)
        ),
    )
    assert found.by_permit + found.by_answer + found.by_match + found.uncovered == found.fills == len(fills)
    assert found.filled + found.open + len(found.unfilled) == found.allows
    assert {item.code for item in found.findings} <= set(CODES)
    assert sum(item.code == "no_allow" for item in found.findings) == found.uncovered
