"""Who signs reports: the vault's own certificate from ``init`` on, a file's, a token's."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import pkcs12

from reports.signing import PdfSignature
from reports.validating import check
from service import local_signer, signers
from tests.support.signers import Key, issued, small_report
from tests.support.tsa import Authority
from tests.support.vault import Installation
from vault import ledgers
from vault.core.canonical import b64, unb64
from vault.core.errors import KeyUnavailable, Modified, UsageError
from vault.verdict import Depth

PASSWORD = b"p12 password"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_report(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def seat(bare: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A vault for the tests that leave nothing behind but settings."""
    with bare.copied(tmp_path_factory.mktemp("seat") / "home") as copy:
        yield copy


@contextmanager
def settings(home: Path, text: str) -> Iterator[None]:
    (home / "signing.toml").write_text(text)
    try:
        yield
    finally:
        (home / "signing.toml").unlink()


def sign(installation: Installation, plain: Path, out: Path) -> PdfSignature:
    with installation.opened() as vault, signers.report_signer(installation.home, vault) as signer:
        return signer.sign(plain, out, report_id="rep-1", kind="evidence")


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def pem_of(key: Key, password: bytes | None = None) -> bytes:
    sealing = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)


def test_init_makes_the_certificate_and_says_so(seat: Installation, plain: Path, tmp_path: Path) -> None:
    made = local_signer.current(seat.home)
    assert made is not None
    with seat.opened() as vault:
        (told,) = ledgers.history(vault, "vault.initialised")
        assert unb64(told.facts["report_signer"], 32) == made.fingerprint
        assert vault.tenant in made.certificate.subject.rfc4514_string()
    life = made.certificate.not_valid_after_utc - made.certificate.not_valid_before_utc
    assert life.days == 3652
    signed = sign(seat, plain, tmp_path / "out.pdf")
    assert (signed.level, signed.problems, signed.fingerprint) == ("PAdES-B-B", (), made.fingerprint)
    assert check(tmp_path / "out.pdf", signers.trusted(seat.home)).trusted


def test_the_key_lies_nowhere_in_clear(seat: Installation) -> None:
    made = local_signer.current(seat.home)
    assert made is not None
    with seat.opened() as vault:
        key = local_signer.private_key(seat.home, vault.provider, vault.tenant_key, made)
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    for path in seat.home.rglob("*"):
        if path.is_file():
            assert scalar not in path.read_bytes(), path
            assert b"PRIVATE KEY" not in path.read_bytes(), path
    for path in (seat.home / "signer").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((seat.home / "signer").stat().st_mode) == 0o700


def test_show_needs_no_passphrase(seat: Installation) -> None:
    made = local_signer.current(seat.home)
    assert made is not None
    quiet = {"REASONVAULT_HOME": str(seat.home), "REASONVAULT_PASSPHRASE": "", "DATABASE_URL": "postgresql://nowhere"}
    ran = seat.run("signer", "show", "--json", environment=quiet)
    shown = json.loads(ran.stdout)
    assert shown["fingerprint"] == made.fingerprint.hex()
    assert (shown["signer"], shown["level"], shown["self_signed"], shown["problems"]) == (
        "local",
        "PAdES-B-B",
        True,
        [],
    )
    words = seat.run("signer", "show", environment=quiet).stdout
    assert made.fingerprint.hex() in words
    assert "problems     none" in words


def test_the_certificate_is_exported_once(seat: Installation, tmp_path: Path) -> None:
    out = tmp_path / "reports.pem"
    ran = seat.run("signer", "export-certificate", str(out))
    assert ran.exit_code == 0, ran.output
    made = local_signer.current(seat.home)
    assert made is not None
    assert out.read_bytes() == made.certificate.public_bytes(serialization.Encoding.PEM)
    assert seat.run("signer", "export-certificate", str(out)).exit_code == 2
    assert seat.run("signer", "export-certificate", str(tmp_path / "x"), "--number", "9").exit_code == 2


