"""The vault's own tokens: what it issues it reads, and nothing else."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OKPKey

from service.identity.reasons import Reason
from service.identity.tokens import LIFETIME, MAX_LIFETIME, LocalClaims, TokenIssuer, issuer_name
from tests.support.published_keys import NOW, compact
from vault.core.canonical import b64
from vault.core.errors import Denied, KeyUnavailable, UsageError

TENANT = UUID(int=7)
ISSUER = issuer_name(TENANT)
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = SECRET.public_key().public_bytes_raw()
KEY = OKPKey.import_key(SECRET)


class Clock:
    """Microseconds, moved by hand."""

    def __init__(self) -> None:
        self.seconds: float = NOW

    def __call__(self) -> int:
        return int(self.seconds * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer(clock: Clock) -> TokenIssuer:
    return TokenIssuer(ISSUER, SECRET.sign, PUBLIC, clock)


def refusal(issuer: TokenIssuer, token: str) -> str:
    with pytest.raises(Denied) as refused:
        issuer.read(token)
    return str(refused.value)


def forged(header: dict[str, Any] | None = None, **changed: Any) -> str:
    """A token under the right key, good but for what is changed; None leaves a claim out."""
    good = {"aud": ISSUER, "exp": NOW + 60, "gen": 3, "iat": NOW, "iss": ISSUER, "jti": "x", "sub": "person-1"}
    payload = {name: value for name, value in (good | changed).items() if value is not None}
    return compact({"alg": "Ed25519", "kid": KEY.thumbprint(), "typ": "at+jwt"} | (header or {}), payload, KEY)


def test_what_is_issued_is_read(issuer: TokenIssuer) -> None:
    token = issuer.issue("person-1", 3)
    assert issuer.is_ours(token)
    assert issuer.read(token) == LocalClaims("person-1", 3, (NOW + LIFETIME) * 1_000_000)


def test_a_library_that_is_not_ours_agrees(issuer: TokenIssuer) -> None:
    token = issuer.issue("person-1", 3, 60)
    read = jwt.decode(token, OKPKey.import_key(SECRET.public_key()), ["Ed25519"])
    assert read.header == {"alg": "Ed25519", "kid": KEY.thumbprint(), "typ": "at+jwt"}
    assert read.claims.pop("jti")
    assert read.claims == {"aud": ISSUER, "exp": NOW + 60, "gen": 3, "iat": NOW, "iss": ISSUER, "sub": "person-1"}


def test_no_two_tokens_are_the_same(issuer: TokenIssuer) -> None:
    assert issuer.issue("person-1", 3) != issuer.issue("person-1", 3)


def test_a_token_ends_to_the_second(issuer: TokenIssuer, clock: Clock) -> None:
    token = issuer.issue("person-1", 3, 60)
    clock.seconds = NOW + 59.999
    assert issuer.read(token).person == "person-1"
    clock.seconds = NOW + 60
    assert refusal(issuer, token) == Reason.EXPIRED


def test_a_clock_that_stepped_back_a_little_is_forgiven(issuer: TokenIssuer, clock: Clock) -> None:
    token = issuer.issue("person-1", 3)
    clock.seconds = NOW - 60
    assert issuer.read(token).person == "person-1"
    clock.seconds = NOW - 61
    assert refusal(issuer, token) == Reason.FROM_THE_FUTURE


@pytest.mark.parametrize("seconds", [0, -1, MAX_LIFETIME + 1])
def test_no_token_for_ever(issuer: TokenIssuer, seconds: int) -> None:
    with pytest.raises(UsageError):
        issuer.issue("person-1", 3, seconds)


def test_not_even_under_the_right_key(issuer: TokenIssuer, clock: Clock) -> None:
    token = forged(exp=NOW + 10**6)
    assert issuer.read(token).expires_at == (NOW + MAX_LIFETIME) * 1_000_000
    clock.seconds = NOW + MAX_LIFETIME
    assert refusal(issuer, token) == Reason.EXPIRED


def test_another_vaults_token(issuer: TokenIssuer, clock: Clock) -> None:
    theirs = Ed25519PrivateKey.generate()
    other = TokenIssuer(ISSUER, theirs.sign, theirs.public_key().public_bytes_raw(), clock)
    token = other.issue("person-1", 3)
    assert not issuer.is_ours(token)
    assert refusal(issuer, token) == Reason.UNKNOWN_KEY


def test_another_tenants_token_under_the_same_key(issuer: TokenIssuer, clock: Clock) -> None:
    other = TokenIssuer(issuer_name(UUID(int=8)), SECRET.sign, PUBLIC, clock)
    assert refusal(issuer, other.issue("person-1", 3)) in (Reason.ISSUER, Reason.AUDIENCE)  # both name the tenant


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"aud": "urn:reasonvault:other"}, Reason.AUDIENCE),
        ({"iss": "urn:reasonvault:other"}, Reason.ISSUER),
        ({"exp": None}, Reason.CLAIMS_MISSING),
        ({"iat": None}, Reason.CLAIMS_MISSING),
        ({"sub": None}, Reason.CLAIMS_MISSING),
        ({"gen": None}, Reason.CLAIMS_MALFORMED),
        ({"gen": "3"}, Reason.CLAIMS_MALFORMED),
        ({"gen": True}, Reason.CLAIMS_MALFORMED),
        ({"nbf": NOW + 61}, Reason.NOT_YET),
    ],
    ids=str,
)
def test_bad_claims_under_the_right_key(issuer: TokenIssuer, changed: dict[str, Any], reason: Reason) -> None:
    assert refusal(issuer, forged(**changed)) == reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "JWT"}, Reason.TYPE),
        ({"alg": "EdDSA"}, Reason.ALGORITHM),
        ({"crit": ["exp"]}, Reason.CRITICAL_HEADER),
        ({"kid": "other"}, Reason.UNKNOWN_KEY),
    ],
    ids=str,
)
def test_bad_headers_under_the_right_key(issuer: TokenIssuer, header: dict[str, Any], reason: Reason) -> None:
    token = forged(header)
    assert not issuer.is_ours(token)
    assert refusal(issuer, token) == reason


def test_unsigned_cut_and_changed_tokens(issuer: TokenIssuer) -> None:
    header, payload, signature = issuer.issue("person-1", 3).split(".")
    raised = b64(json.dumps({"aud": ISSUER, "exp": NOW + 60, "gen": 9, "iat": NOW, "iss": ISSUER, "sub": "p"}).encode())
    for token in (f"{header}.{payload}.", f"{header}.{payload}.{signature[:-4]}", f"{header}.{raised}.{signature}"):
        assert refusal(issuer, token) == Reason.SIGNATURE
    none = b64(b'{"alg":"none","typ":"at+jwt"}')
    assert refusal(issuer, f"{none}.{payload}.") == Reason.ALGORITHM


def test_the_key_store_says_when_it_cannot_sign(clock: Clock) -> None:
    def sign(_: bytes) -> bytes:
        raise KeyUnavailable("the key store is locked")

    with pytest.raises(KeyUnavailable):
        TokenIssuer(ISSUER, sign, PUBLIC, clock).issue("person-1", 3)
