"""Time-stamps by a real authority (OpenSSL): what they prove, and every way in which one proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate, load_pem_x509_certificate, load_pem_x509_certificates

from tests.support.tsa import Authority, Mood, _answer
from vault import stamping
from vault.stamping import BadStamp, Stamp

DATA = "log.example/1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\N{EM DASH} x AAAAAAAA\n".encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with Authority.opened(tmp_path_factory.mktemp("tsa")) as authority:
        yield authority


@pytest.fixture(scope="module")
def roots(authority: Authority) -> list[Certificate]:
    return load_pem_x509_certificates(authority.root)


@pytest.fixture(scope="module")
def response(authority: Authority) -> tuple[bytes, int]:
    """A good response, and the nonce of its request."""
    asked = stamping.ask(DATA)
    return authority.reply(asked.der), asked.nonce


def test_a_stamp_is_what_openssl_says_it_is(
    authority: Authority, roots: list[Certificate], response: tuple[bytes, int]
) -> None:
    der, nonce = response
    found = stamping.verify(der, DATA, roots, nonce)
    signer = load_pem_x509_certificate((authority.folder / "tsa.pem").read_bytes())
    assert found.authority == "CN=Example tsa,O=Example,C=XX"
    assert found.certificate == signer.fingerprint(SHA256())
    assert abs(found.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert authority.verify(der, DATA)
    assert not authority.verify(der, DATA + b"\n")


def test_it_is_the_same_years_later_and_without_the_nonce(
    roots: list[Certificate], response: tuple[bytes, int]
) -> None:
    der, nonce = response
    assert stamping.verify(der, DATA, roots) == stamping.verify(der, DATA, roots, nonce)


def answered(authority: Authority, mood: Mood, data: bytes = DATA) -> tuple[bytes, int]:
    asked = stamping.ask(data)
    authority.mood = mood
    try:
        return _answer(authority, asked.der)[1], asked.nonce
    finally:
        authority.mood = "well"


@pytest.mark.parametrize(
    ("mood", "code", "words"),
    [
        ("other nonce", "nonce", "its nonce is not ours"),
        ("other digest", "digest", "over other bytes"),
        ("refuses", "refused", "refused .status 2.: Message digest algorithm is not supported"),
        ("garbage", "unreadable", "no time-stamp response"),
        ("huge", "unreadable", "longer than"),
    ],
)
def test_what_proves_nothing(authority: Authority, roots: list[Certificate], mood: Mood, code: str, words: str) -> None:
    der, nonce = answered(authority, mood)
    with pytest.raises(BadStamp, match=words) as raised:
        stamping.verify(der, DATA, roots, nonce)
    assert raised.value.code == code


def test_another_root_or_none_that_leads_there(
    roots: list[Certificate], response: tuple[bytes, int], tmp_path: Path
) -> None:
    der, nonce = response
    with Authority.opened(tmp_path / "other") as other:
        strangers = load_pem_x509_certificates(other.root)
        with pytest.raises(BadStamp, match="does not hold") as raised:
            stamping.verify(der, DATA, strangers, nonce)
        assert raised.value.code == "certificate"
        assert isinstance(stamping.verify(der, DATA, [*strangers, *roots], nonce), Stamp)


def test_a_certificate_that_had_expired_when_it_stamped(authority: Authority, roots: list[Certificate]) -> None:
    authority.certify("expired", days=("20200101000000Z", "20210101000000Z"))
    authority.signer = "expired"
    try:
        der, nonce = answered(authority, "well")
    finally:
        authority.signer = "tsa"
    with pytest.raises(BadStamp, match="certificate has expired") as raised:
        stamping.verify(der, DATA, roots, nonce)
    assert raised.value.code == "certificate"
    assert not authority.verify(der, DATA)


def test_a_certificate_that_expired_since_does_no_harm(authority: Authority, roots: list[Certificate]) -> None:
    """It is judged at the time that the stamp names; so it is again when the certificate is long out of date."""
    now = datetime.now(UTC)
    end = now + timedelta(seconds=3600)
    authority.certify("brief", days=(f"{now - timedelta(hours=1):%Y%m%d%H%M%SZ}", f"{end:%Y%m%d%H%M%SZ}"))
    authority.signer = "brief"
    try:
        der, _ = answered(authority, "well")
    finally:
        authority.signer = "tsa"
    found = stamping.verify(der, DATA, roots)
    assert found.at < end
    # OpenSSL, asked as of now, will refuse it in an hour; asked as of the stamp's time it goes on agreeing.
    assert authority.verify(der, DATA, at=int(found.at.timestamp()))
    assert not authority.verify(der, DATA, at=int(end.timestamp()) + 1)


def test_a_byte_changed_anywhere_is_found(roots: list[Certificate], response: tuple[bytes, int]) -> None:
    der, nonce = response
    good = stamping.verify(der, DATA, roots, nonce)
    for at in range(0, len(der), 7):
        damaged = der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]
        try:
            found = stamping.verify(damaged, DATA, roots, nonce)
        except BadStamp:
            continue
        assert found == good  # in what no signature covers, such as the spare root certificate


def test_a_certificate_that_no_library_reads_proves_nothing(
    roots: list[Certificate], response: tuple[bytes, int]
) -> None:
    """Libraries have errors of their own for what a stranger may send."""
    der, nonce = response
    version = b"\xa0\x03\x02\x01\x02"
    places = [at for at in range(len(der)) if der.startswith(version, at)]
    codes = set()
    for at in places:
        with pytest.raises(BadStamp) as caught:
            stamping.verify(der[:at] + version[:-1] + b"\x34" + der[at + len(version) :], DATA, roots, nonce)
        codes.add(caught.value.code)
    assert "unreadable" in codes


def test_what_a_stranger_says_moves_no_cursor() -> None:
    """An authority's own words stand in terminals, logs and reports."""

    def spelled(tag: int, data: bytes) -> bytes:
        return bytes([tag, len(data)]) + data

    words = spelled(0x30, spelled(0x0C, "no\x1b[2J\nOK\N{RIGHT-TO-LEFT OVERRIDE}x".encode()))
    with pytest.raises(BadStamp) as caught:
        stamping.verify(spelled(0x30, spelled(0x30, spelled(2, b"\2") + words)), DATA, [])
    assert (caught.value.code, str(caught.value)) == ("refused", "the authority refused (status 2): no?[2J?OK?x")


def test_two_requests_never_share_a_nonce() -> None:
    assert len({stamping.ask(DATA).nonce for _ in range(50)}) == 50
