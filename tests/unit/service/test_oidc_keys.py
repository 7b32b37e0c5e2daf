"""A provider's documents on bad days: rotation, floods, outages, lies. Over a real server; only time is made up."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from service.identity.fetch import MAX_BODY, fetch
from service.identity.jwks import discovery_url, read_discovery, read_keys
from service.identity.keysource import MAX_AGE, PAUSE, STALE, KeySource
from service.identity.oidc import OidcVerifier
from service.identity.reasons import Reason
from service.identity.settings import OidcSettings
from tests.support.published_keys import AUDIENCE, DISCOVERY, KEYS, NOW, Answer, Publisher, key, publishing
from vault.core.errors import Denied, Unavailable

OLD, NEW, EC = key("RSA", "2026-01"), key("RSA", "2026-02"), key("EC", "ec")


@pytest.fixture
def provider() -> Iterator[Publisher]:
    with publishing() as publisher:
        publisher.publish(OLD)
        yield publisher


class Watch:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def verifier(provider: Publisher, watch: Watch) -> OidcVerifier:
    settings = OidcSettings(provider.issuer, AUDIENCE, roles={"a": "auditor"})
    return OidcVerifier(settings, clock=lambda: NOW * 1_000_000, monotonic=watch)


def run(verifying: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(verifying)


def refused_as_unknown(verifier: OidcVerifier, token: str) -> None:
    with pytest.raises(Denied, match=Reason.UNKNOWN_KEY):
        run(verifier.verify(token))


def unavailable(verifier: OidcVerifier, token: str) -> str:
    with pytest.raises(Unavailable) as trouble:
        run(verifier.verify(token))
    return str(trouble.value)


def test_keys_are_fetched_once_for_many_tokens(provider: Publisher, verifier: OidcVerifier) -> None:
    async def many() -> None:
        await asyncio.gather(*(verifier.verify(provider.token(OLD, "RS256")) for _ in range(50)))
        await verifier.verify(provider.token(OLD, "PS256"))

    run(many())
    assert provider.asked == [DISCOVERY, KEYS]


def test_a_new_key_is_found_and_a_withdrawn_one_forgotten(
    provider: Publisher, verifier: OidcVerifier, watch: Watch
) -> None:
    run(verifier.verify(provider.token(OLD, "RS256")))
    provider.publish(OLD, NEW)
    watch.now = PAUSE
    run(verifier.verify(provider.token(NEW, "RS256")))
    provider.publish(NEW)
    watch.now += MAX_AGE - 1
    run(verifier.verify(provider.token(OLD, "RS256")))
    watch.now += 1
    refused_as_unknown(verifier, provider.token(OLD, "RS256"))
    run(verifier.verify(provider.token(NEW, "RS256")))


def test_all_keys_withdrawn(provider: Publisher, verifier: OidcVerifier, watch: Watch) -> None:
    run(verifier.verify(provider.token(OLD, "RS256")))
    provider.publish()
    watch.now = MAX_AGE
    refused_as_unknown(verifier, provider.token(OLD, "RS256"))
    with pytest.raises(Unavailable, match="no key"):
        run(verifier.ready())


def test_invented_key_ids_are_no_load_on_the_provider(
    provider: Publisher, verifier: OidcVerifier, watch: Watch
) -> None:
    async def flood() -> None:
        tokens = [provider.token(EC, "ES256", header={"kid": f"invented-{at}"}) for at in range(200)]
        answers = await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
        assert {str(answer) for answer in answers} == {Reason.UNKNOWN_KEY}

    run(flood())
    assert len(provider.asked) == 2
    watch.now = PAUSE - 0.001
    run(flood())
    assert len(provider.asked) == 2
    watch.now = PAUSE
    run(flood())
    assert len(provider.asked) == 4
    run(verifier.verify(provider.token(OLD, "RS256")))  # and honest people notice nothing
    assert len(provider.asked) == 4


def test_a_caller_that_goes_away_stops_nobody(provider: Publisher, verifier: OidcVerifier) -> None:
    async def leave() -> None:
        token = provider.token(OLD, "RS256")
        first, second = (asyncio.create_task(verifier.verify(token)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).subject == "person-1"
        assert first.cancelled()

    run(leave())
    assert provider.asked == [DISCOVERY, KEYS]


def test_an_outage_is_bridged_for_a_while(provider: Publisher, verifier: OidcVerifier, watch: Watch) -> None:
    known, unknown = provider.token(OLD, "RS256"), provider.token(NEW, "RS256")
    run(verifier.verify(known))
    provider.go_down()
    watch.now = MAX_AGE
    run(verifier.verify(known))
    assert unavailable(verifier, unknown) == "the identity provider answers with status 503"
    watch.now = MAX_AGE + STALE - 1
    run(verifier.verify(known))
    watch.now = MAX_AGE + STALE
    unavailable(verifier, known)
    with pytest.raises(Unavailable):
        run(verifier.ready())
    provider.come_back()
    watch.now += PAUSE
    run(verifier.verify(known))
    run(verifier.ready())
    refused_as_unknown(verifier, unknown)


def test_during_an_outage_known_keys_wait_for_nobody(provider: Publisher, watch: Watch) -> None:
    silent = False

    async def fetching(url: str) -> bytes:
        if silent:
            await asyncio.Event().wait()
        return await fetch(url)

    async def outage() -> None:
        nonlocal silent
        source = KeySource(provider.issuer, ("RS256",), fetch=fetching, monotonic=watch)
        await source.find("2026-01", "RS256")
        provider.go_down()
        watch.now = MAX_AGE
        await source.find("2026-01", "RS256")  # this one found out
        silent = True
        watch.now += PAUSE
        async with asyncio.timeout(5):
            await source.find("2026-01", "RS256")  # this one started an attempt that never ends, and went on
        await source.close()

    run(outage())


def test_nothing_listens(watch: Watch) -> None:
    with publishing() as gone:
        gone.publish(OLD)
    settings = OidcSettings(gone.issuer, AUDIENCE, roles={"a": "auditor"})
    verifier = OidcVerifier(settings, clock=lambda: NOW * 1_000_000, monotonic=watch)
    assert unavailable(verifier, gone.token(OLD, "RS256")) == "the identity provider does not answer"


def test_a_provider_that_is_late_is_found(provider: Publisher, verifier: OidcVerifier, watch: Watch) -> None:
    provider.go_down()
    token = provider.token(OLD, "RS256")
    unavailable(verifier, token)
    provider.come_back()
    unavailable(verifier, token)  # within the pause nobody asks again
    watch.now = PAUSE
    run(verifier.verify(token))


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://id.example"},
        {"issuer": None},
        {"issuer": "+/"},
        {"jwks_uri": None},
        {"jwks_uri": "http://id.example/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "/keys"},
        {"jwks_uri": ["https://id.example/keys"]},
    ],
    ids=str,
)
def test_a_discovery_document_that_lies(provider: Publisher, verifier: OidcVerifier, changed: dict[str, Any]) -> None:
    if changed.get("issuer") == "+/":
        changed = {"issuer": provider.issuer + "/"}
    provider.discovery |= changed
    assert "discovery document" in unavailable(verifier, provider.token(OLD, "RS256"))
    assert provider.asked == [DISCOVERY]


def test_an_issuer_with_a_slash_is_looked_up_without() -> None:
    """From: OpenID Connect Discovery 1.0, 4."""
    assert discovery_url("https://id.example/") == "https://id.example" + DISCOVERY
    assert discovery_url("https://id.example/a") == "https://id.example/a" + DISCOVERY


def test_a_provider_elsewhere_cannot_send_us_to_our_own_machine() -> None:
    document = {"issuer": "https://id.example", "jwks_uri": "http://127.0.0.1:8420/keys"}
    with pytest.raises(Unavailable, match="jwks_uri"):
        read_discovery(json.dumps(document).encode(), "https://id.example")
    document["jwks_uri"] = "https://keys.example/all"
    assert read_discovery(json.dumps(document).encode(), "https://id.example") == "https://keys.example/all"


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(provider: Publisher, verifier: OidcVerifier, path: str, status: int) -> None:
    provider.special[path] = Answer(b"", status, {"Location": f"{provider.issuer}/elsewhere"})
    assert unavailable(verifier, provider.token(OLD, "RS256")).endswith(f"status {status}")
    assert "/elsewhere" not in provider.asked


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b"null", b'{"keys":[],"keys":[]}', b'{"issuer":"a","issuer":"a"}', b"[" * 5000],
)
def test_a_document_that_is_none(provider: Publisher, verifier: OidcVerifier, path: str, body: bytes) -> None:
    provider.special[path] = Answer(body)
    assert unavailable(verifier, provider.token(OLD, "RS256")).startswith("the identity provider's")


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_a_document_of_the_largest_size(provider: Publisher, verifier: OidcVerifier, path: str) -> None:
    good = json.dumps(provider.discovery if path == DISCOVERY else {"keys": provider.keys}).encode()
    provider.special[path] = Answer(good.ljust(MAX_BODY))
    run(verifier.verify(provider.token(OLD, "RS256")))


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_a_document_that_is_too_large(provider: Publisher, verifier: OidcVerifier, path: str) -> None:
    good = json.dumps(provider.discovery if path == DISCOVERY else {"keys": provider.keys}).encode()
    provider.special[path] = Answer(good.ljust(MAX_BODY + 1))
    assert "larger than" in unavailable(verifier, provider.token(OLD, "RS256"))


def test_a_compressed_document_is_not_unpacked(provider: Publisher, verifier: OidcVerifier) -> None:
    provider.special[KEYS] = Answer(gzip.compress(bytes(10**7)), headers={"Content-Encoding": "gzip"})
    assert "compresses" in unavailable(verifier, provider.token(OLD, "RS256"))


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_a_server_that_sends_a_byte_now_and_then(provider: Publisher, path: str) -> None:
    provider.special[path] = Answer(b" " * 100_000, drips=True)
    source = KeySource(provider.issuer, ("RS256",), fetch=lambda url: fetch(url, seconds=0.2), monotonic=Watch())
    with pytest.raises(Unavailable, match="does not answer"):
        run(source.find("2026-01", "RS256"))


def published(*keys: dict[str, Any], algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")) -> set[Any]:
    return set(read_keys(json.dumps({"keys": keys}).encode(), algorithms))


RSA_PUBLIC, EC_PUBLIC = OLD.as_dict(private=False), EC.as_dict(private=False)


def test_a_key_serves_the_algorithms_it_can_do() -> None:
    assert published(RSA_PUBLIC) == {("2026-01", "RS256"), ("2026-01", "PS256")}
    assert published(RSA_PUBLIC | {"alg": "RS256", "use": "sig"}) == {("2026-01", "RS256")}
    assert published(EC_PUBLIC | {"key_ops": ["verify"]}) == {("ec", "ES256")}
    assert published(EC_PUBLIC, algorithms=("ES384", "RS256")) == set()
    assert published(key("OKP", "okp").as_dict(private=False)) == {("okp", "EdDSA")}


@pytest.mark.parametrize(
    "entry",
    [
        RSA_PUBLIC | {"use": "enc"},
        RSA_PUBLIC | {"alg": "RSA-OAEP"},
        RSA_PUBLIC | {"alg": "HS256"},
        RSA_PUBLIC | {"alg": "none"},
        RSA_PUBLIC | {"key_ops": ["encrypt"]},
        RSA_PUBLIC | {"key_ops": 7},
        RSA_PUBLIC | {"kid": None},
        RSA_PUBLIC | {"kid": 7},
        RSA_PUBLIC | {"kty": "EC"},
        RSA_PUBLIC | {"kty": "oct"},
        RSA_PUBLIC | {"kty": ["RSA"]},
        RSA_PUBLIC | {"n": "!"},
        RSA_PUBLIC | {"n": 7},
        RSA_PUBLIC | {"n": "A" * 342},
        RSA_PUBLIC | {"n": "AAAA" * 60 + str(RSA_PUBLIC["n"])[:120]},  # zeros in front make no key larger
        RSA_PUBLIC | {"n": str(RSA_PUBLIC["n"]) * 5},
        RSA_PUBLIC | {"e": "AQ"},
        RSA_PUBLIC | {"e": None},
        EC_PUBLIC | {"x": None},
        RSA_PUBLIC | {"k": "c2VjcmV0"},
        OLD.as_dict(private=True),
        key("oct", "secret").as_dict(private=True),
        EC_PUBLIC | {"crv": "secp256k1"},
        EC_PUBLIC | {"y": EC_PUBLIC["x"]},
        ECKey.generate_key("P-384", {"kid": "other"}).as_dict(private=False),
        {"kid": "empty"},
        7,
        None,
    ],
    ids=range(28),
)
def test_keys_that_are_left_out(entry: Any) -> None:
    assert published(entry, EC_PUBLIC | {"kid": "good"}) == {("good", "ES256")}


def test_only_what_makes_the_key_is_kept() -> None:
    (found,) = read_keys(
        json.dumps({"keys": [EC_PUBLIC | {"x5u": "https://id.example"}]}).encode(), ("ES256",)
    ).values()
    assert set(found.as_dict()) == {"kty", "crv", "x", "y"}


def test_a_short_key_is_left_out() -> None:
    with pytest.warns(match="2048"):
        short = RSAKey.generate_key(1024, {"kid": "short"})
    assert published(short.as_dict(private=False)) == set()


def test_the_first_of_two_under_one_name_counts(provider: Publisher, verifier: OidcVerifier) -> None:
    twin = ECKey.generate_key("P-256", {"kid": "2026-01"})
    other = ECKey.generate_key("P-256", {"kid": "2026-01"})
    provider.publish(OLD, twin, other)
    run(verifier.verify(provider.token(OLD, "RS256")))
    run(verifier.verify(provider.token(twin, "ES256")))
    with pytest.raises(Denied, match=Reason.SIGNATURE):
        run(verifier.verify(provider.token(other, "ES256")))


def test_a_set_of_endless_keys_is_cut() -> None:
    assert len(published(*(EC_PUBLIC | {"kid": str(at)} for at in range(500)))) == 100