def test_renewal_is_an_event_and_forgets_the_key_before(
    installation: Installation, plain: Path, tmp_path: Path
) -> None:
    before = local_signer.current(installation.home)
    sign(installation, plain, tmp_path / "old.pdf")
    ran = installation.run("signer", "renew", "--json")
    assert ran.exit_code == 0, ran.output
    after = local_signer.current(installation.home)
    assert before is not None
    assert after is not None
    assert (after.number, json.loads(ran.stdout)["number"]) == (2, 2)
    assert not (installation.home / "signer" / "0001.key").exists()
    with installation.opened() as vault:
        (told,) = ledgers.history(vault, "signer.made")
        assert told.facts["certificate"] == b64(after.fingerprint)
    assert sign(installation, plain, tmp_path / "new.pdf").fingerprint == after.fingerprint
    trust = signers.trusted(installation.home)
    assert check(tmp_path / "old.pdf", trust).fingerprint == before.fingerprint
    assert check(tmp_path / "old.pdf", trust).trusted
    assert check(tmp_path / "new.pdf", trust).trusted
    installation.audit(Depth.ENVELOPES)


def test_a_vault_from_before_makes_its_certificate_when_it_signs(
    installation: Installation, plain: Path, tmp_path: Path
) -> None:
    shutil.rmtree(installation.home / "signer")
    assert "no certificate yet" in installation.run("signer", "show").stdout
    signed = sign(installation, plain, tmp_path / "out.pdf")
    with installation.opened() as vault:
        (told,) = ledgers.history(vault, "signer.made")
    assert unb64(told.facts["certificate"], 32) == signed.fingerprint
    assert check(tmp_path / "out.pdf", signers.trusted(installation.home)).trusted


def test_a_key_cannot_be_given_to_another_certificate(installation: Installation, plain: Path, tmp_path: Path) -> None:
    old = (installation.home / "signer" / "0001.key").read_bytes()
    installation.run("signer", "renew")
    private(installation.home / "signer" / "0002.key", old)
    with pytest.raises(Modified):
        sign(installation, plain, tmp_path / "out.pdf")
    (installation.home / "signer" / "0002.key").unlink()
    with pytest.raises(KeyUnavailable, match="missing"):
        sign(installation, plain, tmp_path / "out.pdf")
    assert not (tmp_path / "out.pdf").exists()


def test_a_new_root_of_the_key_store_changes_nothing(installation: Installation, plain: Path, tmp_path: Path) -> None:
    assert installation.run("keys", "rotate").exit_code == 0
    assert sign(installation, plain, tmp_path / "out.pdf").problems == ()


def test_pkcs12(seat: Installation, plain: Path, tmp_path: Path) -> None:
    root = issued("Company root", None, authority=True)
    key, certificate = issued("Company reports", root)
    sealing = serialization.BestAvailableEncryption(PASSWORD)
    raw = pkcs12.serialize_key_and_certificates(b"reports", key, certificate, [root[1]], sealing)
    private(tmp_path / "reports.p12", raw)
    private(tmp_path / "password", PASSWORD + b"\n")
    (tmp_path / "root.pem").write_bytes(root[1].public_bytes(serialization.Encoding.PEM))
    text = (
        f'[pkcs12]\nfile = "{tmp_path}/reports.p12"\npassword_file = "{tmp_path}/password"\n'
        f'[trust]\nroots = ["{tmp_path}/root.pem"]\n'
    )
    with settings(seat.home, text):
        signed = sign(seat, plain, tmp_path / "out.pdf")
        assert (signed.subject, signed.problems) == ("CN=Company reports", ())
        assert check(tmp_path / "out.pdf", signers.trusted(seat.home)).trusted
        shown = json.loads(seat.run("signer", "show", "--json").stdout)
        assert (shown["signer"], shown["self_signed"]) == ("pkcs12", False)
        refused = seat.run("signer", "renew")
        assert refused.exit_code == 2
        assert "renew that certificate where it is made" in refused.stderr
        private(tmp_path / "password", b"another")
        with pytest.raises(UsageError, match="the password is wrong") as told:
            sign(seat, plain, tmp_path / "out.pdf")
        assert "another" not in str(told.value)
        (tmp_path / "reports.p12").chmod(0o644)
        with pytest.raises(UsageError, match="chmod 600"):
            sign(seat, plain, tmp_path / "out.pdf")


