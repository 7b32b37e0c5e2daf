"""The whole API reference, as its own word against the running service.

Schemathesis makes requests from the OpenAPI document, right ones and wrong ones, sent by nobody, a producer, an auditor
with a grant and a compliance officer. Whatever comes of it: no 5xx, and no status, media type, header or body that the
document does not tell of. Every choice is derived from the test's name, so it is the same run every time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.decisions import decision, spelled
from tests.support.serving import PASSWORD, Service, bearer, serving
from tests.support.vault import Installation

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
WHO: Final = ["nobody", "producer", "auditor", "officer"]
EXAMPLES: Final = 6
"""Of each operation, mode and asker."""
_LEDGER: Final = "/v1/ledgers/{ledger}"
_LOG: Final = ("checkpoint", "tile/{tile}", "proof/{seq}", "consistency")
_READS_LOG: Final = {f"GET {_LEDGER}/log/{name}" for name in _LOG} - {f"GET {_LEDGER}/log/tile/{{tile}}"}
"""A tile's path has slashes, which schemathesis spells otherwise."""
_SERVED: Final = {
    f"POST {_LEDGER}/records": {"producer"},
    f"POST {_LEDGER}/records/batch": {"producer"},
    f"GET {_LEDGER}": {"producer", "auditor", "officer"},
    f"GET {_LEDGER}/records": {"auditor"},
    f"GET {_LEDGER}/records/batch": {"auditor"},
    f"GET {_LEDGER}/records/{{record_id}}": {"auditor"},
    "GET /v1/grants": {"auditor", "officer"},
    "POST /v1/grants": {"auditor"},
    "POST /v1/grants/{grant}/approve": {"officer"},
    "POST /v1/grants/{grant}/revoke": {"auditor", "officer"},
    "GET /v1/events": {"auditor", "officer"},
    "POST /v1/reports": {"auditor"},
    "GET /v1/reports/{report}": {"auditor", "officer"},
    "GET /v1/reports/{report}/file": {"auditor"},
    **{f"GET {_LEDGER}/log/{name}": {"producer", "auditor", "officer"} for name in _LOG},
}
"""Who may hear yes; everything else is for everybody."""
_GETS: Final = {
    "nobody": {"GET /healthz", "GET /readyz", "GET /metrics", "POST /v1/login"},
    "producer": {f"POST {_LEDGER}/records", f"POST {_LEDGER}/records/batch", f"GET {_LEDGER}", *_READS_LOG},
    "auditor": {
        *_READS_LOG,
        f"GET {_LEDGER}/records",
        f"GET {_LEDGER}/records/{{record_id}}",
        "GET /v1/grants",
        "POST /v1/grants",
        "GET /v1/events",
        "GET /v1/reports/{report}",
        "GET /v1/reports/{report}/file",
        "POST /v1/grants/{grant}/revoke",
    },
    "officer": {
        *_READS_LOG,
        "GET /v1/grants",
        "GET /v1/events",
        "GET /v1/reports/{report}",
        "POST /v1/grants/{grant}/approve",
        "POST /v1/grants/{grant}/revoke",
    },
}


