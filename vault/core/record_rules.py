"""What the fields of a record say together: rules that no single type can hold, and how confidence is judged.

Every function takes the typed record, returns nothing or a value, and raises ``RefusedInput`` with the path
of the field that is wrong or missing. Nothing here reads a clock.

Not checked: that related records exist (they may lie in a batch that comes later), that amounts fit their
currency's scale, that a proposed and an executed amount agree (a report compares them), the meaning of a
language tag.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from vault.core.errors import RefusedInput
from vault.core.iso import COUNTRIES, CURRENCIES
from vault.core.record import Attachment, Confidence, ImagePart, Message, Money, Record

DEFAULT_THRESHOLD: Final = 0.75
"""The threshold of a record that names none, on a scale from 0 to 1 where higher is better."""
MAX_EXTRA_DEPTH: Final = 16
"""Containers inside each other in ``extra``, which is itself the first."""

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
_NOT_OF_AI: Final = ("prompt", "response", "model", "confidence")


def check(record: Record) -> None:
    """Refuse a record whose fields contradict each other.

    Raises:
        RefusedInput: see the module; ``code`` is one of missing_field, not_allowed, unknown_currency,
            unknown_jurisdiction, duplicate_jurisdiction, self_relation, bad_scale, attachment_content,
            duplicate_name, unknown_attachment, too_deep.
    """
    _check_jurisdictions(record.jurisdictions)
    _check_currencies(record)
    if record.is_ai:
        _check_ai(record)
    else:
        _check_without_ai(record)
    _check_review(record)
    _check_relations(record)
    if record.confidence is not None:
        _check_scale(record.confidence)
    _check_attachments(record.prompt, record.attachments or [])
    if record.extra is not None:
        _check_depth(record.extra)


def below_threshold(confidence: Confidence | None, default_threshold: float) -> bool:
    """Say whether an AI decision fell below its threshold: ``not (score comparator threshold)``.

    A score that is missing or lies outside its own scale counts as below. Without a threshold of its own the
    record is held to ``default_threshold``, which is given for a scale from 0 to 1 where higher is better and
    is carried over to the record's scale: the same share of the way from its worst end to its best. So 0.75
    means 75 on a scale from 0 to 100, and at most 0.25 for a risk score where lower is better. (Taken
    literally it would let nearly everything pass on such scales, and hide the exceptions that reports must
    show.)
    """
    if confidence is None or confidence.score is None or not score_usable(confidence):
        return True
    downward = lower_is_better(confidence)
    threshold = confidence.threshold
    if threshold is None:
        minimum, maximum = scale(confidence)
        share = 1 - default_threshold if downward else default_threshold
        threshold = round(minimum + share * (maximum - minimum), 12)  # 1 - 0.8 is 0.2 here
    comparator = confidence.comparator or ("<=" if downward else ">=")
    return not _COMPARE[comparator](confidence.score, threshold)


def score_usable(confidence: Confidence | None) -> bool:
    """Say whether there is a score and it lies on its own scale."""
    if confidence is None or confidence.score is None:
        return False
    minimum, maximum = scale(confidence)
    return minimum <= confidence.score <= maximum


def scale(confidence: Confidence) -> tuple[float, float]:
    """Return the ends of the score's own scale, 0 and 1 where it names none."""
    minimum, maximum = confidence.minimum, confidence.maximum
    return 0.0 if minimum is None else minimum, 1.0 if maximum is None else maximum


def lower_is_better(confidence: Confidence) -> bool:
    """Say which end of the scale is good; with no direction the comparator alone says it."""
    if confidence.direction is None:
        return confidence.comparator is not None and confidence.comparator.startswith("<")
    return confidence.direction == "lower_is_better"


def _check_jurisdictions(codes: list[str]) -> None:
    if not COUNTRIES.issuperset(codes):
        index = next(index for index, code in enumerate(codes) if code not in COUNTRIES)
        raise RefusedInput(
            "not an upper-case ISO 3166-1 alpha-2 code", f"$.jurisdictions[{index}]", "unknown_jurisdiction"
        )
    if len(set(codes)) != len(codes):
        raise RefusedInput("names a jurisdiction twice", "$.jurisdictions", "duplicate_jurisdiction")


def _check_currencies(record: Record) -> None:
    decision = record.decision
    _check_currency(decision.executed, "$.decision.executed.currency")
    _check_currency(decision.proposed, "$.decision.proposed.currency")
    if record.usage is not None:
        _check_currency(record.usage.cost, "$.usage.cost.currency")