def test_pem(seat: Installation, plain: Path, tmp_path: Path) -> None:
    root = issued("Company root", None, authority=True)
    key, certificate = issued("Company reports", root)
    private(tmp_path / "key.pem", pem_of(key, PASSWORD))
    private(tmp_path / "password", PASSWORD)
    chain = certificate.public_bytes(serialization.Encoding.PEM) + root[1].public_bytes(serialization.Encoding.PEM)
    (tmp_path / "certificate.pem").write_bytes(chain)
    text = f'[pem]\nkey = "{tmp_path}/key.pem"\ncertificate = "{tmp_path}/certificate.pem"\n'
    sealed = f'{text}password_file = "{tmp_path}/password"\n'
    with settings(seat.home, sealed):
        assert sign(seat, plain, tmp_path / "out.pdf").subject == "CN=Company reports"
        private(tmp_path / "key.pem", pem_of(issued("Other", root)[0], PASSWORD))
        with pytest.raises(UsageError, match="is not the key of the certificate"):
            sign(seat, plain, tmp_path / "out.pdf")
    with settings(seat.home, text), pytest.raises(UsageError, match="password is wrong or missing"):
        sign(seat, plain, tmp_path / "out.pdf")
    edwards = ed25519.Ed25519PrivateKey.generate()
    private(tmp_path / "key.pem", pem_of(edwards))  # type: ignore[arg-type]
    with settings(seat.home, text), pytest.raises(UsageError, match="RSA or ECDSA"):
        sign(seat, plain, tmp_path / "out.pdf")


def test_a_time_stamp_from_the_settings(seat: Installation, plain: Path, tmp_path: Path) -> None:
    with Authority.opened(tmp_path / "tsa") as authority:
        text = f'[time_stamp]\nurl = "{authority.url}"\nroots = ["{authority.folder}/root.pem"]\n'
        with settings(seat.home, text):
            signed = sign(seat, plain, tmp_path / "out.pdf")
            assert (signed.level, signed.problems) == ("PAdES-B-T", ())
            found = check(tmp_path / "out.pdf", signers.trusted(seat.home))
            assert found.trusted
            assert found.stamp_trusted


MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SoftHSM token with a key and its certificate, both called "reports"."""
    if shutil.which("softhsm2-util") is None or not MODULE.exists():
        pytest.skip("SOFTHSM2 IS NOT INSTALLED: signing with a token was not tried")
    pkcs11 = pytest.importorskip("pkcs11", reason="THE EXTRA [pkcs11] IS NOT INSTALLED: no token was tried")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    key, certificate = issued("Company token", None)
    keyfile = private(tmp_path / "key.pem", pem_of(key))
    util = ["softhsm2-util", "--module", str(MODULE)]
    begin = [*util, "--init-token", "--free", "--label", "reports", "--so-pin", "1234", "--pin", "4321"]
    subprocess.run(begin, check=True, capture_output=True)
    bring = [*util, "--import", str(keyfile), "--token", "reports", "--label", "reports", "--id", "01", "--pin", "4321"]
    subprocess.run(bring, check=True, capture_output=True)
    keyfile.unlink()
    der = certificate.public_bytes(serialization.Encoding.DER)
    library = pkcs11.lib(str(MODULE))
    library.reinitialize()
    with library.get_token(token_label="reports").open(rw=True, user_pin="4321") as session:
        session.create_object(
            {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
                pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
                pkcs11.Attribute.TOKEN: True,
                pkcs11.Attribute.LABEL: "reports",
                pkcs11.Attribute.ID: b"\x01",
                pkcs11.Attribute.SUBJECT: certificate.subject.public_bytes(),
                pkcs11.Attribute.VALUE: der,
            }
        )
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private(tmp_path / "pin", b"4321\n")
    return tmp_path


@pytest.mark.parametrize("by", ["label", "file"])
def test_a_token_signs(seat: Installation, plain: Path, token: Path, by: str) -> None:
    text = f'[pkcs11]\nmodule = "{MODULE}"\ntoken = "reports"\nkey = "reports"\npin_file = "{token}/pin"\n'
    named = 'certificate = "reports"\n' if by == "label" else f'certificate_file = "{token}/certificate.pem"\n'
    trust = f'[trust]\nroots = ["{token}/certificate.pem"]\n'
    with settings(seat.home, text + named + trust):
        signed = sign(seat, plain, token / "out.pdf")
        assert (signed.subject, signed.problems) == ("CN=Company token", ())
        assert check(token / "out.pdf", signers.trusted(seat.home)).trusted
        private(token / "pin", b"9999")
        with pytest.raises(KeyUnavailable, match="the token reports cannot be used"):
            sign(seat, plain, token / "out.pdf")


def test_a_token_without_its_library_is_said(seat: Installation, plain: Path, tmp_path: Path) -> None:
    text = f'[pkcs11]\nmodule = "{tmp_path}/none.so"\ntoken = "t"\nkey = "k"\ncertificate = "c"\npin_file = "pin"\n'
    private(seat.home / "pin", b"4321")
    with settings(seat.home, text), pytest.raises(KeyUnavailable, match="cannot be used"):
        sign(seat, plain, tmp_path / "out.pdf")


def test_a_token_without_the_extra_is_said(
    seat: Installation, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pkcs11", None)
    private(tmp_path / "pin", b"4321")
    text = f'[pkcs11]\nmodule = "m"\ntoken = "t"\nkey = "k"\ncertificate = "c"\npin_file = "{tmp_path}/pin"\n'
    with settings(seat.home, text), pytest.raises(UsageError, match=r"reasonvault\[pkcs11\]"):
        sign(seat, plain, tmp_path / "out.pdf")


def test_a_report_is_verified_by_a_command(seat: Installation, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pdf"
    signed = sign(seat, plain, out)
    quiet = {"REASONVAULT_HOME": str(seat.home), "REASONVAULT_PASSPHRASE": "", "DATABASE_URL": "postgresql://nowhere"}
    ran = seat.run("report", "verify", str(out), "--json", environment=quiet)
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert (told["verdict"], told["fingerprint"]) == ("OK", signed.fingerprint.hex())
    assert told["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert seat.run("report", "verify", str(out), environment=quiet).stdout.startswith("OK ")
    seat.run("signer", "export-certificate", str(tmp_path / "own.pem"))
    alone = quiet | {"REASONVAULT_HOME": str(tmp_path / "nowhere")}
    given = ("report", "verify", str(out), "--certificate", str(tmp_path / "own.pem"))
    assert seat.run(*given, environment=alone).exit_code == 0
    stranger = issued("Somebody else", None)[1].public_bytes(serialization.Encoding.PEM)
    (tmp_path / "own.pem").write_bytes(stranger)
    refused = seat.run(*given, environment=alone)
    assert refused.exit_code == 10
    assert "is whole, but signed by CN=Reasonvault reports" in refused.stderr
    raw = bytearray(out.read_bytes())
    raw[len(raw) // 3] ^= 1
    out.write_bytes(raw)
    changed = seat.run("report", "verify", str(out), environment=quiet)
    assert changed.exit_code == 10
    assert changed.stderr.count("\n") == 1
    assert seat.run("report", "verify", str(tmp_path / "absent"), environment=quiet).exit_code == 2
