"""The record line: single records of one ledger, from any number of producers, on their way into shared commits.

    seal (any thread, no lock) -> wait in the line -> settle the group: one transaction, one checkpoint -> receipts

What may happen to a record meanwhile: its producer's key is revoked, so it is dropped before the commit; the commit's
outcome is unknown, so it is not acknowledged and a retry settles it; its id is known, so it gets the one receipt again.
Every answer is given after the commit is durable and signed, refusals and conflicts after their events are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from vault import events, ledgers, producers, receipts
from vault.context import Actor, Vault
from vault.core import receipt
from vault.core.errors import Denied, KeyUnavailable
from vault.core.standing import ProducerKey
from vault.groupcommit import GroupCommit
from vault.intake import terms_of
from vault.ledgers import Ledger
from vault.provision import GroupKeys, Provisioner
from vault.sealing import Outcome, Refused, Sealer, Waiting
from vault.settling import Result, Sent, Settler, Status, refused

GROUP = 512
"""Records in a group at the most: some two megabytes under the head's lock."""

_DAY_US = 86_400_000_000
_OUTLAST_DAYS = 3  # a writer goes on with its last keys while the provider is out of reach; see vault.keys.ring


class Answer(NamedTuple):
    """What a producer is told: the line's fate, and its receipt where it is in the vault."""

    result: Result
    receipt: bytes | None

    def __repr__(self) -> str:
        return f"Answer({self.result!r})"


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
    """

    def __init__(
        self,
        vault: Vault,
        ledger: Ledger,
        deliver: Callable[[list[Pending]], None],
        observe: Callable[[int, float], None] = lambda _records, _seconds: None,
    ) -> None:
        self.ledger = ledger
        self.line: GroupCommit[Pending] = GroupCommit(self._commit, most=GROUP)
        self._vault = vault
        self._deliver = deliver
        self._observe = observe
        self._settler = Settler(vault, ledger.id)
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
        sent = [Sent(number, raw, key.producer) for number, raw in batch]
        outcomes = [self.seal(raw, key.producer) for _, raw in batch]
        self.provide({one.group for one in outcomes if isinstance(one, Waiting)})
        for at, one in enumerate(outcomes):
            if isinstance(one, Waiting):
                outcomes[at] = self.seal(batch[at][1], key.producer)
        self._require(key)
        answers = self._settle(sent, outcomes)
        self._settler.tell(sent, [one.result for one in answers], _actor(key))
        return answers

    def refuse(self, raw: bytes, key: ProducerKey, outcome: Refused) -> Answer:
        """Commit the event of a record that cannot be kept; blocks."""
        sent, result = Sent(1, raw, key.producer), refused(1, outcome)
        self._settler.tell([sent], [result], _actor(key))
        return Answer(result, None)

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

    def _require(self, key: ProducerKey) -> None:
        if not producers.still_holds(self._vault.register.standing(), key, str(self.ledger.id)):
            raise Denied("this producer key is revoked")

    def _commit(self, group: list[Pending]) -> None:
        """Settle a group; raises nothing. Conflicts are delivered once their events stand."""
        began = time.perf_counter()
        try:
            standing = self._vault.register.standing()
            held = []
            for one in group:
                if producers.still_holds(standing, one.key, str(self.ledger.id)):
                    held.append(one)
                else:
                    one.error = Denied("this producer key is revoked")
            sent = [Sent(number, one.raw, one.key.producer) for number, one in enumerate(held, 1)]
            for one, answer in zip(held, self._settle(sent, [one.outcome for one in held]), strict=True):
                one.answer = answer
        except Exception as error:  # nobody in the group is acknowledged; each hears why
            for one in group:
                one.error = error
        self._observe(len(group), time.perf_counter() - began)
        later = [one for one in group if one.answer is not None and _must_be_told(one.answer.result)]
        self._deliver([one for one in group if one.answer is None or not _must_be_told(one.answer.result)])
        if later:
            self._tell(later)
            self._deliver(later)

    def _tell(self, later: list[Pending]) -> None:
        for pending in later:
            assert pending.answer is not None
            try:
                sent = Sent(1, pending.raw, pending.key.producer)
                self._settler.tell([sent], [pending.answer.result], _actor(pending.key))
            except Exception as error:
                pending.answer, pending.error = None, error

    def _settle(self, sent: Sequence[Sent], outcomes: Sequence[Outcome]) -> list[Answer]:
        settled = self._settler.link(sent, outcomes)
        proved = {result.line: receipt.issue(leaf, result.opening, proof) for result, leaf, proof in settled.receipts()}
        known = {result.seq for result in settled.results if result.status is Status.DUPLICATE} - {None}
        again: dict[int, bytes] = {}
        if known:
            seqs = [seq for seq in known if seq is not None]
            again = dict(receipts.again(self._vault, self.ledger, seqs, settled.appended.checkpoint))
        return [Answer(one, proved.get(one.line) or again.get(_seq(one))) for one in settled.results]


def _actor(key: ProducerKey) -> Actor:
    return Actor(f"producer:{key.producer}", break_glass=False)


def _must_be_told(result: Result) -> bool:
    return result.status in (Status.REFUSED, Status.CONFLICTING)


def _seq(result: Result) -> int:
    return -1 if result.seq is None or result.status is not Status.DUPLICATE else result.seq
