"""The exception tests: what each looks for, in words a reader can repeat. Order and areas are those of the
page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reports.figures import Example, ExceptionCheck
from reports.model import Population
from reports.rows import Row
from vault.core.flags import Flag

DOUBLE_CHARGE = ExceptionCheck(
    "Money",
    "possible_double_charge",
    "Possible double charges",
    "Two records of one conversation and step moved money, and neither is a retry settled by the other.",
    0,
)
UNSETTLED = ExceptionCheck(
    "Money",
    "outcome_unknown",
    "Unknown outcome, not settled",
    "The outcome is outcome_unknown and no record says that it settles it.",
    0,
)


@dataclass(frozen=True, slots=True)
class RowCheck:
    """A test that one row decides alone. ``detail`` adds a word or two to an example."""

    area: str
    code: str
    title: str
    criterion: str
    found: Callable[[Row], bool]
    detail: Callable[[Row], str] = lambda row: "money moved" if row.money_moved else ""


def _flag(flag: Flag) -> Callable[[Row], bool]:
    value = int(flag)
    return lambda row: row.flags & value != 0


def may_find(row: Row) -> bool:
    """False where no row check can find anything: nearly every row, so it is asked first."""
    return row.flags != 0 or row.fidelity != "wire"


ROW_CHECKS: tuple[RowCheck, ...] = (
    RowCheck(
        "Money",
        "amount_missing",
        "Amount missing",
        "Money moved and the record carries no executed amount.",
        _flag(Flag.AMOUNT_MISSING),
        lambda row: row.outcome,
    ),
    RowCheck(
        "Model",
        "validation_failed",
        "Answer failed its schema",
        "validation.ok is false: the producer's own check of the model's answer failed.",
        _flag(Flag.VALIDATION_FAILED),
    ),
    RowCheck(
        "Model",
        "score_unusable",
        "No usable confidence score",
        "An AI decision whose score is missing, null or off its scale; it counts as below the threshold.",
        _flag(Flag.SCORE_UNUSABLE),
    ),
    RowCheck(
        "Model",
        "threshold_defaulted",
        "Threshold not stated",
        "The record names no threshold; the ledger's was used.",
        _flag(Flag.THRESHOLD_DEFAULTED),
    ),
    RowCheck(
        "Capture",
        "not_wire",
        "Not captured as sent on the wire",
        "source.fidelity is reconstructed, truncated or redacted.",
        lambda row: row.fidelity != "wire",
        lambda row: row.fidelity,
    ),
    RowCheck(
        "Content",
        "identity_number",
        "Identity number in the text",
        "The guard saw an identity number; the ledger accepts and flags.",
        _flag(Flag.IDENTITY_NUMBER),
    ),
    RowCheck(
        "Content",
        "card_data",
        "Card data in the text",
        "The guard saw card data; the ledger's policy accepts and flags instead of refusing.",
        _flag(Flag.CARD_DATA),
    ),
    RowCheck(
        "Time",
        "clock_ahead",
        "Clock ahead",
        "occurred_at lay 5 minutes to 24 hours ahead of the vault's clock on arrival.",
        _flag(Flag.CLOCK_AHEAD),
    ),
    RowCheck(
        "Time",
        "older_than_floor",
        "Older than the product floor on arrival",
        "occurred_at lay further back than three years.",
        _flag(Flag.OLDER_THAN_FLOOR),
    ),
    RowCheck(
        "Keeping",
        "transaction_presumed",
        "Transaction date presumed",
        "A rule runs from the transaction and the record has no executed_at; occurred_at was taken.",
        _flag(Flag.TRANSACTION_PRESUMED),
    ),
    RowCheck(
        "Keeping",
        "open_ended",
        "Keeping period not started",
        "The event that starts a rule's period has not happened; the record is never due until it has.",
        _flag(Flag.OPEN_ENDED),
    ),
    RowCheck(
        "Keeping",
        "unconfigured_jurisdiction",
        "Jurisdiction not in the rule book",
        "An ISO code that the rule book does not list; the floor and the latest-ending zone apply.",
        _flag(Flag.UNCONFIGURED_JURISDICTION),
    ),
    RowCheck(
        "Keeping",
        "erasure_conflict",
        "Erasure demanded before keeping ends",
        "One rule demands erasure earlier than another allows; the record is restricted.",
        _flag(Flag.ERASURE_CONFLICT),
    ),
)


def capture_checks(population: Population) -> tuple[ExceptionCheck, ...]:
    """What the events and the producers' numbering say: refusals still open, conflicts, sequence gaps."""
    numbering = population.sequences
    return (
        ExceptionCheck(
            "Capture",
            "refused_open",
            "Refused and not sent again",
            "A record was refused on arrival and no redacted resend has closed the refusal.",
            population.refusals.open,
            tuple(
                Example(None, None, f"{refusal.producer}, {refusal.place}: {refusal.reason}")
                for refusal in population.refusals.examples
            ),
        ),
        ExceptionCheck(
            "Capture",
            "conflict",
            "Conflicting resends",
            "A record id came again with other bytes; the first version was kept.",
            population.conflicts,
        ),
        ExceptionCheck(
            "Capture",
            "sequence_gap",
            "Numbers missing in a producer's sequence",
            "producer_seq has holes between the first and the last number seen, over the whole ledger.",
            numbering.missing,
            tuple(
                Example(None, None, f"{row.producer}: " + ", ".join(_span(*gap) for gap in row.gaps))
                for row in numbering.producers
                if row.missing
            ),
            not_tested=None if numbering.numbered or not numbering.unnumbered else "no producer numbers its records",
        ),
    )


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
