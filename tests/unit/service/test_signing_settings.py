"""``signing.toml``: one signer, and secrets that nobody else reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.signing_settings import read_signing, secret
from vault.core.errors import UsageError

TOKEN = "[pkcs11]\nmodule='m'\ntoken='t'\nkey='k'\npin_file='p'\n"


def wrote(home: Path, text: str) -> Path:
    (home / "signing.toml").write_text(text)
    return home


def test_nothing_set(tmp_path: Path) -> None:
    found = read_signing(tmp_path)
    assert (found.kind, found.long_term, found.time_stamp) == ("local", False, None)


def test_everything_set(tmp_path: Path) -> None:
    text = """
[pkcs12]
file = "a.p12"
password_file = "a.password"
[time_stamp]
url = "https://tsa.example/tsr"
roots = ["tsa.pem"]
timeout_seconds = 5
[trust]
roots = ["root.pem"]
revocation = ["root.crl"]
"""
    found = read_signing(wrote(tmp_path, text))
    assert found.kind == "pkcs12"
    assert found.long_term
    assert found.time_stamp is not None
    assert found.time_stamp.timeout_seconds == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[signer]\n", "unknown field"),
        ("[pkcs12]\nfile = 'a'\npassword = 'secret'\n", "unknown field"),
        ("[pem]\nkey = 'a'\n", "certificate"),
        ("[pkcs12]\nfile='a'\n[pem]\nkey='a'\ncertificate='b'\n", "more than one signer"),
        ("[pkcs11]\nmodule='m'\ntoken='t'\nkey='k'\npin_file='p'\n", "one of both"),
        (
            "[pkcs11]\nmodule='m'\ntoken='t'\nkey='k'\npin_file='p'\ncertificate='c'\ncertificate_file='f'\n",
            "one of both",
        ),
        ("[time_stamp]\nurl = 'ftp://tsa.example'\n", "url"),
        ("[time_stamp]\nurl = 'https://tsa.example'\ntimeout_seconds = 0\n", "timeout_seconds"),
        ("not toml", "cannot read"),
    ],
    ids=["section", "field", "missing", "two", "no certificate", "two certificates", "url", "timeout", "syntax"],
)
def test_what_cannot_work_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as told:
        read_signing(wrote(tmp_path, text))
    assert "\n" not in str(told.value)
    assert "signing.toml" in str(told.value)


def test_secrets_are_their_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"x\n")
    file.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        secret(file)
    file.chmod(0o600)
    assert secret(file) == b"x\n"
    with pytest.raises(UsageError, match="cannot read"):
        secret(tmp_path / "absent")
