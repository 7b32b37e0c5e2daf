"""From a record, as the grant shows it, to a step on the page. Pure: documents in, values out.

A masked document has ``"[masked]"`` in any place, so no value is taken to be of the record's own type: what is no
number is no number, and what is no text is none. Only the full document was checked when it came in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from reports.dossier.model import Reviewed, Said, Score, Step, Used
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.leaf import RecordLeaf
from vault.core.masking import MASKED
from vault.core.tree import leaf_hash

CHARACTERS: Final = 700
LINES: Final = 14
MESSAGES: Final = 4
"""How much of a text, and how many messages of a prompt, are printed: the attachment has all of it."""
_RELATIONS: Final = 8


def step_of(
    document: Mapping[str, Any], leaf: RecordLeaf, data: bytes, facets: Facets, *, masked: bool, grant: str
) -> Step:
    """Return the step of one record.

    Args:
        document: the record, or its masked form.
        data: the leaf's bytes.
        facets: what the leaf commits to; the judgement on the threshold stands in them.
    """
    decision, model = _object(document, "decision"), _object(document, "model")
    served, requested = _text(model, "served"), _text(model, "requested")
    messages, earlier = _prompt(document.get("prompt"))
    keep_until = leaf.keep_until if isinstance(leaf.keep_until, str) else ""
    return Step(
        seq=leaf.seq,
        record_id=_text(document, "id"),
        step=int(_number(document, "step") or 0),
        attempt=int(_number(document, "attempt") or 1),
        occurred_at=_moment(document, "occurred_at") or datetime.fromisoformat("1970-01-01T00:00:00+00:00"),
        api=_text(document, "api"),
        record_class=_text(document, "record_class") or "payment",
        action=_text(decision, "action"),
        outcome=_text(decision, "outcome"),
        moved=decision.get("money_moved") is True,
        masked=masked,
        grant=grant,
        model=served or requested,
        asked=requested if served and requested != served else "",
        gateway=_text(model, "gateway"),
        score=_score(document, facets),
        used=_used(_object(document, "usage"), _object(document, "timing")),
        proposed=_money(decision, "proposed"),
        money=_money(decision, "executed"),
        executed_at=_moment(decision, "executed_at"),
        transaction=_text(decision, "transaction_id"),
        reason=_text(decision, "reason"),
        explanation=_text(decision, "explanation"),
        consent=_boolean(decision, "consent"),
        review=_review(document),
        relations=tuple(_relations(document.get("relates_to"))),
        redactions=tuple(_redactions(document.get("redactions"))),
        valid=_boolean(_object(document, "validation"), "ok"),
        fidelity=_text(_object(document, "source"), "fidelity"),
        prompt=messages,
        earlier=earlier,
        response=_response(document.get("response")),
        keep_until=keep_until,
        leaf_hash=leaf_hash(data),
    )


def said(text: str, role: str = "") -> Said:
    """Return a text as far as it is printed: whole lines while there is room, else a part of the first."""
    if len(text) <= CHARACTERS and text.count("\n") < LINES:
        return Said(role, text, len(text))
    shown = "\n".join(text[:CHARACTERS].split("\n")[:LINES])
    return Said(role, shown, len(text))


def _prompt(prompt: Any) -> tuple[tuple[Said, ...], int]:
    """The last messages, and how many stand before them."""
    if isinstance(prompt, str):
        return (said(prompt),), 0
    if not isinstance(prompt, list):
        return (), 0
    shown = prompt[-MESSAGES:]
    return tuple(said(_content(one), _text(one, "role")) for one in shown if isinstance(one, dict)), len(prompt) - len(
        shown
    )


def _content(message: Mapping[str, Any]) -> str:
    """A message's text: parts one after the other, images by their names, calls of tools as JSON."""
    content, parts = message.get("content"), []
    if isinstance(content, str):
        parts.append(content)
    elif isinstance(content, list):
        parts += [_part(one) for one in content]
    if message.get("tool_calls"):
        parts.append(json.dumps(message["tool_calls"], ensure_ascii=False))
    return "\n".join(parts)


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return MASKED
    return _text(part, "text") if part.get("type") == "text" else f"[{_text(part, 'attachment')}]"


def _response(response: Any) -> tuple[Said, ...]:
    if response is None:
        return ()
    if isinstance(response, str):
        return (said(response),)
    return (said(json.dumps(response, ensure_ascii=False, indent=1)),)


def _score(document: Mapping[str, Any], facets: Facets) -> Score | None:
    if facets.below_threshold is None:
        return None
    confidence = _object(document, "confidence")
    lower = confidence.get("direction") == "lower_is_better"
    return Score(
        score=_number(confidence, "score"),
        comparator=_text(confidence, "comparator") or ("<=" if lower else ">="),
        threshold=_number(confidence, "threshold"),
        below=bool(facets.below_threshold),
        stated=not facets.flags & Flag.THRESHOLD_DEFAULTED,
        policy=_text(confidence, "policy"),
    )


def _used(usage: Mapping[str, Any], timing: Mapping[str, Any]) -> Used:
    batch, cache = _object(usage, "batch"), _object(usage, "cache")
    return Used(
        input_tokens=_whole(usage, "input_tokens"),
        output_tokens=_whole(usage, "output_tokens"),
        cached_tokens=_whole(usage, "cached_tokens"),
        reasoning_tokens=_whole(usage, "reasoning_tokens"),
        fee=_money(usage, "cost"),
        batch=_text(batch, "id"),
        discount=_number(batch, "discount"),
        cached=cache.get("hit") is True,
        ai_ms=_number(timing, "ai_ms"),
        total_ms=_number(timing, "total_ms"),
        first_token_ms=_number(timing, "first_token_ms"),
    )


def _review(document: Mapping[str, Any]) -> Reviewed | None:
    review = document.get("review")
    if not isinstance(review, dict):
        return None
    return Reviewed(
        reviewer=_text(review, "reviewer"),
        decided_at=_moment(review, "decided_at"),
        agreed=_boolean(review, "agreed"),
        reason=_text(review, "reason"),
        rule=_text(review, "rule_id"),
    )


def _relations(relations: Any) -> Iterator[tuple[str, str]]:
    for one in _listed(relations)[:_RELATIONS]:
        yield _text(one, "kind"), _text(one, "id")


def _redactions(redactions: Any) -> Iterator[str]:
    for one in _listed(redactions)[:_RELATIONS]:
        yield f"{_text(one, 'type')} {_text(one, 'count') or _whole(one, 'count')}"


def _listed(value: Any) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else ()


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _boolean(document: Mapping[str, Any], name: str) -> bool | None:
    value = document.get(name)
    return value if isinstance(value, bool) else None


def _number(document: Mapping[str, Any], name: str) -> float | None:
    value = document.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _money(document: Mapping[str, Any], name: str) -> str:
    money = _object(document, name)
    return f"{_text(money, 'currency')} {_text(money, 'amount')}".strip()


def _moment(document: Mapping[str, Any], name: str) -> datetime | None:
    value = document.get(name)
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
