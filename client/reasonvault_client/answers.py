"""What the vault's answers mean. Bytes and numbers in, errors and receipts out; no network, no clock.

status   meaning for the record
200 201  here is its receipt, to be checked
401 403  the key is not good for this ledger       -> Denied
404 405  this is not the vault's address           -> Misconfigured
409      the id has other bytes                    -> Conflict
410      the id's record was destroyed             -> Gone
400 413 415 422  the vault will not take it        -> Refused, but only where the vault itself says so
others   nothing is known or wait                  -> Unavailable
"""

from __future__ import annotations

import re

import msgspec

from reasonvault_client.errors import ClientError, Conflict, Denied, Gone, Misconfigured, Refused, Unavailable

KIND = "urn:reasonvault:problem:"
MAX_REASON = 300
_CODE = re.compile(r"[a-z]{2,20}([_-][a-z0-9]{1,20}){0,5}", re.ASCII)
_PATH = re.compile(r"\$(?:\.[A-Za-z][A-Za-z0-9_-]{0,39}|\.\*|\[[0-9]{1,6}\]){0,12}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{6,}", re.ASCII)
_REFUSALS = frozenset({400, 413, 415, 422})


class Problem(msgspec.Struct, frozen=True):
    """As much of a problem+json body (RFC 9457) as is used."""

    type: str = ""
    detail: str = ""
    code: str | None = None
    path: str | None = None

    @property
    def kind(self) -> str:
        """The last word of its type; empty where it is none of the vault's."""
        return self.type.removeprefix(KIND) if self.type.startswith(KIND) else ""

    def __repr__(self) -> str:
        return f"Problem({self.kind!r})"


class BatchLine(msgspec.Struct, frozen=True):
    """One line of a batch's answer."""

    status: int
    line: int = 0
    receipt: msgspec.Raw = msgspec.Raw()
    problem: Problem = Problem()

    def __repr__(self) -> str:
        return f"BatchLine(line={self.line}, status={self.status})"


_line_decoder = msgspec.json.Decoder(BatchLine)
_problem_decoder = msgspec.json.Decoder(Problem)


def read_problem(content_type: str, body: bytes) -> Problem:
    """Return the problem of an answer, an empty one where it has none: a proxy's page, for example."""
    if content_type.partition(";")[0].strip().lower() not in ("application/problem+json", "application/json"):
        return Problem()
    try:
        return _problem_decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return Problem()


def read_line(data: bytes) -> BatchLine:
    """Read a line of a batch's answer.

    Raises:
        Unavailable: it is none, so what follows is not believed either.
    """
    try:
        return _line_decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        raise Unavailable("the vault's answer is cut off or garbled", unknown=True) from None


def error_of(status: int, problem: Problem, retry_after: float | None = None) -> ClientError:
    """Return what a status other than 200 and 201 means."""
    if status in (401, 403):
        return Denied(status)
    if status in (404, 405):
        return Misconfigured(f"the vault knows no such ledger or route (status {status}): check url and ledger")
    if status == 409 and problem.type:
        return Conflict()
    if status == 410 and problem.type:
        return Gone()
    # A proxy in between may refuse for reasons of its own; only 413 means the same from anybody.
    if status == 413 or (status in _REFUSALS and problem.type):
        return Refused(_code(problem), _path(problem), _printable(problem.detail), status)
    if status == 503 and problem.kind == "unknown-outcome":
        return Unavailable("the vault does not know whether it committed", retry_after=retry_after, unknown=True)
    if problem.kind == "evidence":
        return Unavailable("the vault takes nothing: its evidence does not hold", retry_after=retry_after)
    return Unavailable(f"the vault answered {status}", retry_after=retry_after, unknown=status >= 500, status=status)


def _code(problem: Problem) -> str:
    """The vault's word for the fault. What looks like no word of its own must not reach a message."""
    return next((word for word in (problem.code, problem.kind) if word and _CODE.fullmatch(word)), "refused")


def _path(problem: Problem) -> str:
    """The JSON path as far as it consists of plain names and places."""
    found = _PATH.match(problem.path or "")
    return _DIGITS.sub("#", found[0]) if found else "$"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:MAX_REASON])
