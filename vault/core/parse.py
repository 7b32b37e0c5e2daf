"""Bytes to a checked record: the one gate through which every reasoning log comes in.

    >>> parsed = parse(line, now_us=clock())
    >>> parsed.record.decision.outcome, parsed.below_threshold
    ('accepted', False)

The bytes are read twice, by two parsers that share no code. jiter goes first: it refuses what is no JSON,
duplicate keys at any depth, broken UTF-8 and surrogates, and leaves a plain tree for the guard to walk.
msgspec then reads the same bytes into the types of ``vault.core.record``, and refuses numbers that no float
can hold. Neither changes the bytes, which are what gets sealed. A document that both accept reads the same in
both (a property test), so nobody can be shown another decision.

Every refusal is a ``RefusedInput`` with a JSON path, a sentence and a stable code, free of the record's
content: neither the parsers' messages nor the exceptions themselves travel along, since they repeat values
and keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jiter
import msgspec

from vault.core.errors import RefusedInput
from vault.core.flags import Flag
from vault.core.malformed import find_fault
from vault.core.record import Record
from vault.core.record_rules import DEFAULT_THRESHOLD, below_threshold, check, score_usable
from vault.core.schema_fault import explain

MAX_RECORD: Final = 1024 * 1024
"""Bytes in one document at most."""
MAX_AHEAD_US: Final = 24 * 3600 * 1_000_000
"""How far a time may lie ahead of the vault's clock."""
FLAGGED_AHEAD_US: Final = 5 * 60 * 1_000_000
FLOOR_YEARS: Final = 3

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US: Final = 24 * 3600 * 1_000_000
_SHORTEST_FLOOR_US: Final = FLOOR_YEARS * 365 * _DAY_US
_RFC_3339 = re.compile(r".{10}[Tt].*(?:[Zz]|:[0-9]{2})", re.ASCII)

_decoder = msgspec.json.Decoder(Record)

# Plain integers: combining members of an IntFlag costs a microsecond each.
_CLOCK_AHEAD: Final = int(Flag.CLOCK_AHEAD)
_OLDER_THAN_FLOOR: Final = int(Flag.OLDER_THAN_FLOOR)
_AMOUNT_MISSING: Final = int(Flag.AMOUNT_MISSING)
_THRESHOLD_DEFAULTED: Final = int(Flag.THRESHOLD_DEFAULTED)
_SCORE_UNUSABLE: Final = int(Flag.SCORE_UNUSABLE)
_REVIEW_AGREED: Final = int(Flag.REVIEW_AGREED)
_VALIDATION_FAILED: Final = int(Flag.VALIDATION_FAILED)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A record that may be kept, and what the vault noticed about it.

    Attributes:
        record: the typed view.
        tree: the same document as plain dicts, lists and scalars; what the guard walks.
        flags: those of ``Flag`` that the record alone decides.
        below_threshold: whether an AI decision fell below its threshold; None where no AI decided.
        occurred_at_us: microseconds since the Unix epoch, UTC.
        executed_at_us: the same for ``decision.executed_at``; None when the record does not say.
    """

    record: Record
    tree: object
    flags: Flag
    below_threshold: bool | None
    occurred_at_us: int
    executed_at_us: int | None


def parse(raw: bytes, *, now_us: int, default_threshold: float = DEFAULT_THRESHOLD) -> Parsed:
    """Read one ``reasoning-log/1`` document.

    Args:
        raw: the bytes as received; white space around the document is allowed, nothing else is.
        now_us: the vault's clock, microseconds since the Unix epoch.
        default_threshold: the ledger's threshold for records that name none, on a scale from 0 to 1 where
            higher is better; see ``below_threshold`` for other scales.

    Raises:
        RefusedInput: and nothing else, whatever the bytes. The codes: too_large; those of ``find_fault``, of
            ``explain`` and of ``record_rules.check``; bad_time, clock_ahead.

    Not checked: card and identity numbers (the guard), whether the id is taken (the store), whether the
    ledger allows the record class (intake).
    """
    if len(raw) > MAX_RECORD:
        raise RefusedInput("is larger than 1 MiB", "$", "too_large")
    tree = _read_tree(raw)
    record = _read_types(raw)
    check(record)
    occurred_at_us, executed_at_us = _read_times(record, tree, now_us)
    below = below_threshold(record.confidence, default_threshold) if record.is_ai else None
    bits = _flags_of_time(occurred_at_us, now_us) | _flags_of_content(record)
    return Parsed(record, tree, Flag(bits), below, occurred_at_us, executed_at_us)


def epoch_us(moment: datetime) -> int:
    """Return microseconds since the Unix epoch of a time with offset."""
    span = moment - _EPOCH
    return span.days * _DAY_US + span.seconds * 1_000_000 + span.microseconds


def _read_tree(raw: bytes) -> Any:
    """Return the document as plain objects; refuse what is no JSON, duplicate keys, surrogates and NUL."""
    try:
        # The cache outlives the record, so it may hold keys but no values.
        tree = jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
    except ValueError:
        pass  # raised below, where the parser's message is no longer attached
    else:
        # U+0000 is valid JSON by its escape, but databases and C programs cut a text there. The scanner tells
        # it from an escaped backslash. Most records have no backslash at all, and one byte is found at once.
        if b"\\" in raw and b"\\u0000" in raw and (fault := find_fault(raw)):
            raise fault
        return tree
    raise find_fault(raw) or RefusedInput("is not valid JSON", "$", "malformed")


def _read_types(raw: bytes) -> Record:
    """Return the document as types; refuse unknown and missing fields, wrong types, values out of bounds."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError) as error:
        fault = explain(str(error))
    except RecursionError:  # within the bound of jiter, but the caller's own stack is nearly full
        fault = RefusedInput("nests too deeply", "$", "too_deep")
    # Inside free-form objects msgspec does not know the keys of the path, the scanner does.
    raise (find_fault(raw) or fault) if fault.code == "number_out_of_range" else fault


