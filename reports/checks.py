"""The exception tests: what each looks for, in words a reader can repeat. Order and areas are those of the
page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reports.figures import Example, ExceptionCheck
from reports.model import Population
from reports.phrase import phrase
from reports.rows import Row
from vault.core.flags import Flag

DOUBLE_CHARGE = ExceptionCheck(
    phrase("Money"),
    "possible_double_charge",
    phrase("Possible double charges"),
    phrase("Two records of one conversation and step moved money, and neither is a retry settled by the other."),
    0,
)
UNSETTLED = ExceptionCheck(
    phrase("Money"),
    "outcome_unknown",
    phrase("Unknown outcome, not settled"),
    phrase("The outcome is outcome_unknown and no record says that it settles it."),
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
    detail: Callable[[Row], str] = lambda row: phrase("money moved") if row.money_moved else ""


def _flag(flag: Flag) -> Callable[[Row], bool]:
    value = int(flag)
    return lambda row: row.flags & value != 0


def may_find(row: Row) -> bool:
    """False where no row check can find anything: nearly every row, so it is asked first."""
    return row.flags != 0 or row.fidelity != "wire"


ROW_CHECKS: tuple[RowCheck, ...] = (
    RowCheck(
        phrase("Money"),
        "amount_missing",
        phrase("Amount missing"),
        phrase("Money moved and the record carries no executed amount."),
        _flag(Flag.AMOUNT_MISSING),
        lambda row: row.outcome,
    ),
    RowCheck(
        phrase("Model"),
        "validation_failed",
        phrase("Answer failed its schema"),
        phrase("validation.ok is false: the producer’s own check of the model’s answer failed."),
        _flag(Flag.VALIDATION_FAILED),
    ),
    RowCheck(
        phrase("Model"),
        "score_unusable",
        phrase("No usable confidence score"),
        phrase("An AI decision whose score is missing, null or off its scale; it counts as below the threshold."),
        _flag(Flag.SCORE_UNUSABLE),
    ),
    RowCheck(
        phrase("Model"),
        "threshold_defaulted",
        phrase("Threshold not stated"),
        phrase("The record names no threshold; the ledger’s was used."),
        _flag(Flag.THRESHOLD_DEFAULTED),
    ),
    RowCheck(
        phrase("Capture"),
        "not_wire",
        phrase("Not captured as sent on the wire"),
        phrase("source.fidelity is reconstructed, truncated or redacted."),
        lambda row: row.fidelity != "wire",
        lambda row: row.fidelity,
    ),
    RowCheck(
        phrase("Content"),
        "identity_number",
        phrase("Identity number in the text"),
        phrase("The guard saw an identity number; the ledger accepts and flags."),
        _flag(Flag.IDENTITY_NUMBER),
    ),
    RowCheck(
        phrase("Content"),
        "card_data",
        phrase("Card data in the text"),
        phrase("The guard saw card data; the ledger’s policy accepts and flags instead of refusing."),
        _flag(Flag.CARD_DATA),
    ),
    RowCheck(
        phrase("Time"),
        "clock_ahead",
        phrase("Clock ahead"),
        phrase("occurred_at lay 5 minutes to 24 hours ahead of the vault’s clock on arrival."),
        _flag(Flag.CLOCK_AHEAD),
    ),
    RowCheck(
        phrase("Time"),
        "older_than_floor",
        phrase("Older than the product floor on arrival"),
        phrase("occurred_at lay further back than three years."),
        _flag(Flag.OLDER_THAN_FLOOR),
    ),
    RowCheck(
        phrase("Keeping"),
        "transaction_presumed",
        phrase("Transaction date presumed"),
        phrase("A rule runs from the transaction and the record has no executed_at; occurred_at was taken."),
        _flag(Flag.TRANSACTION_PRESUMED),
    ),
    RowCheck(
        phrase("Keeping"),
        "open_ended",
        phrase("Keeping period not started"),
        phrase("The event that starts a rule’s period has not happened; the record is never due until it has."),
        _flag(Flag.OPEN_ENDED),
    ),
    RowCheck(
        phrase("Keeping"),
        "unconfigured_jurisdiction",
        phrase("Jurisdiction not in the rule book"),
        phrase("An ISO code that the rule book does not list; the floor and the latest-ending zone apply."),
        _flag(Flag.UNCONFIGURED_JURISDICTION),
    ),
    RowCheck(
        phrase("Keeping"),
        "erasure_conflict",
        phrase("Erasure demanded before keeping ends"),
        phrase("One rule demands erasure earlier than another allows; the record is restricted."),
        _flag(Flag.ERASURE_CONFLICT),
    ),
)


def capture_checks(population: Population) -> tuple[ExceptionCheck, ...]:
    """What the events and the producers' numbering say: refusals still open, conflicts, sequence gaps."""
    numbering = population.sequences
    return (
        ExceptionCheck(
            phrase("Capture"),
            "refused_open",
            phrase("Refused and not sent again"),
            phrase("A record was refused on arrival and no redacted resend has closed the refusal."),
            population.refusals.open,
            tuple(
                Example(None, None, f"{refusal.producer}, {refusal.place}: {refusal.reason}")
                for refusal in population.refusals.examples
            ),
        ),
        ExceptionCheck(
            phrase("Capture"),
            "conflict",
            phrase("Conflicting resends"),
            phrase("A record id came again with other bytes; the first version was kept."),
            population.conflicts,
        ),
        ExceptionCheck(
            phrase("Capture"),
            "sequence_gap",
            phrase("Numbers missing in a producer’s sequence"),
            phrase("producer_seq has holes between the first and the last number seen, over the whole ledger."),
            numbering.missing,
            tuple(
                Example(None, None, f"{row.producer}: " + ", ".join(_span(*gap) for gap in row.gaps))
                for row in numbering.producers
                if row.missing
            ),
            not_tested=None
            if numbering.numbered or not numbering.unnumbered
            else phrase("no producer numbers its records"),
        ),
    )


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
