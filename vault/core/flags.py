"""Flags: one bit each, set at write, searched as a facet, never removed or renumbered (new bits go at the end)."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """What the vault noticed about a record. Part of the facets, so part of the leaf's commitment."""

    CLOCK_AHEAD = 1 << 0  # occurred_at is 5 minutes to 24 hours ahead of the vault's clock
    OLDER_THAN_FLOOR = 1 << 1  # occurred_at lies further back than the product floor
    AMOUNT_MISSING = 1 << 2  # money_moved without decision.executed
    THRESHOLD_DEFAULTED = 1 << 3  # the record names no threshold; the ledger's was used
    SCORE_UNUSABLE = 1 << 4  # AI decision with a missing, null or out-of-scale score: counts as below
    REVIEW_AGREED = 1 << 5  # the record itself carries a review that agreed
    IDENTITY_NUMBER = 1 << 6  # the guard saw an identity number (accept-and-flag)
    CARD_DATA = 1 << 7  # the guard saw card data and the ledger's policy accepts and flags
    UNCONFIGURED_JURISDICTION = 1 << 8  # an ISO code the rule book does not list: floor and latest zone
    ERASURE_CONFLICT = 1 << 9  # an at_minimum erasure date before keep_until: the record is restricted
    OPEN_ENDED = 1 << 10  # a rule's trigger has not happened: keep_until is null
    TRANSACTION_PRESUMED = 1 << 11  # transaction_completed without executed_at: occurred_at presumed
    VALIDATION_FAILED = 1 << 12  # validation.ok is false: the model's answer failed its schema
    IMPORTED = 1 << 13  # came in with an approved import: its own dates count, not the day of its receipt
    DATES_ANOTHER = 1 << 14  # reports the event that another record waits for (relates_to of kind dates)
