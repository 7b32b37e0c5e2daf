"""Settlement: groups of sealed records from any number of producers become entries, and their answers come back.

    1. drop what came under a producer key that was revoked meanwhile; seal what was not sealed yet
    2. link the rest in one transaction, durable and signed (vault.settling); where a group was closed meanwhile, seal
       what was under it again and link once more
    3. answer what is in the vault with its receipt, what was there already with the one receipt
    4. commit an event for each refusal and conflict, then answer those

Answers come in two parts, so that nobody whose record is safe waits for somebody else's event. Whoever asks may be
another process: what goes in and comes out can be sent through a pipe, and none of it is a key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from vault import ledgers, producers, receipts
from vault.context import Actor, Vault
from vault.core import receipt
from vault.core.errors import Denied, KeyGone, KeyUnavailable, Unavailable, VaultError
from vault.intake import TRIES
from vault.ledgers import Ledger
from vault.linking import GroupsClosed, Item
from vault.sealers import Sealers
from vault.sealing import Outcome, Waiting, unsealed
from vault.settling import Batch, Result, Sent, Settler, Status


class Entry(NamedTuple):
    """One record on its way in: its bytes, the key it came under, and what sealing made of it, None to seal it here."""

    number: int
    raw: bytes
    key: str
    producer: str
    outcome: Outcome | None = None

    def __repr__(self) -> str:
        return f"Entry(number={self.number}, key={self.key}, producer={self.producer!r})"


class Answer(NamedTuple):
    """What a producer is told: the record's fate, and its receipt where it is in the vault, or was."""

    result: Result
    receipt: bytes | None

    def __repr__(self) -> str:
        return f"Answer({self.result!r})"


Settled = Mapping[int, Answer | Exception]
"""Position in the group -> what became of the record there."""


