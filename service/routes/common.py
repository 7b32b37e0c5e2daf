"""What the routes share: the runtime behind a request, and what the API reference says about answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec
from litestar import Response
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema

from service import problems
from service.door import AnyRequest
from service.metrics import Metrics
from service.problems import Problem
from service.runtime import Runtime
from vault.settling import Result, Status

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

BY_PRODUCER: Final[list[dict[str, list[str]]]] = [{"producer": []}]
BY_PERSON: Final[list[dict[str, list[str]]]] = [{"person": []}]

GUARD: Final = frozenset({"card_number", "track_data", "cvv"})
"""Codes of refusals that are the guard's."""

_SAYS: Final = {
    400: "The request cannot be read.",
    401: "No credentials, or none that count. The attempt is an event.",
    403: "A right is missing. The attempt is an event.",
    404: "Nothing is here, or nothing that you may know of.",
    405: "This place does not know the method.",
    408: "The body did not arrive in time.",
    409: "The state of things does not allow it.",
    410: "The record is not kept any more.",
    413: "Too large.",
    415: "This media type or encoding is not taken here.",
    422: "A value is not what it should be; `code` and `path` say which.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "Out of reach for now, or the outcome is unknown; `Retry-After` says when to come back.",
}


def runtime_of(request: AnyRequest) -> Runtime:
    """Return the worker's runtime."""
    return cast(Runtime, request.app.state.runtime)


def told(*statuses: int) -> dict[int, ResponseSpec]:
    """Return what the API reference says about error answers."""
    return {
        status: ResponseSpec(
            Problem, description=_SAYS[status], media_type=problems.MEDIA_TYPE, generate_examples=False
        )
        for status in statuses
    }


def body(media_type: str, says: str) -> type[Operation]:
    """Return the operation of a route that reads its body itself, as bytes."""

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:  # the framework says None here, which would win over a default
            self.request_body = RequestBody({media_type: OpenAPIMediaType(Schema(description=says))}, required=True)

    return WithBody


def raw(content: bytes, status: int, media_type: str = JSON, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Return bytes that are spelled already."""
    return Response(content, status_code=status, media_type=media_type, headers=headers)


def answered(view: msgspec.Struct, status: int = 200) -> Response[bytes]:
    """Return a view as JSON. Spelled here: a record inside it must leave byte for byte."""
    return raw(msgspec.json.encode(view), status)


def microseconds(moment: datetime | None) -> int | None:
    """Return a time with an offset as microseconds since the epoch."""
    return None if moment is None else round(moment.timestamp() * 1_000_000)


def instant(us: int | None) -> str | None:
    """Return microseconds since the epoch as RFC 3339 UTC."""
    if us is None:
        return None
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def require_media_type(request: AnyRequest, *accepted: str) -> None:
    """Refuse a body of another media type.

    Raises:
        HttpProblem: 415.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in accepted:
        raise problems.HttpProblem("unsupported-media-type", f"the body's Content-Type is {' or '.join(accepted)}")


def encoding_of(request: AnyRequest, accepted: Iterable[str]) -> str:
    """Return the body's content encoding.

    Raises:
        HttpProblem: 415 for another than those accepted.
    """
    given = request.headers.get("content-encoding", "identity").strip().lower() or "identity"
    if given not in accepted:
        words = ", ".join(accepted)
        raise problems.HttpProblem("unsupported-media-type", f"the body's Content-Encoding is one of: {words}")
    return given


def count(metrics: Metrics, result: Result) -> None:
    """Count what became of a record."""
    match result.status:
        case Status.ACCEPTED | Status.DUPLICATE:
            metrics.record(result.status.value)
        case Status.CONFLICTING:
            metrics.record("conflict")
        case Status.REFUSED:
            metrics.refused(result.code)
            if result.code in GUARD:
                metrics.guard(result.code)


def refuse_unknown(request: AnyRequest) -> None:
    """Refuse query parameters that the route does not have: a misspelt limit must never mean no limit.

    Raises:
        HttpProblem: 422.
    """
    known = request.route_handler.parsed_fn_signature.parameters
    if any(name not in known for name in request.query_params):
        names = ", ".join(sorted(set(known) - {"request", *request.path_params}))
        raise problems.HttpProblem("invalid", f"the query has a parameter that is not known here; known are {names}")


def document_of(text: bytes) -> Any:
    """Return bytes that are JSON already as they are, for a place inside a view."""
    return msgspec.Raw(text)
