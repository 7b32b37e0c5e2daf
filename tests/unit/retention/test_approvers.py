"""Approvers' key files: made once, private, and nothing else taken for one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from retention import approvers
from vault.core.errors import UsageError

PHRASE = b"a passphrase of mine"


def phrase() -> bytes:
    return PHRASE


def never() -> bytes:
    raise AssertionError("nobody is asked for a passphrase here")


def test_a_key_is_private_and_its_two_files_belong_together(tmp_path: Path) -> None:
    file = tmp_path / "anna"
    public = approvers.make_key(file, PHRASE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert approvers.read_private(file, phrase).public_key().public_bytes_raw() == public
    assert approvers.read_public(file, phrase) == public
    assert approvers.read_public(approvers.public_file(file), never) == public
    assert approvers.fingerprint(public).startswith("SHA256:")


@pytest.mark.parametrize("name", ["anna", "anna.pub"])
def test_a_key_never_overwrites_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        approvers.make_key(tmp_path / "anna", PHRASE)
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_short_passphrase_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 12"):
        approvers.make_key(tmp_path / "anna", b"short")
    assert list(tmp_path.iterdir()) == []


def test_another_passphrase_opens_nothing(tmp_path: Path) -> None:
    approvers.make_key(tmp_path / "anna", PHRASE)
    with pytest.raises(UsageError, match="does not open"):
        approvers.read_private(tmp_path / "anna", lambda: b"another passphrase")


def test_what_is_no_approvers_key_is_refused(tmp_path: Path) -> None:
    def written(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    pkcs8, spki = serialization.PrivateFormat.PKCS8, serialization.PublicFormat.SubjectPublicKeyInfo
    under = serialization.BestAvailableEncryption(PHRASE)
    open_key = written("open", Ed25519PrivateKey.generate().private_bytes(pem, pkcs8, plain))
    other = generate_private_key(SECP256R1())
    elliptic = written("elliptic", other.private_bytes(pem, pkcs8, under))
    public = written("elliptic.pub", other.public_key().public_bytes(pem, spki))
    with pytest.raises(UsageError, match="under a passphrase"):
        approvers.read_private(open_key, never)
    with pytest.raises(UsageError, match="no Ed25519 key"):
        approvers.read_private(elliptic, phrase)
    with pytest.raises(UsageError, match="no Ed25519 key"):
        approvers.read_public(public, never)
    with pytest.raises(UsageError, match="no key in PEM"):
        approvers.read_public(written("text", b"hello"), never)
    with pytest.raises(UsageError, match="cannot read"):
        approvers.read_public(tmp_path / "nothing", never)
