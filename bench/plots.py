"""What can happen in one conversation: plain answers, retries, reviews, bypasses, and what should not happen.

Each plot adds its records to a :class:`~bench.scene.Scene`. The deck says how often each plot comes in 200
conversations, so that even the rare ones are sure to come.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from bench.dialogues import texts
from bench.dice import Dice
from bench.scene import Scene, written

Json = dict[str, Any]
Plot = Callable[[Scene], None]

_BYPASS_REASONS: Final = (
    "the AI endpoint did not answer within its limit; the rule table decided",
    "amount below the limit for which AI is used",
    "the customer asked for no automated processing",
    "planned maintenance of the model gateway",
)
_FAULTS: Final = (
    "$.amount: not a decimal string",
    "$.recommendation: missing",
    "$: the answer is no JSON object",
)


def accepted(scene: Scene) -> None:
    """The model answered well and the decision was carried out."""
    talk = scene.dialogue.talk
    if scene.scenario == "churn" and scene.dice.chance(0.6):
        action = scene.dice.pick(("discount", "discount", "plan_change", "cancel"))
        scene.ai({**scene.unpaid("accepted", action), "consent": True}, talk.answer)
    elif scene.scenario == "invoice" and scene.dice.chance(0.4):
        scene.ai(scene.unpaid("accepted", "none"), talk.exchange[0].assistant)
    else:
        scene.ai(scene.paid(0), talk.answer)


def rejected(scene: Scene) -> None:
    """The model declined with good confidence."""
    action = "cancel" if scene.scenario == "churn" else "decline"
    scene.ai(scene.unpaid("rejected", action), scene.dialogue.talk.refuse)


def reviewed(scene: Scene) -> None:
    """Too low a score; a person agreed and the money moved then."""
    _review(scene, _handed_over(scene), agreed=True)


def review_declined(scene: Scene) -> None:
    """Too low a score; a person did not agree."""
    _review(scene, _handed_over(scene), agreed=False)


def review_open(scene: Scene) -> None:
    """Too low a score; nobody has decided yet."""
    _handed_over(scene)


def by_rule(scene: Scene) -> None:
    """Too low a score; a deterministic rule declined."""
    rule = scene.dice.pick(("decline-below-0.75", "refund-needs-letter", "first-transfer-waits"))
    decision = scene.unpaid("deterministic_rule", "decline")
    scene.ai(decision, scene.dialogue.talk.refuse, good=False, review={"rule_id": rule})


def by_rule_paid(scene: Scene) -> None:
    """Too low a score; a deterministic rule paid, without a review that agreed."""
    decision = scene.paid(0, outcome="deterministic_rule")
    scene.ai(decision, scene.dialogue.talk.answer, good=False, review={"rule_id": "small-amounts-pay"})


def unreviewed(scene: Scene) -> None:
    """Too low a score, and the money moved all the same: an exception in every report."""
    scene.ai(scene.paid(0), scene.dialogue.talk.answer, good=False)


def reviewed_later(scene: Scene) -> None:
    """Executed below the threshold; a person agreed hours later."""
    first = scene.ai(scene.paid(0), scene.dialogue.talk.answer, good=False)
    _review(scene, first, agreed=True, pays=False)


def own_review(scene: Scene) -> None:
    """Executed below the threshold with the agreeing review in the record itself."""
    review = _verdict(scene, 0, agreed=True)
    scene.ai(scene.paid(0), scene.dialogue.talk.answer, good=False, review=review)


def timeout_retried(scene: Scene) -> None:
    """No answer on the first attempt, a good one on the second."""
    talk = scene.dialogue.talk
    first = scene.ai(scene.unpaid("failed"), talk.hold, answered=False)
    scene.ai(scene.paid(33), talk.answer, after=33, attempt=2, relates=[_to("retry_of", first)])


def invalid_retried(scene: Scene) -> None:
    """The first answer did not fit its schema, the second did."""
    talk = scene.dialogue.talk
    fault = {"schema": f"{scene.scenario}-answer-v2", "ok": False, "errors": [scene.dice.pick(_FAULTS)]}
    first = scene.ai(scene.unpaid("failed"), talk.answer, good=False, validation=fault)
    sound = {"schema": f"{scene.scenario}-answer-v2", "ok": True}
    again = [_to("retry_of", first)]
    scene.ai(scene.paid(4), talk.answer, after=4, attempt=2, relates=again, validation=sound)


def failed(scene: Scene) -> None:
    """No answer, and nobody tried again."""
    scene.ai(scene.unpaid("failed", "none"), scene.dialogue.talk.hold, answered=False)


def bypass(scene: Scene) -> None:
    """AI was not used, and the record says why."""
    decision = scene.paid(0) if scene.dice.chance(0.7) else scene.unpaid("rejected", "decline")
    scene.plain("non_ai_bypass", {**decision, "reason": scene.dice.pick(_BYPASS_REASONS)}, after=0)


def unknown_settled(scene: Scene) -> None:
    """The processor's answer was lost; its settlement file told hours later what had happened."""
    first = _outcome_unknown(scene)
    later = scene.dice.between(3600, 90_000)
    decision = {**scene.paid(later), "reason": "found in the processor's settlement file"}
    scene.plain(
        "non_ai_bypass",
        decision,
        after=later,
        attempt=2,
        suffix="-settled",
        relates_to=[_to("settles", first)],
    )


