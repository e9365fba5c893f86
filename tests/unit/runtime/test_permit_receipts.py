"""Receipts over stored answers: signed, expired, forged, of other keys and other journals."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import jwt
import pytest

from observer_core.runtime.audit.permits import Permits, signing_key, trusted_keys, verify
from observer_core.runtime.settings import Settings
from observer_core.safety.signing import SigningKey, write_key_file
from observer_core.shared.canonical import encode
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ConfigError, InputError
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import hash_at
from observer_core.storage.memory import MemoryStorage
from tests.support.allows import BTC, Desk, decision, seconds
from tests.support.toys import note

KEY = SigningKey.read(base64.b64encode(bytes(range(32))).decode(), "test")
OTHER = SigningKey.read(base64.b64encode(bytes(32)).decode(), "test")
KEYS = {KEY.id: KEY.public}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def receipt(desk: Desk, key: SigningKey = KEY, lifetime_s: int = 10) -> str:
    return Permits(desk.journals, key, lifetime_s * SECOND).permit_for(desk.answer(5))


def test_a_receipt_names_what_the_answer_rests_on_and_the_answer_itself(desk: Desk) -> None:
    verdict = verify(receipt(desk), KEYS, seconds(6), desk.journals)
    permit = verdict.permit
    assert verdict.holds
    assert permit is not None
    assert (permit.caller, permit.action, permit.resource, permit.domain) == ("desk", "trade", BTC, "live")
    assert permit.answer == "gate.live@2"
    assert {name: rest.position for name, rest in permit.rests.items()} == {
        "decisions.live": 1, "snapshots.feed": 3, "gate.live": 2,
    }  # fmt: skip
    for name, rest in permit.rests.items():
        assert rest.hash == hash_at(desk.journals.open(name), rest.position).hex()
    row = desk.journals.open("decisions.live").epoch_row(1)
    assert (permit.epoch, permit.policies) == (1, row["identity"])


def test_later_records_change_nothing_of_it(desk: Desk) -> None:
    text = receipt(desk)
    desk.write("decisions.live", decision(7, "block"))
    desk.write("snapshots.feed", note(8))
    assert verify(text, KEYS, seconds(6), desk.journals).holds


def test_the_same_answer_gives_the_same_receipt(desk: Desk) -> None:
    ref = desk.answer(5)
    made = [Permits(desk.journals, KEY, SECOND).permit_for(ref) for _ in range(2)]
    assert made[0] == made[1]


def test_any_library_of_web_tokens_verifies_it(desk: Desk) -> None:
    options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(receipt(desk), KEY.public.pem(), algorithms=["EdDSA"], options=options)  # type: ignore[arg-type]
    assert claims["sub"] == "desk"
    with pytest.raises(jwt.ExpiredSignatureError):
        jwt.decode(receipt(desk), KEY.public.pem(), algorithms=["EdDSA"])
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(receipt(desk), OTHER.public.pem(), algorithms=["EdDSA"], options=options)  # type: ignore[arg-type]


def test_an_expired_one_does_not_hold(desk: Desk) -> None:
    verdict = verify(receipt(desk), KEYS, seconds(15))
    assert not verdict.holds
    assert verdict.signature is None
    assert "has expired" in str(verdict.time)


def test_one_of_another_key_is_not_believed(desk: Desk) -> None:
    verdict = verify(receipt(desk, OTHER), KEYS, seconds(6))
    assert (verdict.holds, verdict.permit) == (False, None)
    assert f"key {OTHER.id}, which is not trusted; trusted are: {KEY.id}" in str(verdict.signature)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_forged_one_is_not_believed(desk: Desk, part: int) -> None:
    parts = receipt(desk).split(".")
    data = base64.urlsafe_b64decode(parts[part] + "==")
    if part == 1:
        value = json.loads(data)
        value["permit"]["resource"] = "ETH/USDT"
        data = encode(value)
    elif part == 0:
        data = data.replace(KEY.id.encode(), KEY.id.encode()) + b" "
    else:
        data = bytes([data[0] ^ 1]) + data[1:]
    parts[part] = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    verdict = verify(".".join(parts), KEYS, seconds(6))
    assert (verdict.holds, verdict.permit) == (False, None)
    assert "the receipt was changed" in str(verdict.signature)


def test_a_key_that_says_it_is_another_is_not_believed(desk: Desk) -> None:
    text = receipt(desk, OTHER)
    header, rest = text.split(".", 1)
    value = json.loads(base64.urlsafe_b64decode(header + "=="))
    value["kid"] = KEY.id
    forged = base64.urlsafe_b64encode(encode(value)).rstrip(b"=").decode() + "." + rest
    assert verify(forged, KEYS, seconds(6)).permit is None


def test_other_journals_than_those_it_rests_on_are_told(desk: Desk) -> None:
    text = receipt(desk)
    other = Desk()
    other.write("gate.live", note(1))
    verdict = verify(text, KEYS, seconds(6), other.journals)
    assert verdict.data is not None
    assert not verdict.holds
    assert any("gate.live has" in fault and "written anew" in fault for fault in verdict.data)
    assert any("gate.live@2" in fault for fault in verdict.data)
    nothing = verify(text, KEYS, seconds(6), Journals(MemoryStorage(), worker="r")).data
    assert nothing is not None
    assert "there is no journal 'decisions.live' here" in nothing


def test_a_journal_that_ends_before_is_told(desk: Desk) -> None:
    desk.answer(4)
    text = receipt(desk)
    verdict = verify(text, KEYS, seconds(6), Desk().journals)
    assert any("gate.live ends at position 1; the receipt rests on 3" in x for x in verdict.data or ())


@pytest.mark.parametrize("ref", ["gate.live@1", "gate.live@9", "decisions.live@1", "nonsense"])
def test_what_is_no_allow_gets_none(desk: Desk, ref: str) -> None:
    with pytest.raises((InputError, ValueError)):
        Permits(desk.journals, KEY, SECOND).permit_for(ref)


def test_a_denial_gets_none(desk: Desk) -> None:
    with pytest.raises(InputError, match="is a denial"):
        Permits(desk.journals, KEY, SECOND).permit_for(desk.answer(5, "non_execution"))


class TestKeys:
    def test_without_a_key_there_are_no_receipts(self, desk: Desk) -> None:
        assert Permits.of(Settings(), desk.journals) is None
        assert trusted_keys(Settings()) == {}

    def test_a_key_of_the_environment_or_a_file_signs(
        self, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PERMITS_KEY", KEY.pem().replace("\n", "\\n"))
        write_key_file(tmp_path / "key", OTHER)
        by_environment = Settings(permits={"key": {"env": "PERMITS_KEY"}})
        by_file = Settings(root=tmp_path, permits={"key_file": "key"})
        assert [key and key.id for key in map(signing_key, (by_environment, by_file))] == [KEY.id, OTHER.id]
        permits = Permits.of(by_environment, desk.journals)
        assert repr(permits) == f"Permits(SigningKey({KEY.id}))"
        assert KEY.pem().split("\n")[1] not in repr(by_environment) + str(by_environment.model_dump())

    def test_a_key_that_is_missing_or_none_is_told_without_being_shown(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = Settings(permits={"key": {"env": "PERMITS_KEY"}})
        monkeypatch.delenv("PERMITS_KEY", raising=False)
        with pytest.raises(ConfigError, match="the environment has no PERMITS_KEY"):
            signing_key(settings)
        monkeypatch.setenv("PERMITS_KEY", "hunter2")
        with pytest.raises(ConfigError, match="PERMITS_KEY, which") as refused:
            signing_key(settings)
        assert "hunter2" not in str(refused.value)

    def test_receipts_of_a_key_that_was_changed_are_still_trusted(self, desk: Desk, tmp_path: Path) -> None:
        old = receipt(desk, OTHER)
        write_key_file(tmp_path / "old", OTHER)
        write_key_file(tmp_path / "new", KEY)
        settings = Settings(root=tmp_path, permits={"key_file": "new", "trusted": ["old.pub"]})
        assert set(trusted_keys(settings)) == {KEY.id, OTHER.id}
        assert verify(old, trusted_keys(settings), seconds(6)).holds
        only = trusted_keys(settings, [tmp_path / "new.pub"])
        assert set(only) == {KEY.id}
