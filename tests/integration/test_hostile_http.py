"""Over HTTP: whoever has no right learns nothing from how they are refused; odd spellings of a path are no faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.serving import Service, bearer, serving
from tests.support.vault import Installation


@pytest.fixture(scope="module")
def service(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        built.copied(tmp_path_factory.mktemp("hostile") / "home") as copy,
        serving(copy, workers=1, logins_per_minute=100_000) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def operator(service: Service) -> str:
    service.person("otto", "operator")
    return service.login("otto")


@pytest.fixture(scope="module")
def auditor(service: Service) -> str:
    service.person("anna", "auditor")
    return service.login("anna")


GRANT = {"purpose": "p", "case": "c", "expires_at": "2030-01-01T00:00:00Z"}
ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/v1/events?ledger={}", {}),
    ("GET", "/v1/ledgers/{}/records", {}),
    ("GET", "/v1/ledgers/{}/records?api=bogus", {}),
    ("GET", "/v1/ledgers/{}/records/dec-3", {}),
    ("GET", "/v1/ledgers/{}/records/%FF", {}),
    ("POST", "/v1/reports", {"ledger": "{}"}),
    ("POST", "/v1/reports", {"ledger": "{}", "first": "2026-13-01"}),
    ("POST", "/v1/reports", {"ledger": "{}", "first": "2026-02-02", "end": "2026-02-02"}),
    ("POST", "/v1/grants", {"ledgers": ["{}"], **GRANT}),
    ("POST", "/v1/grants", {"ledgers": ["{}"], **GRANT, "purpose": "\x1b"}),
    (
        "POST",
        "/v1/grants",
        {"ledgers": ["{}"], **GRANT, "start": "2026-02-02T00:00:00Z", "end": "2026-02-02T00:00:00Z"},
    ),
]


@pytest.mark.parametrize(("method", "path", "document"), ASKED)
def test_a_ledger_that_is_there_and_one_that_is_not_are_refused_alike(
    service: Service, operator: str, method: str, path: str, document: dict[str, Any]
) -> None:
    said = []
    for name in ("cn", "nowhere", "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"):
        body = {key: _named(value, name) for key, value in document.items()} or None
        answer = service.client.request(method, path.format(name), json=body, headers=bearer(operator))
        told = answer.json()
        said.append((answer.status_code, told["type"], told["detail"]))
    assert len(set(said)) == 1, said
    assert said[0][0] in (403, 422)


def _named(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_named(one, name) for one in value]
    return value.replace("{}", name) if isinstance(value, str) else value


def test_events_of_a_ledger_that_is_not_there_are_none(service: Service, auditor: str) -> None:
    for name in ("nowhere", "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"):
        answer = service.client.get("/v1/events", params={"ledger": name}, headers=bearer(auditor))
        assert (answer.status_code, answer.json()["events"]) == (200, [])
    assert service.client.get("/v1/events", params={"ledger": "cn"}, headers=bearer(auditor)).json()["events"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/ledgers/cn/%72ecords/dec-1",
        "/v1/ledgers/cn/%72ecords/records/dec-1",
        "/v1/ledgers/cn%2Frecords/dec-1",
        "/v1/%6Cedgers/cn/records/dec-1",
    ],
)
def test_a_path_that_is_not_spelled_plainly_leads_nowhere(service: Service, auditor: str, path: str) -> None:
    url = httpx.URL(service.url).copy_with(raw_path=path.encode())
    answer = service.client.get(url, headers=bearer(auditor))
    assert answer.status_code == 404, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
