"""The timeline of a conversation: what happened when, from the times that its records name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from reports.dossier.model import Moment, Step
from reports.figures import Money
from reports.phrase import Phrase, phrase
from reports.tally import Sums
from reports.wording import money as spelled

_RELATED: Final[Mapping[str, Callable[[str], Phrase]]] = {
    "retry_of": lambda one: phrase("a retry of {id}", id=one),
    "review_of": lambda one: phrase("reviews {id}", id=one),
    "correction_of": lambda one: phrase("corrects {id}", id=one),
    "cached_from": lambda one: phrase("the cached answer of {id}", id=one),
    "refund_of": lambda one: phrase("refunds {id}", id=one),
    "settles": lambda one: phrase("settles {id}", id=one),
    "dates": lambda one: phrase("dates {id}", id=one),
}
_ALERTS: Final = frozenset({"failed", "outcome_unknown"})


def timeline(steps: Sequence[Step]) -> list[Moment]:
    """Return every moment, in order."""
    found = [one for step in steps for one in _moments(step)]
    found.sort(key=lambda one: (one[0], one[1].seq))
    if not found:
        return []
    start = found[0][0]
    return [
        Moment(at, (at - start).total_seconds(), step.seq, what, detail, alert)
        for at, step, what, detail, alert in found
    ]


def related(step: Step) -> tuple[str, ...]:
    """Return what a step says about other records, in words."""
    return tuple(_RELATED[kind](target) if kind in _RELATED else f"{kind} {target}" for kind, target in step.relations)


def executed(steps: Sequence[Step], settled: Collection[int]) -> tuple[tuple[str, int], ...]:
    """Return what was executed, by currency.

    Args:
        settled: positions of records that another one settles: that one tells of the movement. Found by their ids
            before masking, which may make many of one.
    """
    sums = Sums()
    for step in steps:
        money = _parsed(step.money)
        if step.moved and money is not None and step.seq not in settled:
            sums.add(money)
    return tuple((spelled(money), count) for money, count in sums.result())


def _moments(step: Step) -> Iterator[tuple[datetime, Step, str, str, bool]]:
    yield step.occurred_at, step, _what(step), step.model, _alert(step)
    review = step.review
    if review is not None and review.decided_at is not None and review.reviewer:
        overruled = review.agreed is False
        what = phrase("a human disagreed") if overruled else phrase("a human agreed")
        yield review.decided_at, step, what, review.reviewer, overruled
    if step.executed_at is not None:
        what = phrase("money moved: {amount}", amount=step.money) if step.money else phrase("money moved")
        yield step.executed_at, step, what, step.transaction, False


def _what(step: Step) -> str:
    if step.api == "human_review":
        return phrase("step {step}: human review is recorded", step=step.step)
    if step.api == "non_ai_bypass":
        return phrase("step {step}, attempt {attempt}: by rule, {outcome}", **_parts(step))
    if step.used.cached:
        return phrase("step {step}, attempt {attempt}: cached answer, {outcome}", **_parts(step))
    if step.used.batch:
        return phrase("step {step}, attempt {attempt}: answer of a batch, {outcome}", **_parts(step))
    return phrase("step {step}, attempt {attempt}: model’s answer, {outcome}", **_parts(step))


def _parts(step: Step) -> dict[str, object]:
    return {"step": step.step, "attempt": step.attempt, "outcome": step.outcome}


def _alert(step: Step) -> bool:
    return step.outcome in _ALERTS or (step.score is not None and step.score.below)


def _parsed(text: str) -> Money | None:
    """An amount as the page prints it, None where it is masked."""
    currency, _, amount = text.partition(" ")
    try:
        return Money(Decimal(amount), currency)
    except InvalidOperation:
        return None
