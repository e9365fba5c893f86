"""Keys: read with care, never shown, named by their thumbprints."""

from __future__ import annotations

import base64
import json
import os
import pickle
from pathlib import Path

import pytest

from observer_core.safety.signing import PublicKey, SigningKey, read_key_file, write_key_file
from observer_core.shared.errors import ConfigError, InputError

# RFC 8037, appendix A: a key, its thumbprint, and a signature of it.
PRIVATE = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
SIGNED = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
SIGNATURE = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"


def test_the_vectors_of_rfc_8037() -> None:
    key = SigningKey.read(PRIVATE, "test")
    assert (key.id, key.public.jwk()["x"]) == (THUMBPRINT, PUBLIC)
    signature = key.sign(SIGNED)
    assert base64.urlsafe_b64encode(signature).rstrip(b"=").decode() == SIGNATURE
    assert key.public.verifies(signature, SIGNED)
    assert not key.public.verifies(signature, SIGNED + b"x")
    assert not key.public.verifies(b"", SIGNED)


def test_a_key_is_the_same_in_every_spelling() -> None:
    key = SigningKey.read(PRIVATE, "test")
    standard = base64.b64encode(base64.urlsafe_b64decode(PRIVATE + "=")).decode()
    for text in (key.pem(), key.pem().replace("\n", "\\n"), standard, f"  {PRIVATE}\n"):
        assert SigningKey.read(text, "test").id == THUMBPRINT
    for text in (key.public.pem(), json.dumps(key.public.jwk()), json.dumps({"keys": [key.public.jwk()]})):
        assert PublicKey.read(text, "test") == [key.public]


def test_a_new_file_is_its_owners_alone_and_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "permits.pem"
    os.umask(os.umask(0o022))
    key = SigningKey.new()
    public = write_key_file(path, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path).id == key.id
    assert PublicKey.read(public.read_text(), "test") == [key.public]
    with pytest.raises(InputError, match="never written over"):
        write_key_file(path, SigningKey.new())
    assert read_key_file(path).id == key.id
    path.unlink()
    with pytest.raises(InputError, match=r"permits\.pem\.pub exists"):
        write_key_file(path, SigningKey.new())
    assert not path.exists()  # no private key is left of what was refused


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    write_key_file(path, SigningKey.new())
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o}.*chmod 600"):
        read_key_file(path)


def test_a_file_that_is_not_there_is_told_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file.*permit key new"):
        read_key_file(tmp_path / "none")


@pytest.mark.parametrize(
    "text", ["", "hunter2-secret", PRIVATE[:-4], PRIVATE * 2, "-----BEGIN PRIVATE KEY-----\nhunter2-secret\n"]
)
def test_what_is_no_private_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match=r"the setting X.*PKCS 8") as refused:
        SigningKey.read(text, "the setting X")
    assert "hunter2" not in str(refused.value)
    assert PRIVATE[:8] not in str(refused.value)


def test_a_key_of_another_kind_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    other = generate_private_key(SECP256R1())
    private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ConfigError, match="Ed25519"):
        SigningKey.read(private, "test")
    with pytest.raises(InputError, match="Ed25519"):
        PublicKey.read(public, "test")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"keys": 1}', '{"kty":"OKP","crv":"Ed25519","x":"AA"}'])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"x\.pub: expected an Ed25519 public key"):
        PublicKey.read(text, "x.pub")


def test_a_private_key_is_not_taken_for_a_public_one() -> None:
    private = {**SigningKey.read(PRIVATE, "test").public.jwk(), "d": PRIVATE}
    with pytest.raises(InputError):
        PublicKey.read(json.dumps(private), "x")


def test_a_private_key_is_never_shown_nor_pickled() -> None:
    key = SigningKey.read(PRIVATE, "test")
    assert repr(key) == str(key) == f"SigningKey({THUMBPRINT})"
    with pytest.raises(TypeError):
        pickle.dumps(key)