def unknown_open(scene: Scene) -> None:
    """The processor's answer was lost and nothing has been heard since."""
    _outcome_unknown(scene)


def amount_missing(scene: Scene) -> None:
    """Money moved, but the producer did not say how much."""
    decision = scene.paid(0)
    del decision["executed"]
    scene.ai(decision, scene.dialogue.talk.answer)


def double_charge(scene: Scene) -> None:
    """Two attempts of one step moved money, and nothing settles it."""
    talk = scene.dialogue.talk
    first = scene.ai(scene.paid(0), talk.answer)
    scene.ai(scene.paid(47), talk.answer, after=47, attempt=2, relates=[_to("retry_of", first)])


def two_steps(scene: Scene) -> None:
    """First an offer, then the customer's yes."""
    talk = scene.dialogue.talk
    scene.ai(scene.unpaid("accepted", "none"), talk.exchange[-1].assistant or talk.answer)
    scene.ai({**scene.paid(95), "consent": True}, talk.answer, after=95, step=1)


def cached(scene: Scene) -> None:
    """The same question twice; the second answer came from the cache."""
    talk = scene.dialogue.talk
    first = scene.ai(scene.unpaid("accepted", "none"), talk.answer)
    second = scene.ai(
        scene.unpaid("accepted", "none"), talk.answer, after=240, step=1, relates=[_to("cached_from", first)]
    )
    second["response"] = first["response"]
    second["usage"]["cache"] = {"hit": True, "key": f"prompt-{scene.dice.letters(8)}"}


def corrected(scene: Scene) -> None:
    """A record that was sent with the wrong action, and its correction."""
    talk = scene.dialogue.talk
    first = scene.ai(scene.unpaid("accepted", "payment"), talk.hold)
    scene.ai(
        scene.unpaid("accepted", "none"),
        talk.hold,
        after=600,
        attempt=2,
        relates=[_to("correction_of", first)],
    )


def refunded(scene: Scene) -> None:
    """A charge that was refunded within the day."""
    talk = scene.dialogue.talk
    first = scene.ai(scene.paid(0), talk.answer)
    after = scene.dice.between(7200, 70_000)
    scene.ai(scene.paid(after, "refund"), talk.answer, after=after, step=1, relates=[_to("refund_of", first)])


def score_missing(scene: Scene) -> None:
    """The model gave no score; that counts as below the threshold."""
    record = scene.ai(scene.unpaid("human_review"), scene.dialogue.talk.hold, good=False)
    record["confidence"]["score"] = None


def resent(scene: Scene) -> None:
    """The first sending was refused for what it carried; this is the redacted one."""
    record = scene.ai(scene.paid(0), scene.dialogue.talk.answer)
    record["source"]["fidelity"] = "redacted"
    record["redactions"] = [{"type": "card_number", "count": 1, "rule": "resend-after-refusal"}]


DECK: Final[dict[Plot, int]] = {
    accepted: 96,
    rejected: 14,
    reviewed: 18,
    review_declined: 7,
    review_open: 5,
    by_rule: 7,
    by_rule_paid: 1,
    unreviewed: 3,
    reviewed_later: 2,
    own_review: 3,
    timeout_retried: 8,
    invalid_retried: 4,
    failed: 3,
    bypass: 9,
    unknown_settled: 3,
    unknown_open: 1,
    amount_missing: 2,
    double_charge: 1,
    two_steps: 5,
    cached: 2,
    corrected: 1,
    refunded: 2,
    score_missing: 1,
    resent: 2,
}


def shuffled(dice: Dice) -> list[Plot]:
    """The whole deck in a new order."""
    cards = [plot for plot, count in DECK.items() for _ in range(count)]
    dice.shuffle(cards)
    return cards


def _handed_over(scene: Scene) -> Json:
    return scene.ai(scene.unpaid("human_review"), scene.dialogue.talk.hold, good=False)


def _outcome_unknown(scene: Scene) -> Json:
    # The instruction went out, so for all the producer knows the money has moved.
    decision = scene.paid(0, outcome="outcome_unknown")
    del decision["executed_at"]
    return scene.ai(decision, scene.dialogue.talk.answer)


def _review(scene: Scene, first: Json, *, agreed: bool, pays: bool = True) -> None:
    after = scene.dice.between(240, 28_800)
    if agreed and pays:
        decision = scene.paid(after)
    else:
        decision = scene.unpaid("accepted" if agreed else "rejected", "none" if agreed else "decline")
    review = _verdict(scene, after, agreed=agreed)
    relation = [_to("review_of", first)]
    scene.plain("human_review", decision, after=after, suffix="-review", review=review, relates_to=relation)


def _verdict(scene: Scene, after: int, *, agreed: bool) -> Json:
    reasons = texts(scene.dialogue.language).review
    return {
        "reviewer": f"reviewer-{scene.dice.pick(('amber', 'birch', 'cedar', 'dune', 'elm', 'fern'))}",
        "decided_at": written(scene.began + timedelta(seconds=after), scene.codes[0]),
        "agreed": agreed,
        "reason": scene.dialogue.say(reasons["agreed" if agreed else "declined"]),
    }


def _to(kind: str, record: Json) -> Json:
    return {"kind": kind, "id": record["id"]}
