"""People of a certified OpenID provider, verified by what it really issues and publishes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from service.identity.keysource import PAUSE
from service.identity.oidc import OidcVerifier
from service.identity.reasons import Reason
from service.identity.settings import OidcSettings, read_oidc
from tests.support.oidc_provider import RunningProvider, running_provider
from vault.core.errors import Denied

PEOPLE = {
    "lin": ["vault-auditors", "staff"],
    "chen": ["vault-compliance"],
    "guest": ["staff"],
}


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningProvider]:
    with running_provider(PEOPLE) as running:
        yield running


@pytest.fixture
def settings(provider: RunningProvider) -> OidcSettings:
    section = {
        "issuer": provider.issuer,
        "audience": "reasonvault",
        "types": ["at+jwt"],
        "roles_claim": "realm_access.roles",
        "roles": {"vault-auditors": "auditor", "vault-compliance": "officer"},
    }
    settings = read_oidc({"oidc": section})
    assert settings is not None
    return settings


class Watch:
    """Seconds, moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def verifier(settings: OidcSettings, watch: Watch) -> OidcVerifier:
    return OidcVerifier(settings, clock=lambda: time.time_ns() // 1000, monotonic=watch)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_people_are_who_the_provider_says(provider: RunningProvider, verifier: OidcVerifier, algorithm: str) -> None:
    async def everybody() -> dict[str, frozenset[str]]:
        found = [await verifier.verify(provider.token(person, algorithm=algorithm)) for person in PEOPLE]
        assert {claims.issuer for claims in found} == {provider.issuer}
        assert [claims.name for claims in found] == ["Lin", "Chen", "Guest"]
        return {claims.subject: claims.roles for claims in found}

    assert asyncio.run(everybody()) == {
        "lin": frozenset({"auditor"}),
        "chen": frozenset({"officer"}),
        "guest": frozenset(),
    }


def test_a_token_for_another_service_is_refused(provider: RunningProvider, verifier: OidcVerifier) -> None:
    with pytest.raises(Denied, match=Reason.AUDIENCE):
        asyncio.run(verifier.verify(provider.token("lin", audience="payments")))


def test_another_providers_token_is_refused(verifier: OidcVerifier) -> None:
    with running_provider({"lin": ["vault-auditors"]}) as other, pytest.raises(Denied, match=Reason.UNKNOWN_KEY):
        asyncio.run(verifier.verify(other.token("lin")))


def test_the_provider_changes_its_keys(provider: RunningProvider, verifier: OidcVerifier, watch: Watch) -> None:
    async def rotation() -> None:
        before = provider.token("lin")
        await verifier.verify(before)
        provider.rotate_keys()
        watch.now += PAUSE
        assert (await verifier.verify(provider.token("lin"))).subject == "lin"
        assert (await verifier.verify(before)).subject == "lin"
        provider.withdraw_former_keys()
        watch.now += 600
        with pytest.raises(Denied, match=Reason.UNKNOWN_KEY):
            await verifier.verify(before)
        assert (await verifier.verify(provider.token("lin"))).subject == "lin"

    asyncio.run(rotation())
