"""The payment system's list of money movements, as it is handed to us: CSV with a header line, or JSON lines.

    transaction_id   required: the id that a record carries as decision.transaction_id
    amount           required: a decimal with at most six digits after the point, never negative
    currency         required: ISO 4217, three capital letters
    moved_at         required: RFC 3339 with an offset
    conversation_id  what the payment system knows of it; optional, and never needed to match
    step             optional

Other columns are refused: a misspelt one must not be taken for a missing one. What cannot be read stops the report with
the line's number and never quotes it. From: RFC 4180 for CSV (UTF-8, with or without a byte order mark).
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from vault.core.errors import UsageError
from vault.core.record import AMOUNT

REQUIRED: Final = ("transaction_id", "amount", "currency", "moved_at")
OPTIONAL: Final = ("conversation_id", "step")
MOST_BYTES_A_LINE: Final = 64 * 1024
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement of money. ``line`` is where it stands in the file, from 1."""

    line: int
    transaction_id: str
    amount: Decimal
    currency: str
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """Which list it was: its name, SHA-256 and size in bytes."""

    name: str
    sha256: bytes
    size: int


def measure(path: Path) -> Listed:
    """Return what identifies a list.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        return Listed(path.name, digest, path.stat().st_size)
    except OSError as error:
        raise UsageError(f"cannot read the list of movements {path}: {error.strerror}") from None


def read(path: Path) -> Iterator[Movement]:
    """Yield the movements of a list, in order.

    Raises:
        UsageError: it cannot be read, or a line of it; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            begins = file.read(1)
            file.seek(0)
            yield from _json(file) if begins == "{" else _csv(file)
    except OSError as error:
        raise UsageError(f"cannot read the list of movements {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the list of movements {path} is not UTF-8") from None


def _json(file: TextIO) -> Iterator[Movement]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            document = msgspec.json.decode(line, type=dict[str, str | int | float])
        except (msgspec.MsgspecError, RecursionError):
            raise _refused(number, "no JSON object of strings and numbers") from None
        if isinstance(document.get("amount"), float):
            raise _refused(number, "the amount is a binary fraction: spell it as a string")
        yield _movement(number, document)


def _csv(file: TextIO) -> Iterator[Movement]:
    csv.field_size_limit(MOST_BYTES_A_LINE)
    rows = csv.reader(file, strict=True)
    try:
        header = next(rows, [])
        names = [name.strip() for name in header]
        if len(set(names)) != len(names):
            raise _refused(1, "two columns of one name")
        _check(1, dict.fromkeys(names))
        for cells in rows:
            if not cells:
                continue
            if len(cells) != len(names):
                raise _refused(rows.line_num, f"{len(cells)} cells under {len(names)} columns")
            yield _movement(rows.line_num, dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise _refused(rows.line_num, f"no CSV ({error})") from None


def _movement(number: int, said: Mapping[str, Any]) -> Movement:
    _check(number, said)
    told = {name: str(said[name]).strip() for name in REQUIRED}
    if not 0 < len(told["transaction_id"]) <= 128 or not told["transaction_id"].isprintable():
        raise _refused(number, "transaction_id is 1 to 128 printable characters")
    if re.match(AMOUNT, told["amount"]) is None:
        raise _refused(number, "amount is digits, perhaps a point and up to six more, without a sign")
    if not _CURRENCY.fullmatch(told["currency"]):
        raise _refused(number, "currency is three capital letters")
    try:
        at = datetime.fromisoformat(told["moved_at"])
    except ValueError:
        at = datetime.min
    if at.tzinfo is None:
        raise _refused(number, "moved_at is a date and time with an offset, such as 2026-01-05T16:01:10+08:00")
    return Movement(number, told["transaction_id"], Decimal(told["amount"]), told["currency"], at)


def _check(number: int, names: Mapping[str, Any]) -> None:
    unknown = [name for name in names if name not in REQUIRED and name not in OPTIONAL]
    missing = [name for name in REQUIRED if name not in names]
    if unknown:
        raise _refused(number, f"a column that nothing knows; known are {', '.join((*REQUIRED, *OPTIONAL))}")
    if missing:
        raise _refused(number, f"{missing[0]} is missing")


def _refused(number: int, what: str) -> UsageError:
    return UsageError(f"the list of movements, line {number}: {what}")
