"""One conversation on its way to become records: who speaks, where, about how much, and what the producer
writes.

:class:`Scene` draws the circumstances once; the plots in ``bench.plots`` then add the records.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from bench.dialogues import Dialogue, converse
from bench.dice import Dice

Json = dict[str, Any]

# Weights: how often a payment belongs to the jurisdiction. The reference rule book does not list BR.
_JURISDICTIONS: Final = (
    (("CN", "CNY"), 30),
    (("US", "USD"), 18),
    (("SG", "SGD"), 12),
    (("HK", "HKD"), 11),
    (("DE", "EUR"), 9),
    (("GB", "GBP"), 9),
    (("JP", "JPY"), 3),
    (("IN", "INR"), 3),
    (("AU", "AUD"), 2),
    (("MY", "MYR"), 2),
    (("BR", "BRL"), 1),
)
_CHINESE_SHARE: Final = {"CN": 0.95, "HK": 0.3, "SG": 0.18, "MY": 0.15}
_SCENARIOS: Final = (("booking", 32), ("travel_refund", 21), ("fraud", 18), ("churn", 15), ("invoice", 14))
_APIS: Final = {
    "booking": "customer_interaction",
    "churn": "customer_interaction",
    "fraud": "risk_compliance",
    "invoice": "customer_interaction",
    "travel_refund": "payment_intelligence",
}
_MODELS: Final = (
    ("alibaba", "qwen2.5-72b", "qwen2.5-72b"),
    ("alibaba", "qwen-max", "qwen-max-2025-09"),
    ("deepseek", "deepseek-v3", "deepseek-v3.1"),
    ("openai", "gpt-4.1-mini", "gpt-4.1-mini"),
    ("anthropic", "claude-4-sonnet", "claude-4-sonnet"),
    ("google", "gemini-2.5-flash", "gemini-2.5-flash"),
    ("zhipu", "glm-4", "glm-4-plus"),
)
_GATEWAYS: Final = ("alipay", "tokenmix", "openrouter", "litellm", "portkey")
_EASTERN: Final = timezone(timedelta(hours=8))


@dataclass
class Scene:
    """One conversation while its records are made.

    Attributes:
        records: each with the instant at which it becomes known; the fields are in the order of the document.
    """

    dice: Dice
    began: datetime
    scenario: str
    codes: list[str]
    currency: str
    dialogue: Dialogue
    conversation: str
    customer: str
    model: Json
    records: list[tuple[datetime, Json]] = field(default_factory=list)

    @classmethod
    def open(cls, dice: Dice, began: datetime) -> Scene:
        """Draw who talks to whom about what, and let them talk."""
        code, currency = dice.weighted(_JURISDICTIONS)
        codes = [code]
        if dice.chance(0.18):
            codes.append(dice.pick([other for (other, _), _ in _JURISDICTIONS if other != code]))
        language = "zh" if dice.chance(_CHINESE_SHARE.get(code, 0.02)) else "en"
        scenario = dice.weighted(_SCENARIOS)
        provider, requested, served = dice.pick(_MODELS)
        model: Json = {"provider": provider, "requested": requested, "served": served}
        model["gateway"] = dice.pick(_GATEWAYS)
        if dice.chance(0.4):
            model["parameters"] = {"temperature": dice.pick((0, 0.1, 0.2)), "max_tokens": 512}
        dialogue = converse(dice, language, scenario, currency, began.date())
        conversation, customer = f"conv-{dice.letters(10)}", f"cus-{dice.letters(8)}"
        return cls(dice, began, scenario, codes, currency, dialogue, conversation, customer, model)

    @property
    def money(self) -> Json:
        """The amount in question."""
        return {"amount": self.dialogue.amount, "currency": self.currency}

    def head(self, api: str, moment: datetime, step: int, attempt: int, suffix: str = "") -> Json:
        """The fields that every record begins with."""
        head: Json = {
            "schema": "reasoning-log/1",
            "id": f"{self.conversation}-{step}-{attempt}{suffix}",
            "conversation_id": self.conversation,
            "step": step,
            "attempt": attempt,
            "producer_seq": 0,  # its place in the document; bench.synthetic counts when the record is sent
            "occurred_at": written(moment, self.codes[0]),
            "jurisdictions": self.codes,
            "record_class": self._record_class(),
            "api": api,
            "source": {"adapter": "native", "adapter_version": "1.4.0", "fidelity": "wire"},
        }
        return head

    def ai(
        self,
        decision: Json,
        text: list[str],
        *,
        good: bool = True,
        after: float = 0,
        step: int = 0,
        attempt: int = 1,
        relates: list[Json] | None = None,
        answered: bool = True,
        **more: Any,
    ) -> Json:
        """Add an AI decision, ``after`` seconds into the conversation, and return it for changes.

        ``good`` puts the score on the right side of the threshold; ``text`` is what the assistant may say.
        """
        dice, dialogue = self.dice, self.dialogue
        moment = self.began + timedelta(seconds=after)
        record = self.head(_APIS[self.scenario], moment, step, attempt)
        said = dialogue.say(text)
        record["prompt"] = dialogue.prompt
        if answered:
            confidence = self._confidence(good)
            record["response"] = self._response(said, decision, confidence)
        record["model"] = self.model
        if answered:
            record["confidence"] = confidence
        record["decision"] = decision
        if answered and dice.chance(0.5):
            decision["explanation"] = said
        if relates:
            record["relates_to"] = relates
        record["customer_ref"] = self.customer
        record["language"] = "en" if dialogue.language == "en" else "zh-CN"
        record["usage"] = self._usage(said if answered else "")
        ai_ms = round(min(4000, dice.lognormvariate(5.75, 0.4))) if answered else 30_000
        record["timing"] = {"ai_ms": ai_ms, "total_ms": ai_ms + dice.between(18, 160)}
        if dialogue.redactions:
            record["redactions"] = dialogue.redactions
        record.update(more)
        self._add_photo(record)
        if dice.chance(0.15):
            record["extra"] = {"template": f"{self.scenario}-v{dice.between(3, 9)}", "store": dice.letters(4)}
        self.records.append((moment, record))
        return record

    def plain(self, api: str, decision: Json, *, after: float, attempt: int = 1, suffix: str = "", **more: Any) -> Json:
        """Add a record without a model: a human review or a bypass."""
        moment = self.began + timedelta(seconds=after)
        record = {**self.head(api, moment, 0, attempt, suffix), "decision": decision, **more}
        record["customer_ref"] = self.customer
        self.records.append((moment, record))
        return record

    def paid(self, after: float, action: str | None = None, outcome: str = "accepted") -> Json:
        """A decision that moved money."""
        done = self.began + timedelta(seconds=after + self.dice.between(1, 40))
        return {
            "action": action or self.dialogue.talk.action,
            "outcome": outcome,
            "money_moved": True,
            "proposed": self.money,
            "executed": self.money,
            "transaction_id": f"txn-{self.dice.letters(12)}",
            "executed_at": written(done, self.codes[0]),
        }

    def unpaid(self, outcome: str, action: str | None = None) -> Json:
        """A decision that moved nothing."""
        decision: Json = {
            "action": action or self.dialogue.talk.action,
            "outcome": outcome,
            "money_moved": False,
            "proposed": self.money,
        }
        if self.dialogue.talk.alternative and self.dice.chance(0.4):
            decision["alternative"] = self.dialogue.say(self.dialogue.talk.alternative)
        return decision

    def _record_class(self) -> str:
        if self.dialogue.talk.name == "transfer" and len(self.codes) > 1:
            return "aml"
        return {"fraud": "risk", "churn": "support"}.get(self.scenario, "payment")

    def _response(self, said: str, decision: Json, confidence: Json) -> Json | str:
        talk, dice = self.dialogue.talk, self.dice
        if self.scenario == "fraud":
            advice = {"accepted": "approve", "rejected": "decline"}.get(decision["outcome"], "review")
            return {"risk_score": confidence["score"], "reasons": [said], "recommendation": advice}
        if not decision["money_moved"] and dice.chance(0.4):
            return said
        call = {"service": talk.service, "method": talk.method, "arguments": self.dialogue.arguments()}
        return {"content": said, "tool_call": call}

    def _confidence(self, good: bool) -> Json:
        dice = self.dice
        if self.scenario == "fraud":
            score = round(30 * dice.random() ** 1.5 if good else 31 + 60 * dice.random(), 1)
            return {
                "score": score,
                "direction": "lower_is_better",
                "minimum": 0,
                "maximum": 100,
                "threshold": 30,
                "comparator": "<=",
                "policy": "risk-2026-01",
            }
        score = 0.75 + 0.25 * dice.random() ** 0.7 if good else 0.74 - 0.5 * dice.random() ** 2
        confidence: Json = {"score": round(score, 4), "direction": "higher_is_better"}
        if not dice.chance(0.03):
            confidence |= {"threshold": 0.75, "comparator": ">=", "policy": "default-2026-01"}
        return confidence

    def _usage(self, said: str) -> Json:
        prompt = self.dialogue.prompt
        length = len(prompt) if isinstance(prompt, str) else sum(len(part["content"]) for part in prompt)
        share = 0.25 if self.dialogue.language == "en" else 0.7
        read, written = round(length * share) + 12, round(len(said) * share)
        usage: Json = {"input_tokens": read, "output_tokens": written}
        if self.dice.chance(0.2):
            usage["cached_tokens"] = read // 3
        usage["cost"] = {"amount": f"{0.0004 + read * 6e-7 + written * 2.4e-6:.6f}", "currency": "USD"}
        return usage

    def _add_photo(self, record: Json) -> None:
        """Now and then a picture of a receipt, by its digest only."""
        if self.scenario not in ("travel_refund", "invoice") or not self.dice.chance(0.08):
            return
        digest = hashlib.sha256(record["id"].encode()).hexdigest()
        while _longest_run_of_digits(digest) > 9:  # it must not look like a card number by chance
            digest = hashlib.sha256(digest.encode()).hexdigest()
        size = self.dice.between(20_000, 900_000)
        record["attachments"] = [{"name": "receipt.jpg", "media_type": "image/jpeg", "sha256": digest, "size": size}]


def _longest_run_of_digits(text: str) -> int:
    return max(map(len, "".join(c if c.isdigit() else " " for c in text).split()), default=0)


def written(moment: datetime, code: str) -> str:
    """RFC 3339 with milliseconds, in the offset that a producer of that place would use."""
    if code == "CN":
        return moment.astimezone(_EASTERN).isoformat(timespec="milliseconds")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