class Settlement:
    """Settles groups of one ledger, one at a time."""

    def __init__(self, vault: Vault, ledger: Ledger, sealers: Sealers) -> None:
        self._vault = vault
        self._ledger = ledger
        self._sealers = sealers
        self._settler = Settler(vault, ledger.id)

    def settle(self, group: Sequence[Entry]) -> Iterator[Settled]:
        """Yield the answers of a group, in two parts at the most. Raises nothing."""
        now: dict[int, Answer | Exception] = {}
        later: list[tuple[int, Entry, Answer]] = []
        try:
            held = self._held(group, now)
            sealed = self._sealed([group[at] for at in held])
            for at, answer in zip(held, self._linked([group[at] for at in held], sealed), strict=True):
                if isinstance(answer, Answer) and answer.result.status in (Status.REFUSED, Status.CONFLICTING):
                    later.append((at, group[at], answer))
                else:
                    now[at] = answer
        except Exception as error:  # nobody in the group is acknowledged; each hears why
            yield dict.fromkeys(range(len(group)), error)
            return
        if now:
            yield now
        if later:
            yield self._told(later)

    def _held(self, group: Sequence[Entry], refused: dict[int, Answer | Exception]) -> list[int]:
        """Step 1. Returns the positions whose producer keys are still good."""
        standing, place = self._vault.register.standing(), str(self._ledger.id)
        ledgers.require_open(self._vault, self._ledger.id)
        held = []
        for at, entry in enumerate(group):
            if producers.still_holds(standing, entry.key, place):
                held.append(at)
            else:
                refused[at] = Denied("this producer key is revoked")
        return held

    def _sealed(self, group: Sequence[Entry]) -> list[Outcome]:
        """Step 1, where nobody sealed before, or under a group that is closed: in the order they came, a producer at a
        time."""
        closed = self._sealers.closed
        outcomes = [
            None if isinstance(entry.outcome, Item) and entry.outcome.group in closed else entry.outcome
            for entry in group
        ]
        return self._completed(group, outcomes)

    def _completed(self, group: Sequence[Entry], outcomes: list[Outcome | None]) -> list[Outcome]:
        for producer in dict.fromkeys(
            entry.producer for entry, one in zip(group, outcomes, strict=True) if one is None
        ):
            places = [at for at, one in enumerate(outcomes) if one is None and group[at].producer == producer]
            sealed = self._sealers.seal_all([group[at].raw for at in places], producer)
            for at, outcome in zip(places, sealed, strict=True):
                outcomes[at] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _again_sealed(self, group: Sequence[Entry], outcomes: Sequence[Outcome], closed: GroupsClosed) -> list[Outcome]:
        """Seal again what was sealed under groups that are closed by now. Without keys it waits, and fails alone."""
        self._sealers.forget(closed.groups)
        left = unsealed(outcomes, closed.groups)
        try:
            return self._completed(group, [None if isinstance(one, Waiting) and one.gone else one for one in left])
        except (KeyUnavailable, KeyGone):
            return left

    def _linked(self, group: Sequence[Entry], outcomes: Sequence[Outcome]) -> list[Answer | VaultError]:
        """Steps 2 and 3. A record without keys, or one that came again and cannot be compared, fails alone."""
        sent = [Sent(at, entry.raw, entry.producer) for at, entry in enumerate(group)]
        for _ in range(TRIES):
            without = KeyUnavailable("there is no key for this record's group just now: send it again")
            failed: dict[int, VaultError] = {at: without for at, one in enumerate(outcomes) if isinstance(one, Waiting)}
            try:
                settled = self._settler.link(sent, outcomes, failed)
            except GroupsClosed as closed:
                outcomes = self._again_sealed(group, outcomes, closed)
            else:
                return self._answers(group, settled, failed)
        raise Unavailable("groups were closed again and again while records were on their way: send them again")

    def _answers(
        self, group: Sequence[Entry], settled: Batch, failed: dict[int, VaultError]
    ) -> list[Answer | VaultError]:
        """Step 3."""
        proved = {result.line: receipt.issue(leaf, result.opening, proof) for result, leaf, proof in settled.receipts()}
        known: dict[UUID | None, set[int]] = defaultdict(set)
        for one in settled.results:
            if one.seq is not None and one.has_receipt_again:
                known[one.before].add(one.seq)
        again = {
            before: self._again(before or self._ledger.id, seqs, None if before else settled.appended.checkpoint)
            for before, seqs in known.items()
        }
        answers: list[Answer | VaultError] = []
        for at, (entry, result) in enumerate(zip(group, settled.results, strict=True)):
            held: bytes | VaultError | None = failed.get(at) or proved.get(result.line)
            if held is None and result.seq is not None and result.has_receipt_again:
                held = again[result.before][result.seq]
            if isinstance(held, VaultError):
                answers.append(held)
            else:
                answers.append(Answer(result._replace(line=entry.number), held))
        return answers

    def _again(self, ledger: UUID, seqs: Collection[int], note: str | None) -> dict[int, bytes | VaultError]:
        """Return the receipts of entries that were there already, together where that works, else one by one."""
        if not seqs:
            return {}
        try:
            return dict(receipts.of_ledger(self._vault, ledger, seqs, note))
        except VaultError as error:
            if len(seqs) == 1:
                return dict.fromkeys(seqs, error)
        found: dict[int, bytes | VaultError] = {}
        for seq in seqs:
            found |= self._again(ledger, [seq], note)
        return found

    def _told(self, later: Sequence[tuple[int, Entry, Answer]]) -> Settled:
        """Step 4: one transaction a producer, whose act the event is."""
        told: dict[int, Answer | Exception] = {}
        for producer in dict.fromkeys(entry.producer for _, entry, _ in later):
            theirs = [one for one in later if one[1].producer == producer]
            sent = [Sent(entry.number, entry.raw, producer) for _, entry, _ in theirs]
            try:
                results = [answer.result for _, _, answer in theirs]
                self._settler.tell(sent, results, Actor(f"producer:{producer}", break_glass=False))
            except Exception as error:
                told |= {at: error for at, _, _ in theirs}
            else:
                told |= {at: answer for at, _, answer in theirs}
        return told
