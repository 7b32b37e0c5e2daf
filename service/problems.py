"""Problems: what an error says over HTTP (RFC 9457), and which status it has.

A problem's ``type`` is stable and for programs; its ``detail`` is one line for people and reveals nothing of a record,
of a token, or of what whoever asks may not know.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from vault.core.errors import (
    Denied,
    Destroyed,
    EvidenceError,
    LedgerFrozen,
    Misconfigured,
    RefusedInput,
    Unavailable,
    Unknown,
    UnknownOutcome,
    UsageError,
    VaultError,
)
from vault.core.receipt import Receipt
from vault.settling import Result, Status

MEDIA_TYPE: Final = "application/problem+json"
_PREFIX: Final = "urn:reasonvault:problem:"

TITLES: Final = {
    "malformed-request": (400, "The request cannot be read"),
    "unauthenticated": (401, "Who asks is not known"),
    "denied": (403, "A right is missing"),
    "not-found": (404, "Nothing is here, or nothing that you may know of"),
    "method-not-allowed": (405, "This place does not know the method"),
    "timeout": (408, "The request did not arrive in time"),
    "record-conflict": (409, "The id belongs to a record with other bytes"),
    "conflict": (409, "The state of things does not allow it"),
    "record-gone": (410, "The record is not kept any more"),
    "too-large": (413, "Too large"),
    "unsupported-media-type": (415, "The media type or encoding is not taken here"),
    "record-refused": (422, "The record cannot be kept as it is"),
    "invalid": (422, "A value is not what it should be"),
    "too-many-requests": (429, "Too many requests"),
    "internal": (500, "A fault of the service"),
    "unavailable": (503, "Something the vault needs is out of reach"),
    "unknown-outcome": (503, "Nobody knows yet whether it is kept"),
    "evidence": (503, "What is stored is not what was promised"),
}
"""Kind -> status and title."""


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of every error answer. ``path`` is the JSON path of a fault in a record; ``receipt`` that of a record
    which is gone, without its opening."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str = ""
    code: str = ""
    path: str = ""
    receipt: Receipt | None = None


class HttpProblem(Exception):
    """An error that is a problem already. ``retry_after``: seconds, for 429 and 503."""

    def __init__(self, kind: str, detail: str, *, code: str = "", retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.problem = problem(kind, detail, code=code)
        self.retry_after = retry_after


def problem(kind: str, detail: str, *, code: str = "", path: str = "") -> Problem:
    """Return a problem of a kind in ``TITLES``."""
    status, title = TITLES[kind]
    return Problem(type=_PREFIX + kind, title=title, status=status, detail=detail, code=code, path=path)


def of_error(error: BaseException) -> tuple[Problem, int | None]:
    """Return the problem that an error is, and after how many seconds to try again where that helps."""
    match error:
        case HttpProblem():
            return error.problem, error.retry_after
        case RefusedInput():
            kind = "too-large" if error.code == "too_large" else "record-refused"
            return problem(kind, error.reason, code=error.code, path=error.path), None
        case Unknown():
            return problem("not-found", str(error)), None
        case Denied():
            return problem("denied", str(error)), None
        case Destroyed():
            return problem("record-gone", str(error), code="gone"), None
        case UnknownOutcome():
            return problem("unknown-outcome", "send the same request again: the same id is never kept twice"), 1
        case Unavailable():
            return problem("unavailable", str(error)), 2
        case LedgerFrozen():
            return problem("evidence", str(error).partition(" at ledger")[0], code="frozen"), 60
        case EvidenceError():
            return problem("evidence", "the vault's evidence does not hold here; its operator must look"), 60
        case Misconfigured():
            return problem("unavailable", "the vault is not set up right; its operator must look"), 60
        case UsageError():
            return problem("invalid", str(error)), None
        case VaultError():
            return problem("internal", "the vault could not do it"), None
        case TimeoutError() | asyncio.CancelledError():
            return problem("unknown-outcome", "the vault did not answer in time: send the same request again"), 1
    return problem("internal", "an unforeseen fault; the log has the request's id"), None


def of_result(result: Result, receipt: bytes | None = None) -> Problem:
    """Return the problem of a record that was not kept, or is not kept any more: that one has its receipt still."""
    if result.status is Status.CONFLICTING:
        return problem("record-conflict", result.reason, code=result.code, path=result.path)
    kind = {"gone": "record-gone", "too_large": "too-large"}.get(result.code, "record-refused")
    found = problem(kind, result.reason, code=result.code, path=result.path)
    found.receipt = None if receipt is None else msgspec.json.decode(receipt, type=Receipt)
    return found


def encode(found: Problem, request_id: str) -> bytes:
    """Return a problem's JSON."""
    found.request_id = request_id
    return msgspec.json.encode(found)


def document(found: Problem) -> dict[str, Any]:
    """Return a problem as it stands in a line of a batch's answer."""
    return {key: value for key, value in msgspec.to_builtins(found).items() if value != ""}