@dataclass(frozen=True)
class Served:
    """A service, who may ask it, and names of things that are there."""

    service: Service
    schema: schemathesis.BaseSchema
    tokens: dict[str, str]
    known: dict[str, str]


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: schemathesis.SerializationContext, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def served(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("schemathesis") / "home"
    limits = {
        "logins_per_minute": 100_000,
        "requests_per_second": 100_000,
        "records_per_second": 100_000,
        "burst": 100_000,
    }
    with built.copied(home) as installation, serving(installation, **limits) as service:
        auditor, officer = service.people()
        grant = service.granted(auditor, officer, "cn")
        asked = service.client.post("/v1/reports", json={"ledger": "cn"}, headers=bearer(auditor))
        tokens = {"auditor": auditor, "officer": officer, "producer": service.producer("psp-9", "cn")}
        report = asked.json()["report"]
        known = {
            "ledger": "cn",
            "record_id": "dec-3",
            "grant": grant,
            "report": report,
            "seq": "3",
            "tile": "0/000.p/3",
        }
        wanted = {"ledgers": ["cn"], "purpose": "a look", "case": "case-2", "expires_at": _tomorrow()}
        for who in ("auditor", "officer"):
            asked = service.client.post("/v1/grants", json=wanted, headers=bearer(auditor))
            known[who] = asked.json()["grant"]
        while service.client.get(f"/v1/reports/{report}", headers=bearer(auditor)).json()["state"] == "running":
            time.sleep(0.1)
        reference = service.client.get("/openapi.json").json()
        yield Served(service, schemathesis.openapi.from_dict(reference), tokens, known)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("who", WHO)
def test_no_answer_is_a_surprise(served: Served, who: str, mode: GenerationMode) -> None:
    asking = _Asking(served, who)
    with requests.Session() as session:
        session.trust_env = False
        for result in served.schema.get_all_operations():
            nothing_to_get_wrong = Unsatisfiable if mode.is_negative else ()
            with contextlib.suppress(nothing_to_get_wrong):
                asking.about(result.ok(), mode, session)
    assert not asking.surprises, "\n\n".join(f"{key}\n{text}" for key, text in asking.surprises.items())
    heard_yes = {label for label, statuses in asking.seen.items() if statuses & {200, 201, 202}}
    assert heard_yes <= {label for label in asking.seen if who in _SERVED.get(label, WHO)}
    if mode.is_positive:  # asking for things that are there, whoever may gets them
        assert heard_yes >= _GETS[who]
    assert served.service.client.get("/readyz").status_code == 200


class _Asking:
    """One asker's requests: which statuses were seen, and what the API reference does not tell of."""

    def __init__(self, served: Served, who: str) -> None:
        self.seen: dict[str, set[int]] = {}
        self.surprises: dict[str, str] = {}
        self._url = served.service.url
        self._headers = bearer(served.tokens[who]) if who in served.tokens else {}
        self._known = served.known | {"spare": served.known.get(who, served.known["grant"])}
        self._numbers = count(10_000)

    def about(self, operation: schemathesis.APIOperation, mode: GenerationMode, session: requests.Session) -> None:
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode))
        def ask(case: schemathesis.Case) -> None:
            number = next(self._numbers)
            if number % 2:  # every other time, and not by chance: what is there is asked for of every operation
                _name_what_is_there(case, self._known, number)
            answer = case.call(self._url, session, self._headers, timeout=60)
            self.seen.setdefault(operation.label, set()).add(answer.status_code)
            try:
                case.validate_response(answer, checks=CHECKS)
            except FailureGroup as group:
                for one in group.exceptions:
                    self.surprises[f"{operation.label} {answer.status_code}: {one.title}"] = f"{one}\n{group}"

        ask()


def _name_what_is_there(case: schemathesis.Case, known: dict[str, str], number: int) -> None:
    """Have a case ask for things that exist; a made-up name would hardly ever hit one."""
    case.query.clear()
    for name in case.path_parameters:
        case.path_parameters[name] = known[name]
    match case.method, case.path:
        case "POST", "/v1/grants/{grant}/approve" | "/v1/grants/{grant}/revoke":
            case.path_parameters["grant"] = known["spare"]
        case "POST", "/v1/ledgers/{ledger}/records":
            case.body, case.media_type = decision(number), "application/json"
        case "POST", "/v1/ledgers/{ledger}/records/batch":
            case.body, case.media_type = spelled(decision(number)) + b"\n{}\n", "application/x-ndjson"
        case "POST", "/v1/grants":
            case.body = {"ledgers": ["cn"], "purpose": "a look", "case": "case-2", "expires_at": _tomorrow()}
        case "GET", "/v1/ledgers/{ledger}/log/consistency":
            case.query.update(old=1, new=3)
        case "POST", "/v1/login":
            case.body = {"user": "anna", "password": PASSWORD}
        case "POST", "/v1/reports":
            case.body = {"ledger": "cn", "first": "2026-01-02", "end": "2026-01-01"}  # making one takes its time


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
