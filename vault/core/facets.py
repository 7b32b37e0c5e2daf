"""Facets: the few searchable columns that stand beside an envelope, and the commitment to them.

Facets are deleted at disposal, so they must not be guessable from the leaf: the leaf holds SHA-256(salt || facets),
the salt stands beside the columns and goes with them.

Layout of canonical facets v1, big-endian:

    offset  size  type    field
    0       1     u8      version, 1
    1       8     i64     occurred_at, microseconds since 1970-01-01T00:00:00Z
    9       1     u8      api code (vault.core.record.API_CODES)
    10      1     u8      outcome code (OUTCOME_CODES)
    11      1     u8      fidelity code (FIDELITY_CODES)
    12      1     u8      money_moved, 0 or 1
    13      1     u8      below_threshold, 0 no, 1 yes, 2 does not apply
    14      1     u8      score present, 0 or 1
    15      8     f64     score, IEEE 754; zeros when absent
    23      8     i64     ai_ms, -1 when absent
    31      4     u32     flags (vault.core.flags.Flag)
    35      ...           four strings, each u16 length || UTF-8: record id, record class, model, jurisdictions
                          (codes in the record's order, joined by commas)

A new field means version 2; version 1 stays readable for ever.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from vault.core.errors import Modified
from vault.core.spelling import spelled, spelled_often

VERSION = 1
SALT_BYTES = 16

_FIXED = struct.Struct(">BqBBBBBBdqI")
_DOES_NOT_APPLY = 2


class Facets(NamedTuple):
    """The searchable columns of one record. Field order is the order of the columns in the database."""

    record_id: str
    occurred_at: int  # microseconds since the epoch
    jurisdictions: str  # "CN,SG"
    record_class: str
    api: int
    outcome: int
    fidelity: int
    money_moved: bool
    below_threshold: bool | None
    score: float | None
    ai_ms: int | None
    flags: int
    model: str  # the model that served, else the one asked for, else ""


def canonical(facets: Facets) -> bytes:
    """Return the canonical bytes of facets, layout above.

    Raises:
        Modified: a value does not fit its field; the columns were edited.
    """
    below, ai_ms = facets.below_threshold, facets.ai_ms
    try:
        if ai_ms is not None and ai_ms < 0:
            raise OverflowError  # -1 spells absence
        fixed = _FIXED.pack(
            VERSION,
            facets.occurred_at,
            facets.api,
            facets.outcome,
            facets.fidelity,
            facets.money_moved,
            _DOES_NOT_APPLY if below is None else below,
            facets.score is not None,
            0.0 if facets.score is None else facets.score,
            -1 if ai_ms is None else ai_ms,
            facets.flags,
        )
        return b"".join(
            (
                fixed,
                spelled(facets.record_id),
                spelled_often(facets.record_class),
                spelled_often(facets.model),
                spelled_often(facets.jurisdictions),
            )
        )
    except (struct.error, UnicodeEncodeError, OverflowError, AttributeError):  # the last: None for a string
        raise Modified("facets hold a value that does not fit") from None


def digest(facets: Facets, salt: bytes) -> bytes:
    """Return SHA-256(salt || canonical facets), 32 bytes: what the leaf commits to.

    Raises:
        Modified: a value does not fit its field, or the salt has another length: with a free border between the two,
            other facets could have the same digest.
    """
    if len(salt) != SALT_BYTES:
        raise Modified(f"a salt of facets does not have {SALT_BYTES} bytes")
    return hashlib.sha256(salt + canonical(facets)).digest()
