"""Why a token is refused: the whole list, in words that a caller may show and write into an event.

Each says which rule the token breaks and nothing of what stands in it: no issuer, subject, key id or time.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The text of a ``Denied``."""

    TOO_LONG = "token too long"
    MALFORMED = "token malformed"
    CRITICAL_HEADER = "token has critical headers"
    ALGORITHM = "token algorithm not allowed"
    TYPE = "token type not allowed"
    UNKNOWN_KEY = "token key unknown"
    SIGNATURE = "token signature wrong"
    CLAIMS_MISSING = "token claims missing"
    CLAIMS_MALFORMED = "token claims malformed"
    ISSUER = "token issuer wrong"
    AUDIENCE = "token audience wrong"
    EXPIRED = "token expired"
    NOT_YET = "token not valid yet"
    FROM_THE_FUTURE = "token issued in the future"
    TOO_OLD = "token too old"
