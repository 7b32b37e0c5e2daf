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
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final

from vault.core.errors import UsageError
from vault.core.record import AMOUNT, VISIBLE

REQUIRED: Final = ("transaction_id", "amount", "currency", "moved_at")
OPTIONAL: Final = ("conversation_id", "step")
MOST_BYTES_A_LINE: Final = 64 * 1024
_HALVES: Final = re.compile("[\ud800-\udfff]")  # JSON can spell them, UTF-8 cannot
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement of money. ``line`` is where it ends in the file, from 1; ``moved_at`` is in UTC."""

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
        with path.open("rb") as file:
            lines = _lines(file)
            first = next(lines, "")
            yield from (_json if first.lstrip().startswith("{") else _csv)(chain([first], lines))
    except OSError as error:
        raise UsageError(f"cannot read the list of movements {path}: {error.strerror}") from None


def _lines(file: BinaryIO) -> Iterator[str]:
    """One line after the other; a file without line ends does not fill the memory."""
    number = 0
    while line := file.readline(MOST_BYTES_A_LINE + 1):
        number += 1
        if len(line) > MOST_BYTES_A_LINE:
            raise _refused(number, f"more than {MOST_BYTES_A_LINE:,} bytes")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise _refused(number, "not UTF-8") from None
        yield text


def _json(lines: Iterable[str]) -> Iterator[Movement]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            raise _refused(number, "no JSON object with each name once") from None
        if not isinstance(document, dict) or not all(type(value) in (str, int, float) for value in document.values()):
            raise _refused(number, "no JSON object of strings and numbers")
        binary = next((name for name in REQUIRED if isinstance(document.get(name), float)), None)
        if binary is not None:
            raise _refused(number, f"{binary} is a binary fraction: spell it as a string")
        yield _movement(number, document)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError
    return document


def _csv(lines: Iterable[str]) -> Iterator[Movement]:
    csv.field_size_limit(MOST_BYTES_A_LINE)
    rows = csv.reader(lines, strict=True)
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
    transaction = str(said["transaction_id"])  # byte for byte, as records have it
    if len(transaction) > 128 or re.match(VISIBLE, transaction) is None or _HALVES.search(transaction):
        raise _refused(number, "transaction_id is 1 to 128 characters that can be seen")
    if re.match(AMOUNT, told["amount"]) is None:
        raise _refused(number, "amount is digits, perhaps a point and up to six more, without a sign")
    if not _CURRENCY.fullmatch(told["currency"]):
        raise _refused(number, "currency is three capital letters")
    return Movement(number, transaction, Decimal(told["amount"]), told["currency"], _instant(number, told["moved_at"]))


def _instant(number: int, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter where a calendar ends
        pass
    raise _refused(number, "moved_at is a date and time with an offset, such as 2026-01-05T16:01:10+08:00")


def _check(number: int, names: Mapping[str, Any]) -> None:
    unknown = [name for name in names if name not in REQUIRED and name not in OPTIONAL]
    missing = [name for name in REQUIRED if name not in names]
    if unknown:
        raise _refused(number, f"a column that nothing knows; known are {', '.join((*REQUIRED, *OPTIONAL))}")
    if missing:
        raise _refused(number, f"{missing[0]} is missing")


def _refused(number: int, what: str) -> UsageError:
    return UsageError(f"the list of movements, line {number}: {what}")