def _read_times(record: Record, tree: Any, now_us: int) -> tuple[int, int | None]:
    """Return occurred_at and executed_at; every time must be well spelled and must have happened."""
    occurred_at_us = _read_time(record.occurred_at, tree["occurred_at"], "$.occurred_at", now_us)
    executed_at_us = None
    if (executed_at := record.decision.executed_at) is not None:
        path = "$.decision.executed_at"
        executed_at_us = _read_time(executed_at, tree["decision"]["executed_at"], path, now_us)
    if record.review is not None and (decided_at := record.review.decided_at) is not None:
        _read_time(decided_at, tree["review"]["decided_at"], "$.review.decided_at", now_us)
    return occurred_at_us, executed_at_us


def _read_time(moment: datetime, text: str, path: str, now_us: int) -> int:
    """Return microseconds since the epoch; digits after the sixth have been rounded half up.

    Raises:
        RefusedInput: ``text`` is ISO 8601 but not RFC 3339 (a space for the T, an offset without a colon),
            lies before 1970 or more than 24 hours ahead. Before 1970 there are no such decisions, only
            clocks that were never set, and calendar arithmetic near the year 1 overflows.
    """
    if not _RFC_3339.fullmatch(text):
        raise RefusedInput("is not spelled like 2026-01-05T08:01:12.111+08:00 (RFC 3339)", path, "bad_time")
    moment_us = epoch_us(moment)
    if moment_us < 0:
        raise RefusedInput("lies before 1970", path, "bad_time")
    if moment_us - now_us > MAX_AHEAD_US:
        raise RefusedInput("lies more than 24 hours ahead of the vault's clock", path, "clock_ahead")
    return moment_us


def _flags_of_time(occurred_at_us: int, now_us: int) -> int:
    if occurred_at_us > now_us - _SHORTEST_FLOOR_US:
        return _CLOCK_AHEAD if occurred_at_us - now_us >= FLAGGED_AHEAD_US else 0
    return _OLDER_THAN_FLOOR if occurred_at_us < _floor_us(now_us) else 0


def _floor_us(now_us: int) -> int:
    """Return the instant three calendar years before now, UTC. What lies before it is older than the floor.

    From 29 February it is 1 March: whatever happened on 28 February has had its three years.
    """
    now = _EPOCH + timedelta(microseconds=now_us)
    try:
        floor = now.replace(year=now.year - FLOOR_YEARS)
    except ValueError:
        floor = datetime(now.year - FLOOR_YEARS, 3, 1, tzinfo=UTC)
    return epoch_us(floor)


def _flags_of_content(record: Record) -> int:
    bits = 0
    if record.decision.money_moved and record.decision.executed is None:
        bits |= _AMOUNT_MISSING
    if record.is_ai:
        confidence = record.confidence
        if confidence is None or confidence.threshold is None:
            bits |= _THRESHOLD_DEFAULTED
        if not score_usable(confidence):
            bits |= _SCORE_UNUSABLE
    if record.review is not None and record.review.agreed:
        bits |= _REVIEW_AGREED
    if record.validation is not None and not record.validation.ok:
        bits |= _VALIDATION_FAILED
    return bits
