"""The record line: single records of one ledger, from any number of producers, on their way into shared commits.

    wait in the line -> seal and settle the group (vault.settlement) -> tell whoever waits

What may happen to a record meanwhile: its producer's key is revoked, so it is dropped before the commit; the commit's
outcome is unknown, so it is not acknowledged and a retry settles it; its id is known, so it gets the one receipt again.
Every answer is given after the commit is durable and signed, refusals and conflicts after their events are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vault import ledgers
from vault.context import Vault
from vault.core.errors import UnknownOutcome
from vault.core.standing import ProducerKey
from vault.groupcommit import GroupCommit
from vault.ledgers import Ledger
from vault.sealers import Sealers
from vault.sealing import Outcome
from vault.settlement import Answer, Entry, Settled, Settlement

Settle = Callable[[Sequence[Entry]], Iterator[Settled]]
"""Settles one group: ``Settlement.settle``, or the same in another process."""

GROUP = 512
"""Records in a group at the most: some two megabytes under the head's lock."""


class Pending:
    """One record in the line, sealed or not. ``answer`` or ``error`` is set when its group is settled."""

    __slots__ = ("answer", "error", "key", "outcome", "raw", "token")

    def __init__(self, raw: bytes, key: ProducerKey, outcome: Outcome | None, token: Any) -> None:
        self.raw = raw
        self.key = key
        self.outcome = outcome
        self.token = token  # whatever the caller knows it by
        self.answer: Answer | None = None
        self.error: Exception | None = None


class RecordLine:
    """One ledger's line in one process.

    Args:
        deliver: called from the committing thread with every group once it is settled.
        observe: told of each group: how many records, and how many seconds its commit took.
        settle: settles groups; None does it in this process.
    """

    def __init__(
        self,
        vault: Vault,
        ledger: Ledger,
        deliver: Callable[[list[Pending]], None],
        observe: Callable[[int, float], None] = lambda _records, _seconds: None,
        settle: Settle | None = None,
    ) -> None:
        self.ledger = ledger
        self.line: GroupCommit[Pending] = GroupCommit(self._commit, most=GROUP)
        self._vault = vault
        self._deliver = deliver
        self._observe = observe
        self.sealers = Sealers(vault, ledger)
        self._settle = settle or Settlement(vault, ledger, self.sealers).settle
        if ledger.size <= 1:
            ledgers.announce(vault, ledger)  # its making may have ended half way

    def take(self, batch: Sequence[tuple[int, bytes]], key: ProducerKey) -> list[Answer | Exception]:
        """Seal and settle a whole batch of numbered lines in one transaction; blocks, and raises nothing.

        Returns:
            What became of each line; an error where it is not acknowledged.
        """
        group = [Entry(number, raw, key.id, key.producer) for number, raw in batch]
        error: Exception = UnknownOutcome("a line was not answered for; a retry with the same id settles it")
        answers: list[Answer | Exception] = [error] * len(group)
        try:
            for part in self._settle(group):
                for at, answer in part.items():
                    answers[at] = answer
        except Exception as raised:
            return [raised if one is error else one for one in answers]
        return answers

    def _commit(self, group: list[Pending]) -> None:
        """Settle a group and deliver it, part by part; raises nothing."""
        began = time.perf_counter()
        entries = [Entry(1, one.raw, one.key.id, one.key.producer, one.outcome) for one in group]
        left = dict(enumerate(group))
        error: Exception = UnknownOutcome("a group was not answered for; a retry with the same ids settles it")
        try:
            for part in self._settle(entries):
                self._observe(len(part), time.perf_counter() - began)
                answered = [left.pop(at) for at in part]
                for pending, answer in zip(answered, part.values(), strict=True):
                    if isinstance(answer, Exception):
                        pending.error = answer
                    else:
                        pending.answer = answer
                self._deliver(answered)
        except Exception as raised:
            error = raised
        for pending in left.values():
            pending.error = error
        self._deliver(list(left.values()))
