"""Time-stamps as the auditor's verify.py reads them: by real authorities, by OpenSSL's word, and whatever is wrong."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.support import standalone
from tests.support.tsa import Authority
from vault import stamping

verify = standalone.load()
STAMPED = b"a checkpoint\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with Authority.opened(tmp_path_factory.mktemp("tsa")) as made:
        yield made


@pytest.fixture(scope="module")
def roots(authority: Authority) -> list[x509.Certificate]:
    return list(verify.certificates_in(authority.root))


@pytest.fixture(scope="module")
def response(authority: Authority) -> bytes:
    authority.signer = "tsa"
    return authority.reply(stamping.ask(STAMPED).der)


def stamp(response: bytes, roots: Any, stamped: bytes = STAMPED) -> str:
    """The authority that a response holds for, or why it does not."""
    report = verify.Report()
    with report.checking("stamp"):
        return str(verify.verify_stamp(response, stamped, roots).authority)
    return str(report.findings[0].what)


def test_it_agrees_with_openssl_and_with_the_vault(
    authority: Authority, roots: list[x509.Certificate], response: bytes
) -> None:
    found = verify.verify_stamp(response, STAMPED, roots)
    assert authority.verify(response, STAMPED)
    ours = stamping.verify(response, STAMPED, roots)
    assert (found.at, found.authority) == (ours.at, ours.authority)
    assert found.anchor == roots[0].fingerprint(verify.hashes.SHA256()).hex()


def test_a_signer_with_an_rsa_key(authority: Authority, roots: list[x509.Certificate]) -> None:
    run = authority._openssl
    authority.certify("rsa")
    run(["genrsa", "-out", "rsa.key", "2048"])
    run(["req", "-new", "-key", "rsa.key", "-subj", "/CN=RSA", "-out", "rsa.csr", "-config", "/dev/null"])
    signed = ["x509", "-req", "-in", "rsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"]
    run([*signed, "-days", "9", "-extfile", "x.cnf", "-extensions", "v3", "-out", "rsa.pem"])
    authority.signer = "rsa"
    assert stamp(authority.reply(stamping.ask(STAMPED).der), roots) == "CN=RSA"


def test_other_bytes_another_root_or_no_root(
    authority: Authority, roots: list[x509.Certificate], response: bytes, tmp_path: Path
) -> None:
    assert "other bytes" in stamp(response, roots, b"another checkpoint\n")
    assert "authority" in stamp(response, [])
    with Authority.opened(tmp_path / "other") as other:  # of the same name
        assert "authority" in stamp(response, list(verify.certificates_in(other.root)))


@pytest.mark.parametrize(
    "days", [("20200101000000Z", "20210101000000Z"), ("20990101000000Z", "21000101000000Z")], ids=["expired", "early"]
)
def test_a_certificate_counts_at_the_time_of_the_stamp(
    authority: Authority, roots: list[x509.Certificate], days: tuple[str, str]
) -> None:
    name = f"of-{days[0][:4]}"
    authority.certify(name, days=days)
    authority.signer = name
    assert "not valid at the time" in stamp(authority.reply(stamping.ask(STAMPED).der), roots)


def test_no_clock_is_asked_so_a_stamp_does_not_go_bad() -> None:
    tree = ast.parse(standalone.FILE.read_text("utf-8"))
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not called & {"now", "utcnow", "today", "monotonic", "time_ns", "gmtime", "localtime"}
    assert "time" not in imported


def test_a_certificate_that_is_not_for_time_stamps_alone(authority: Authority, roots: list[x509.Certificate]) -> None:
    run = authority._openssl
    for name, usage in (("mail", "critical,emailProtection"), ("both", "critical,timeStamping,emailProtection")):
        authority.certify(name)
        (authority.folder / "y.cnf").write_text(f"[v3]\nbasicConstraints = CA:FALSE\nextendedKeyUsage = {usage}\n")
        signed = ["x509", "-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"]
        run([*signed, "-days", "9", "-extfile", "y.cnf", "-extensions", "v3", "-out", f"{name}.pem"])
    # OpenSSL's authority does not sign with such a certificate: exchange it in a stamp that holds.
    certificate = x509.load_pem_x509_certificate((authority.folder / "tsa.pem").read_bytes())
    for name in ("mail", "both"):
        other = x509.load_pem_x509_certificate((authority.folder / f"{name}.pem").read_bytes())
        report = verify.Report()
        with report.checking("chain"):
            verify.check_chain(other, [], roots, certificate.not_valid_before_utc)
        assert "time-stamps" in report.findings[0].what


def test_flipped_bits_never_make_another_stamp(roots: list[x509.Certificate], response: bytes) -> None:
    """Some bytes nobody signed, such as the status text; what is said by them stays the same."""
    sound = verify.verify_stamp(response, STAMPED, roots)
    drawn = random.Random(3)
    for _ in range(400):
        data = bytearray(response)
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        report = verify.Report()
        found = sound
        with report.checking("stamp"):
            found = verify.verify_stamp(bytes(data), STAMPED, roots)
        assert found[:2] == sound[:2]
    for end in range(0, len(response), 37):
        assert "stamp:" in stamp(response[:end], roots)