def _check_currency(money: Money | None, path: str) -> None:
    if money is not None and money.currency not in CURRENCIES:
        raise RefusedInput("not an ISO 4217 currency code", path, "unknown_currency")


def _check_ai(record: Record) -> None:
    if record.prompt is None:
        raise _missing("$.prompt", "an AI decision needs its prompt")
    if record.model is None:
        raise _missing("$.model", "an AI decision needs its model")
    if record.model.requested is None and record.model.served is None:
        raise _missing("$.model.requested", "the model that was asked or the one that served must be named")
    if record.response is None and record.decision.outcome != "failed":
        raise _missing("$.response", "an AI decision needs the model's response unless its outcome is failed")


def _check_without_ai(record: Record) -> None:
    for name in _NOT_OF_AI:
        if getattr(record, name) is not None:
            raise RefusedInput(f"has no place in a record of {record.api}", f"$.{name}", "not_allowed")
    if record.api == "non_ai_bypass" and not (record.decision.reason or "").strip():
        raise _missing("$.decision.reason", "a bypass must say why AI was not used")
    if record.api == "human_review":
        if record.review is None or record.review.reviewer is None:
            raise _missing(
                "$.review" if record.review is None else "$.review.reviewer",
                "a human review needs its reviewer",
            )
        if not any(relation.kind == "review_of" for relation in record.relates_to or ()):
            raise _missing("$.relates_to", "a human review needs a review_of the record it reviewed")


def _check_review(record: Record) -> None:
    review = record.review
    if review is None:
        return
    if review.reviewer is None and review.rule_id is None:
        raise _missing("$.review", "a review names a reviewer or a rule_id")
    if review.reviewer is not None:
        if review.rule_id is not None:
            raise RefusedInput("a review names a reviewer or a rule_id, not both", "$.review.rule_id", "not_allowed")
        if review.agreed is None:
            raise _missing("$.review.agreed", "a reviewer's verdict must say whether it agreed")
        return
    # A rule that could "agree" would take its own low-confidence executions off the list of exceptions.
    for name in ("agreed", "decided_at", "reason"):
        if getattr(review, name) is not None:
            raise RefusedInput("a rule's review has only its rule_id", f"$.review.{name}", "not_allowed")


def _check_relations(record: Record) -> None:
    for index, relation in enumerate(record.relates_to or ()):
        if relation.id == record.id:
            raise RefusedInput("a record cannot relate to itself", f"$.relates_to[{index}].id", "self_relation")


def _check_scale(confidence: Confidence) -> None:
    minimum, maximum = scale(confidence)
    if minimum >= maximum:
        raise RefusedInput("minimum must be below maximum", "$.confidence.minimum", "bad_scale")
    threshold = confidence.threshold
    if threshold is not None and not minimum <= threshold <= maximum:
        raise RefusedInput("lies outside the scale", "$.confidence.threshold", "bad_scale")
    comparator = confidence.comparator
    if comparator is not None and comparator.startswith("<") != lower_is_better(confidence):
        raise RefusedInput("contradicts the direction of the score", "$.confidence.comparator", "bad_scale")


def _check_attachments(prompt: str | list[Message] | None, attachments: list[Attachment]) -> None:
    names = {attachment.name for attachment in attachments}
    if len(names) != len(attachments):
        raise RefusedInput("two attachments have the same name", "$.attachments", "duplicate_name")
    for index, attachment in enumerate(attachments):
        if attachment.content is not None:
            raise RefusedInput(
                "inline content is not kept yet, parts are not built: send name and sha256 only",
                f"$.attachments[{index}].content",
                "attachment_content",
            )
    if not isinstance(prompt, list):
        return
    for i, message in enumerate(prompt):
        if type(message.content) is list:
            for j, part in enumerate(message.content):
                if isinstance(part, ImagePart) and part.attachment not in names:
                    raise RefusedInput(
                        "names no entry of attachments",
                        f"$.prompt[{i}].content[{j}].attachment",
                        "unknown_attachment",
                    )


def _check_depth(extra: dict[str, Any]) -> None:
    level: list[Any] = [extra]
    for _ in range(MAX_EXTRA_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise RefusedInput(f"nests deeper than {MAX_EXTRA_DEPTH} levels", "$.extra", "too_deep")


def _missing(path: str, reason: str) -> RefusedInput:
    return RefusedInput(reason, path, "missing_field")
