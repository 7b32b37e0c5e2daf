"""Tokens of a provider, good and bad. Each bad one is good but for one thing, and signed where it can be."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import ECKey

from service.identity.compact import MAX_TOKEN
from service.identity.oidc import Claims, OidcVerifier
from service.identity.reasons import Reason
from service.identity.settings import OidcSettings
from tests.support.published_keys import AUDIENCE, DISCOVERY, KEYS, NOW, Publisher, claims, compact, key, publishing
from vault.core.canonical import b64
from vault.core.errors import Denied

RSA, EC, OKP = key("RSA", "rsa"), key("EC", "ec"), key("OKP", "okp")


@pytest.fixture(scope="module")
def provider() -> Iterator[Publisher]:
    with publishing() as publisher:
        publisher.publish(RSA, EC, OKP)
        yield publisher


def verifier(provider: Publisher, **changed: Any) -> OidcVerifier:
    roles: Any = {
        "vault-auditors": "auditor",
        "vault-auditors-too": "auditor",
        "vault-compliance": "officer",
        "vault-operations": "operator",
    }
    settings = {"roles_claim": "realm_access.roles", "roles": roles} | changed
    return OidcVerifier(OidcSettings(provider.issuer, AUDIENCE, **settings), clock=lambda: NOW * 1_000_000)


def verify(provider: Publisher, token: str, **changed: Any) -> Claims:
    return asyncio.run(verifier(provider, **changed).verify(token))


def refusal(provider: Publisher, token: str, **changed: Any) -> str:
    with pytest.raises(Denied) as refused:
        verify(provider, token, **changed)
    return str(refused.value)


@pytest.mark.parametrize(
    ("signer", "algorithm"),
    [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (OKP, "EdDSA")],
    ids=["RS256", "PS256", "ES256", "EdDSA"],
)
def test_a_good_token_says_who_it_is(provider: Publisher, signer: Any, algorithm: str) -> None:
    found = verify(provider, provider.token(signer, algorithm))
    assert found == Claims(provider.issuer, "person-1", "", frozenset({"auditor"}), (NOW + 300) * 1_000_000)


def test_every_algorithm_that_settings_know_works() -> None:
    more = {"ES384": ECKey.generate_key("P-384", {"kid": "a"}), "ES512": ECKey.generate_key("P-521", {"kid": "b"})}
    with publishing() as provider:
        provider.publish(RSA, OKP, *more.values())
        for algorithm in ("RS384", "RS512", "PS384", "PS512", "ES384", "ES512", "Ed25519"):
            signer = more.get(algorithm, OKP if algorithm == "Ed25519" else RSA)
            assert verify(provider, provider.token(signer, algorithm), algorithms=(algorithm,)).subject == "person-1"


def test_among_several_audiences_ours_is_enough(provider: Publisher) -> None:
    assert verify(provider, provider.token(EC, "ES256", aud=["account", AUDIENCE])).subject == "person-1"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"aud": "payments"}, Reason.AUDIENCE),
        ({"aud": ["payments", "account"]}, Reason.AUDIENCE),
        ({"aud": AUDIENCE + "-test"}, Reason.AUDIENCE),
        ({"aud": {AUDIENCE: 1}}, Reason.AUDIENCE),
        ({"aud": [AUDIENCE, 1]}, Reason.AUDIENCE),
        ({"aud": []}, Reason.AUDIENCE),
        ({"aud": None}, Reason.CLAIMS_MISSING),
        ({"iss": "https://id.example"}, Reason.ISSUER),
        ({"iss": ["http://127.0.0.1"]}, Reason.ISSUER),
        ({"iss": None}, Reason.CLAIMS_MISSING),
        ({"exp": NOW - 61}, Reason.EXPIRED),
        ({"exp": NOW - 60}, Reason.EXPIRED),
        ({"exp": None}, Reason.CLAIMS_MISSING),
        ({"exp": "never"}, Reason.CLAIMS_MALFORMED),
        ({"exp": True}, Reason.CLAIMS_MALFORMED),
        ({"iat": True}, Reason.CLAIMS_MALFORMED),
        ({"exp": 10**30}, Reason.CLAIMS_MALFORMED),
        ({"exp": -1}, Reason.CLAIMS_MALFORMED),
        ({"nbf": NOW + 61}, Reason.NOT_YET),
        ({"nbf": "soon"}, Reason.CLAIMS_MALFORMED),
        ({"iat": NOW + 61}, Reason.FROM_THE_FUTURE),
        ({"iat": NOW - 86400 - 60}, Reason.TOO_OLD),
        ({"iat": None}, Reason.CLAIMS_MISSING),
        ({"sub": None}, Reason.CLAIMS_MISSING),
        ({"sub": ""}, Reason.CLAIMS_MALFORMED),
        ({"sub": 7}, Reason.CLAIMS_MALFORMED),
        ({"sub": "a" * 256}, Reason.CLAIMS_MALFORMED),
        ({"sub": "person\n-1"}, Reason.CLAIMS_MALFORMED),
    ],
    ids=str,
)
def test_bad_claims(provider: Publisher, changed: dict[str, Any], reason: Reason) -> None:
    assert refusal(provider, provider.token(EC, "ES256", **changed)) == reason


def test_a_trailing_slash_makes_another_issuer(provider: Publisher) -> None:
    assert refusal(provider, provider.token(EC, "ES256", iss=provider.issuer + "/")) == Reason.ISSUER


@pytest.mark.parametrize(
    ("spelled", "reason"),
    [(b"Infinity", Reason.MALFORMED), (b"NaN", Reason.MALFORMED), (b"1e999", Reason.CLAIMS_MALFORMED)],
)
def test_a_token_that_would_never_end(provider: Publisher, spelled: bytes, reason: Reason) -> None:
    payload = json.dumps(claims(provider.issuer)).encode().replace(str(NOW + 300).encode(), spelled)
    token = compact({"alg": "ES256", "kid": "ec", "typ": "at+jwt"}, payload, EC)
    assert refusal(provider, token) == reason


@pytest.mark.parametrize(
    "changed",
    [{"exp": NOW - 59}, {"nbf": NOW + 60}, {"iat": NOW + 60}, {"exp": NOW + 10.5}, {"iat": NOW - 86400 - 59}],
    ids=str,
)
def test_clocks_may_differ_a_little(provider: Publisher, changed: dict[str, Any]) -> None:
    assert verify(provider, provider.token(EC, "ES256", **changed)).subject == "person-1"


def test_a_token_ends_at_its_greatest_age_at_the_latest(provider: Publisher) -> None:
    found = verify(provider, provider.token(EC, "ES256", exp=NOW + 10**8, iat=NOW - 100))
    assert found.expires_at == (NOW - 100 + 86400) * 1_000_000


def test_an_unsigned_token(provider: Publisher) -> None:
    assert refusal(provider, compact({"alg": "ES256", "kid": "ec"}, claims(provider.issuer), None)) == Reason.SIGNATURE


@pytest.mark.parametrize("spelled", ["none", "None", "NONE", "nOnE", "", None, 0, ["ES256"]])
def test_algorithm_none(provider: Publisher, spelled: Any) -> None:
    token = compact({"alg": spelled, "kid": "ec", "typ": "at+jwt"}, claims(provider.issuer), None)
    assert refusal(provider, token) == Reason.ALGORITHM


@pytest.mark.parametrize("secret", ["pem", "jwk", "n"])
def test_the_public_key_used_as_a_secret(provider: Publisher, secret: str) -> None:
    """The classic confusion: HS256 over the public key, which everybody has."""
    public = RSA.as_dict(private=False)
    spelled: Any = {
        "pem": RSA.as_pem(private=False),  # type: ignore[union-attr]
        "jwk": json.dumps(public).encode(),
        "n": str(public["n"]).encode(),
    }
    message = compact({"alg": "HS256", "kid": "rsa"}, claims(provider.issuer), None).removesuffix(".")
    token = f"{message}.{b64(hmac.digest(spelled[secret], message.encode(), 'sha256'))}"
    assert refusal(provider, token) == Reason.ALGORITHM


def test_an_algorithm_that_is_not_allowed_here(provider: Publisher) -> None:
    assert refusal(provider, provider.token(RSA, "RS256"), algorithms=("ES256",)) == Reason.ALGORITHM


def test_one_keys_name_with_another_keys_algorithm(provider: Publisher) -> None:
    token = provider.token(EC, "ES256", header={"kid": "rsa"})
    assert refusal(provider, token) == Reason.UNKNOWN_KEY


def test_signed_by_somebody_else_under_a_known_name(provider: Publisher) -> None:
    assert refusal(provider, provider.token(key("EC", "forger"), "ES256", header={"kid": "ec"})) == Reason.SIGNATURE


@pytest.mark.parametrize("part", [0, 1, 2])
def test_every_part_is_signed(provider: Publisher, part: int) -> None:
    parts = provider.token(OKP, "EdDSA").split(".")
    other = provider.token(OKP, "EdDSA", header={"x": 1}, sub="person-2").split(".")
    parts[part] = other[part]
    assert refusal(provider, ".".join(parts)) == Reason.SIGNATURE


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
def test_a_key_that_the_token_brings_along_is_never_looked_at(provider: Publisher, member: str) -> None:
    forger = key("EC", "ec-of-forger")
    brought = {
        "jwk": forger.as_dict(private=False),
        "jku": f"{provider.issuer}/forged",
        "x5u": f"{provider.issuer}/forged",
        "x5c": ["MIIB"],
    }[member]
    before = len(provider.asked)
    assert refusal(provider, provider.token(forger, "ES256", header={"kid": "ec", member: brought})) == Reason.SIGNATURE
    assert refusal(provider, provider.token(forger, "ES256", header={member: brought})) == Reason.UNKNOWN_KEY
    assert set(provider.asked[before:]) == {DISCOVERY, KEYS}
    assert verify(provider, provider.token(EC, "ES256", header={member: brought})).subject == "person-1"


@pytest.mark.parametrize(
    "kid",
    ["../../../../etc/passwd", "/dev/null", f"{KEYS}?x=", "' OR 1=1 --", "ec\0", "http://127.0.0.1/forged", "", "键"],
)
def test_a_key_id_is_a_name_and_nothing_else(provider: Publisher, kid: str) -> None:
    before = len(provider.asked)
    assert refusal(provider, provider.token(EC, "ES256", header={"kid": kid})) == Reason.UNKNOWN_KEY
    assert set(provider.asked[before:]) == {DISCOVERY, KEYS}


@pytest.mark.parametrize("kid", [None, 7, ["ec"], {"ec": 1}])
def test_a_key_id_that_is_no_text(provider: Publisher, kid: Any) -> None:
    assert refusal(provider, provider.token(EC, "ES256", header={"kid": kid})) == Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": NOW + 300},
        {"crit": ["alg"]},
        {"crit": []},
        {"crit": None},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
    ],
    ids=str,
)
def test_critical_headers(provider: Publisher, header: dict[str, Any]) -> None:
    assert refusal(provider, provider.token(EC, "ES256", header=header)) == Reason.CRITICAL_HEADER


def test_headers_that_mean_nothing_here(provider: Publisher) -> None:
    header = {"nonce": "x", "x5t": "y", "x5c": ["MIIB" * 500]}
    assert verify(provider, provider.token(EC, "ES256", header=header)).subject == "person-1"


@pytest.mark.parametrize("kind", ["ID", "logout+jwt", "secevent+jwt", "dpop+jwt", 1, None])
def test_another_type(provider: Publisher, kind: Any) -> None:
    assert refusal(provider, provider.token(EC, "ES256", header={"typ": kind})) == Reason.TYPE


@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT"])
def test_types_that_are_allowed(provider: Publisher, kind: str) -> None:
    assert verify(provider, provider.token(EC, "ES256", header={"typ": kind})).subject == "person-1"


def test_a_strict_setting_takes_access_tokens_alone(provider: Publisher) -> None:
    assert verify(provider, provider.token(EC, "ES256"), types=("at+jwt",)).subject == "person-1"
    assert refusal(provider, provider.token(EC, "ES256", header={"typ": "JWT"}), types=("at+jwt",)) == Reason.TYPE
    untyped = compact({"alg": "ES256", "kid": "ec"}, claims(provider.issuer), EC)
    assert refusal(provider, untyped, types=("at+jwt",)) == Reason.TYPE
    assert verify(provider, untyped).subject == "person-1"


def doubled(good: dict[str, Any], member: str, first: Any) -> bytes:
    """A document with a member in front that stands in it again."""
    return b"{" + json.dumps({member: first}).encode()[1:-1] + b"," + json.dumps(good).encode()[1:]


@pytest.mark.parametrize(("member", "first"), [("sub", "person-2"), ("aud", "x"), ("exp", 1), ("sub", "person-1")])
def test_the_same_claim_twice(provider: Publisher, member: str, first: Any) -> None:
    token = compact({"alg": "ES256", "kid": "ec"}, doubled(claims(provider.issuer), member, first), EC)
    assert refusal(provider, token) == Reason.MALFORMED


def test_the_same_claim_twice_further_down(provider: Publisher) -> None:
    roles = doubled({"roles": ["vault-auditors"]}, "roles", [])
    payload = json.dumps(claims(provider.issuer, realm_access="@")).encode().replace(b'"@"', roles)
    assert refusal(provider, compact({"alg": "ES256", "kid": "ec"}, payload, EC)) == Reason.MALFORMED


@pytest.mark.parametrize(("member", "first"), [("alg", "none"), ("kid", "rsa")])
def test_the_same_header_twice(provider: Publisher, member: str, first: str) -> None:
    header = doubled({"alg": "ES256", "kid": "ec"}, member, first)
    assert refusal(provider, compact(header, claims(provider.issuer), EC)) == Reason.MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b.c.d.e",
        b64(b'{"alg":"ES256"}') + ".e30=.AA",
        b64(b"[]") + ".e30.AA",
        b64(b"{}x") + ".e30.AA",
        b64(b"\xff") + ".e30.AA",
        b64(b'{"alg":"ES256","kid":"ec","x":' + b"[" * 2000 + b"]" * 2000 + b"}") + ".e30.AA",
        "é.e30.AA",
        "\ud800.e30.AA",
        "\0.e30.AA",
        " e30.e30.AA",
    ],
    ids=range(15),
)
def test_text_that_is_no_token(provider: Publisher, text: str) -> None:
    assert refusal(provider, text) == Reason.MALFORMED


def test_every_character_counts(provider: Publisher) -> None:
    good = provider.token(OKP, "EdDSA")
    for token in (good + "=", good + " ", "\n" + good, good + "\n", good[:-1], good + "A", good + "é", good + "\ud800"):
        assert refusal(provider, token) in (Reason.SIGNATURE, Reason.MALFORMED)


def test_a_token_that_is_too_long(provider: Publisher) -> None:
    room = MAX_TOKEN - len(provider.token(OKP, "EdDSA", pad=""))
    assert verify(provider, provider.token(OKP, "EdDSA", pad="x" * (room * 3 // 4 - 4))).subject == "person-1"
    before = len(provider.asked)
    assert refusal(provider, provider.token(OKP, "EdDSA", pad="x" * room)) == Reason.TOO_LONG
    assert provider.asked[before:] == []


@pytest.mark.parametrize(
    ("value", "roles"),
    [
        ({"roles": ["vault-auditors", "vault-compliance"]}, {"auditor", "officer"}),
        ({"roles": ["vault-auditors", "vault-auditors-too"]}, {"auditor"}),
        ({"roles": "vault-compliance"}, {"officer"}),
        ({"roles": ["vault-auditors", "vault-operations", "vault-compliance"]}, {"operator"}),
        ({"roles": ["auditor", "officer", "operator"]}, set()),  # our words are not the provider's
        ({"roles": ["Vault-Auditors", " vault-auditors"]}, set()),
        ({"roles": [["vault-auditors"], None, 1, {"vault-auditors": 1}]}, set()),
        ({"roles": {"vault-auditors": 1}}, set()),
        ({"roles": []}, set()),
        ({}, set()),
        ([], set()),
        ("roles", set()),
        (None, set()),
    ],
    ids=lambda one: str(sorted(one) if isinstance(one, set) else one),
)
def test_roles(provider: Publisher, value: Any, roles: set[str]) -> None:
    assert verify(provider, provider.token(EC, "ES256", realm_access=value)).roles == roles


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"name": "陈静"}, "陈静"),
        ({"preferred_username": "chen"}, "chen"),
        ({"name": "", "preferred_username": "chen"}, "chen"),
        ({"name": "Chen\u202eJing\n"}, ""),
        ({"name": ["Chen"]}, ""),
        ({"name": "x" * 201}, ""),
    ],
    ids=str,
)
def test_a_name_is_for_show(provider: Publisher, given: dict[str, Any], shown: str) -> None:
    assert verify(provider, provider.token(EC, "ES256", **given)).name == shown


def test_a_refusal_repeats_nothing_and_has_nothing_attached(provider: Publisher) -> None:
    bad = [
        provider.token(EC, "ES256", sub="person-secret", exp=NOW - 100),
        provider.token(EC, "ES256", header={"kid": "kid-secret"}),
        provider.token(EC, "ES256", aud="secret"),
        compact({"alg": "ES256", "kid": "ec"}, b'{"secret": secret}', EC),
        provider.token(key("EC", "forger"), "ES256", header={"kid": "ec"}, sub="secret"),
    ]
    for token in bad:
        with pytest.raises(Denied) as refused:
            verify(provider, token)
        assert str(refused.value) in set(Reason)
        assert refused.value.__context__ is None
