"""The API reference says who may come in and what a body is: tools send what it says."""

from __future__ import annotations

from service.app import application

OPEN = {"/v1/login", "/healthz", "/readyz", "/metrics"}


def test_every_operation_says_who_and_every_body_is_described() -> None:
    told = application().openapi_schema.to_schema()
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            assert ("security" in operation) == (path not in OPEN), (method, path)
            takes = method == "post" and not path.endswith(("/approve", "/revoke"))
            assert ("requestBody" in operation) == takes, (method, path)
    append = told["paths"]["/v1/ledgers/{ledger}/records"]["post"]
    batch = told["paths"]["/v1/ledgers/{ledger}/records/batch"]["post"]
    assert set(append["requestBody"]["content"]) == {"application/json"}
    assert set(batch["requestBody"]["content"]) == {"application/x-ndjson"}
