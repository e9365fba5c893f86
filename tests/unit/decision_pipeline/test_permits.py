"""What a receipt says, and what is no receipt."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.decision_pipeline.permits import (
    Permit,
    PermitsConfig,
    Rest,
    assembled,
    taken_apart,
    unsigned,
)
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import InputError
from tests.support.allows import answer, seconds

REST = Rest(3, "ab" * 32)
TEXTS = st.text(max_size=20)


def permit(**changes: Any) -> Permit:
    record = answer(1.5, **changes)
    return Permit.of(record, "gate.live@2", "live", {"decisions.live": REST}, 10 * SECOND, 4, "cd" * 32)


def receipt(claims: Any = None, **header: Any) -> str:
    """A receipt of any claims and header, its signature as may be."""
    parts: list[Any] = [{"alg": "EdDSA", "kid": "k", "typ": "qts-permit+jwt", **header}]
    parts.append(permit().claims() if claims is None else claims)
    return ".".join([*(_part(json.dumps(part).encode()) for part in parts), _part(b"signature")])


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_permit_is_read_as_it_was_written() -> None:
    signed = unsigned(permit(), "k")
    found = taken_apart(assembled(signed, b"signature"))
    assert (found.key, found.signed, found.signature) == ("k", signed, b"signature")
    assert Permit.read(found.claims) == permit()


@given(
    st.builds(
        Permit,
        answer=TEXTS,
        caller=TEXTS,
        action=TEXTS,
        resource=TEXTS,
        resource_type=TEXTS,
        domain=TEXTS,
        issued_ns=st.integers(0, 2**62),
        expires_ns=st.integers(0, 2**62),
        epoch=st.integers(0, 1000),
        policies=TEXTS,
        rests=st.dictionaries(TEXTS, st.builds(Rest, st.integers(0, 2**40), st.just("0" * 64))),
    )
)
def test_any_permit_is_read_as_it_was_written(item: Permit) -> None:
    assert Permit.read(taken_apart(assembled(unsigned(item, "k"), b"x")).claims) == item


def test_it_ends_after_its_lifetime_and_never_after_the_answer() -> None:
    assert permit().expires_ns == seconds(11.5)
    assert permit(valid_until_ns=seconds(4)).expires_ns == seconds(4)


def test_a_library_of_web_tokens_never_takes_it_for_longer_than_we_do() -> None:
    claims = permit(valid_until_ns=seconds(4.9)).claims()
    assert claims["exp"] * SECOND <= claims["permit"]["expires_ns"]
    assert (claims["sub"], claims["jti"]) == ("desk", "gate.live@2")


def test_it_holds_from_its_moment_on_up_to_its_end() -> None:
    found = permit()
    assert found.lapse(seconds(1.5)) is found.lapse(seconds(11.4)) is None
    assert "not yet" in (found.lapse(seconds(1.4)) or "")
    assert "has expired" in (found.lapse(seconds(11.5)) or "")


def test_there_is_none_for_a_denial() -> None:
    with pytest.raises(InputError, match="gate.live@2 is a denial"):
        permit(verdict="non_execution")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "three base64url parts"),
        ("a.b", "found 2 parts"),
        ("a.b.c.d", "found 4 parts"),
        ("x" * 70_000 + "..", "65536 characters at most"),
        ("!!.!!.!!", "not base64url"),
        ("e30=.e30.e30", "not base64url"),
        ("e31.e30.e30", "not base64url"),
        ("eA.eA.eA", "not JSON"),
        (receipt(alg="none"), "not that of a permit"),
        (receipt(alg="HS256"), "not that of a permit"),
        (receipt(typ="JWT"), "not that of a permit"),
        (receipt(crit=["exp"]), 'no "crit"'),
        (receipt(kid=7), '"kid"'),
    ],
)
def test_what_is_no_receipt_is_told(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        taken_apart(text)


def _changed(**changes: Any) -> dict[str, Any]:
    claims = json.loads(json.dumps(permit().claims()))
    inner = changes.pop("permit", {})
    claims.update(changes)
    claims["permit"].update(inner)
    return dict(claims)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ([], "'permit' is missing"),
        (_changed(sub=None), "'sub' is missing, or no str"),
        (_changed(permit={"issued_ns": "1"}), "'issued_ns' is missing, or no int"),
        (_changed(permit={"epoch": True}), "'epoch'"),
        (_changed(permit={"rests": {"a.b": [1]}}), r"rests\.a\.b"),
        (_changed(permit={"rests": {"a.b": [-1, "0" * 64]}}), r"rests\.a\.b"),
        (_changed(permit={"rests": {"a.b": [1, "x"]}}), r"rests\.a\.b"),
        (_changed(exp=1), "contradict each other"),
        (_changed(iss="somebody"), "contradict each other"),
        (_changed(admin=True), "more of them than a permit has"),
    ],
)
def test_claims_that_are_not_a_permits_are_told(claims: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Permit.read(claims)


def test_the_settings_take_one_key_and_a_sensible_lifetime() -> None:
    assert PermitsConfig(key={"env": "KEY"}).lifetime == 30 * SECOND
    with pytest.raises(ValidationError, match="two keys"):
        PermitsConfig(key={"env": "KEY"}, key_file="key")
    for lifetime in ("0s", "2d"):
        with pytest.raises(ValidationError):
            PermitsConfig(lifetime=lifetime)
