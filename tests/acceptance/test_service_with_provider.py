"""The service beside a certified OpenID provider: its people ask, approve and read, and its bad tokens do not."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.acting import await_, happened, last
from tests.support.decisions import decision, spelled
from tests.support.oidc_provider import RunningProvider, running_provider
from tests.support.serving import Service, bearer, serving
from tests.support.vault import Installation
from vault import trace

PEOPLE = {
    "lin-4711": ["vault-auditors", "staff"],
    "chen-4712": ["vault-compliance"],
    "omar-4713": ["vault-operations", "vault-auditors"],
    "guest-4714": ["staff"],
}
EXPIRES = "2026-12-31T00:00:00Z"


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningProvider]:
    with running_provider(PEOPLE) as running:
        yield running


@pytest.fixture(scope="module")
def service(
    built: Installation, provider: RunningProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with built.copied(tmp_path_factory.mktemp("oidc") / "home") as copy:
        (copy.home / "service.toml").write_text(
            f"""
[service]
logins_per_minute = 100000

[oidc]
issuer = "{provider.issuer}"
audience = "reasonvault"
types = ["at+jwt"]
leeway = 0
roles_claim = "realm_access.roles"

[oidc.roles]
vault-auditors = "auditor"
vault-compliance = "officer"
vault-operations = "operator"
"""
        )
        with serving(copy, workers=2) as started:
            yield started


def _grant(service: Service, who: str, **more: Any) -> httpx.Response:
    asked = {"ledgers": ["cn"], "purpose": "complaint", "case": "case-7", "fields": "full", "expires_at": EXPIRES}
    return service.client.post("/v1/grants", json={**asked, **more}, headers=bearer(who))


def test_people_of_the_provider_ask_approve_and_read(service: Service, provider: RunningProvider) -> None:
    lin, chen = provider.token("lin-4711"), provider.token("chen-4712", algorithm="ES256")
    asked = _grant(service, lin)
    assert asked.status_code == 201, asked.text
    grant, auditor = asked.json()["grant"], asked.json()["auditor"]
    own = service.client.post(f"/v1/grants/{grant}/approve", headers=bearer(lin))
    assert own.status_code == 403
    approved = service.client.post(f"/v1/grants/{grant}/approve", headers=bearer(chen))
    assert approved.status_code == 200, approved.text
    # Another token of the same person, signed otherwise, is the same person.
    again = provider.token("lin-4711", algorithm="EdDSA")
    read = service.client.get("/v1/ledgers/cn/records/dec-3", headers=bearer(again))
    assert read.status_code == 200, read.text
    assert read.content.endswith(spelled(decision(3)) + b"}")
    assert service.client.get("/v1/ledgers/cn/records/dec-3", headers=bearer(chen)).status_code == 403
    with service.installation.opened() as vault:
        opened = last(vault, "record.opened")
    assert (opened.actor, opened.facts["grant"]) == (auditor, grant)
    events = service.client.get("/v1/events", params={"event": "record.opened"}, headers=bearer(chen)).json()["events"]
    assert next(one["actor"] for one in events) == auditor


def test_an_operator_is_nothing_else_and_a_stranger_nothing(service: Service, provider: RunningProvider) -> None:
    for name in ("omar-4713", "guest-4714"):
        token = provider.token(name)
        assert _grant(service, token).status_code == 403
        for path in ("/v1/ledgers/cn/records/dec-3", "/v1/ledgers/cn/records", "/v1/events", "/v1/grants"):
            assert service.client.get(path, headers=bearer(token)).status_code == 403, (name, path)


def _unsigned(token: str, **header: str) -> str:
    """Return a token that says it needs no signature, with the claims of a real one."""
    head, body, _ = token.split(".")
    spelled_head = json.loads(urlsafe_b64decode(head + "==")) | {"alg": "none"} | header
    return f"{urlsafe_b64encode(json.dumps(spelled_head).encode()).decode().rstrip('=')}.{body}."


def test_tokens_that_are_not_to_be_believed(service: Service, provider: RunningProvider) -> None:
    good = provider.token("lin-4711")
    head, body, signature = good.split(".")
    short = provider.token("lin-4711", seconds=1)
    codes: list[str] = []

    def refused(token: str) -> bool:
        answer = service.client.get("/v1/grants", headers=bearer(token))
        if answer.status_code == 200:
            return False
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), answer.text
        with service.installation.opened() as vault:
            told = last(vault, "auth.failed")
        assert told.actor == "stranger"
        codes.append(str(told.facts["code"]))
        return True

    assert not refused(good)
    with running_provider({"lin-4711": ["vault-auditors", "vault-compliance"]}) as other:
        wrong = [
            provider.token("lin-4711", audience="payments"),
            _unsigned(good),
            f"{head}.{body}.{signature[:-8]}AAAAAAAA",
            other.token("lin-4711"),
        ]
        with service.installation.opened() as vault:
            before = len(happened(vault, "auth.failed"))
        assert all(refused(token) for token in wrong)
    await_(lambda: refused(short))
    assert codes == ["audience_wrong", "algorithm_not_allowed", "signature_wrong", "key_unknown", "expired"]
    with service.installation.opened() as vault:
        assert len(happened(vault, "auth.failed")) == before + 5, "an event each"
    log = service.lines()
    assert not any(token.split(".")[1] in log for token in (*wrong, good))


def test_who_they_are_stands_in_sealed_details_only(service: Service, provider: RunningProvider) -> None:
    assert service.client.get("/v1/grants", headers=bearer(provider.token("lin-4711"))).status_code == 200
    with service.installation.opened() as vault:
        known = happened(vault, "person.known")
        details = trace.details(vault, [told.seq for told in known])
    named = {detail["subject"]: detail["name"] for detail in details.values()}
    assert named["lin-4711"] == "Lin-4711"
    assert {detail["issuer"] for detail in details.values()} == {provider.issuer}
    assert len(known) == len(named), "each of them is met once, whichever worker they came to"
    everything = service.installation.everything_stored() + service.lines()
    for name in PEOPLE:
        assert name not in everything
        assert name.title() not in everything


def test_a_provider_that_is_away_stops_people_and_not_payments(
    built: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_provider({"lin": ["vault-auditors"]}) as provider:
        token, issuer = provider.token("lin"), provider.issuer
    with built.copied(tmp_path_factory.mktemp("away") / "home") as copy:
        (copy.home / "service.toml").write_text(
            f'[oidc]\nissuer = "{issuer}"\naudience = "reasonvault"\n[oidc.roles]\nvault-auditors = "auditor"\n'
        )
        with serving(copy) as service:
            answer = service.client.get("/v1/grants", headers=bearer(token))
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
            key = service.producer("psp-1", "cn")
            raw = spelled(decision(950, producer_seq=None))
            assert service.append("cn", key, raw).status_code == 201
            ready = service.client.get("/readyz")
            assert (ready.status_code, ready.json()["identity"]) == (200, False)
            local = service.people()
            assert len(local) == 2
