"""The record line: single records of one ledger, from any number of producers, on their way into shared commits.

    seal (any thread, no lock) -> wait in the line -> settle the group (vault.settlement) -> tell whoever waits

What may happen to a record meanwhile: its producer's key is revoked, so it is dropped before the commit; the commit's
outcome is unknown, so it is not acknowledged and a retry settles it; its id is known, so it gets the one receipt again.
Every answer is given after the commit is durable and signed, refusals and conflicts after their events are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from vault import events, ledgers
from vault.context import Vault
from vault.core.errors import KeyUnavailable, UnknownOutcome
from vault.core.standing import ProducerKey
from vault.groupcommit import GroupCommit
from vault.intake import terms_of
from vault.ledgers import Ledger
from vault.provision import GroupKeys, Provisioner
from vault.sealing import Outcome, Refused, Sealer, Waiting
from vault.settlement import Answer, Entry, Settled, Settlement

Settle = Callable[[Sequence[Entry]], Iterator[Settled]]
"""Settles one group: ``Settlement.settle``, or the same in another process."""

GROUP = 512
"""Records in a group at the most: some two megabytes under the head's lock."""

_DAY_US = 86_400_000_000
_OUTLAST_DAYS = 3  # a writer goes on with its last keys while the provider is out of reach; see vault.keys.ring


class Pending:
    """One sealed record in the line. ``answer`` or ``error`` is set when its group is settled."""

    __slots__ = ("answer", "error", "key", "outcome", "raw", "token")

    def __init__(self, raw: bytes, key: ProducerKey, outcome: Outcome, token: Any) -> None:
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
        self._settle = settle or Settlement(vault, ledger).settle
        self._providing = threading.Lock()
        self._day = 0
        self._sealers: dict[str, Sealer] = {}
        self._provisioned: dict[str, tuple[GroupKeys, int]] = {}  # and the day they were made for
        if ledger.size <= 1:
            ledgers.announce(vault, ledger)  # its making may have ended half way

    def seal(self, raw: bytes, producer: str) -> Outcome:
        """Parse, guard and seal one record. Never blocks; ``Waiting`` says that ``provide`` has to be called first."""
        now = self._vault.clock()
        if now // _DAY_US != self._day:
            self._turn(now // _DAY_US)
        (outcome,) = self._sealer(producer).seal([raw], now)
        return outcome

    def provide(self, groups: Iterable[str]) -> None:
        """Get keys for groups; blocks. Yesterday's serve for up to three days where the provider is out of reach.

        Raises:
            KeyUnavailable, KeyGone: there are none to go on with.
        """
        with self._providing:
            now = self._vault.clock()
            day = now // _DAY_US
            provisioner = Provisioner(self._vault, self.ledger.id, events.key_created(self._vault))
            for group in set(groups):
                known = self._provisioned.get(group)
                if known is None or known[1] != day:
                    try:
                        known = (provisioner.provide([group], now)[0], day)
                    except KeyUnavailable:
                        if known is None or day - known[1] > _OUTLAST_DAYS:
                            raise
                    self._provisioned[group] = known
                self._sealer("").provide([known[0]])

    def take(self, batch: Sequence[tuple[int, bytes]], key: ProducerKey) -> list[Answer]:
        """Seal and settle a whole batch of numbered lines in one transaction; blocks.

        Raises:
            Denied: the producer's key was revoked; nothing of this batch is kept.
            Unavailable, UnknownOutcome, Forked: nothing of it is acknowledged.
        """
        outcomes = [self.seal(raw, key.producer) for _, raw in batch]
        self.provide({one.group for one in outcomes if isinstance(one, Waiting)})
        for at, one in enumerate(outcomes):
            if isinstance(one, Waiting):
                outcomes[at] = self.seal(batch[at][1], key.producer)
        group = [
            Entry(number, raw, key.id, key.producer, outcome)
            for (number, raw), outcome in zip(batch, outcomes, strict=True)
        ]
        answers: dict[int, Answer] = {}
        for part in self._settle(group):
            for at, answer in part.items():
                if isinstance(answer, Exception):
                    raise answer
                answers[at] = answer
        return [answers[at] for at in range(len(group))]

    def refuse(self, raw: bytes, key: ProducerKey, outcome: Refused) -> Answer:
        """Commit the event of a record that cannot be kept; blocks."""
        ((answer,),) = [part.values() for part in self._settle([Entry(1, raw, key.id, key.producer, outcome)])]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _sealer(self, producer: str) -> Sealer:
        found = self._sealers.get(producer)
        if found is None:
            first = self._sealers.get("")
            if first is None:
                first = self._sealers[""] = Sealer(self._vault.ring, terms_of(self._vault, self.ledger, ""))
            found = self._sealers[producer] = first.sibling(producer)
        return found

    def _turn(self, day: int) -> None:
        """A new day seals under new epoch keys: sealers begin without any."""
        with self._providing:
            if self._day != day:
                self._sealers = {}
                self._day = day

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
