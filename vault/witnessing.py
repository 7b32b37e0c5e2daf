"""Witnessing: one round in which others are shown that the events ledger only grew, and asked for the time.

    1. anchor every ledger's checkpoint in the events ledger (vault.anchoring), so that one origin speaks for all
    2. read the events' checkpoint: what this round is about
    3. show it to every witness (C2SP tlog-witness, add-checkpoint), each with a proof from the size it cosigned last
    4. verify each cosignature, and keep it (vault.outside) before anything says that it was had
    5. where one is due, have a time-stamp made over the checkpoint (RFC 3161), verify it, keep it
    6. tell: ``checkpoint.witnessed``, ``checkpoint.stamped``, and ``witness.failed`` where somebody begins to fail

A crash after 3 loses cosignatures: a witness then answers that it knows a larger size, and the next round goes on from
there. One between 4 and 6 leaves files that no event tells of; the next round tells of its own.

A witness that cosigned a larger tree than this vault has, or another one of the same size, saw a history that is not
here: FORKED. Everybody else is asked all the same, before that is raised.

How bytes travel is the caller's: see ``Post``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from vault import events, outsidefiles, rounds, stamping
from vault.anchoring import anchor
from vault.consistency import consistency
from vault.context import Vault
from vault.core import canonical, cosignature, leaf, packing
from vault.core.checkpoint import parse_number
from vault.core.cosignature import Cosignature
from vault.core.errors import Forked, Modified, RefusedInput, Unavailable
from vault.core.leaf import EventLeaf
from vault.core.note import encode_base64, split_unverified
from vault.db import store
from vault.db.engine import translated
from vault.events import Event
from vault.policy import CLOCKS_APART, Authority, Policy, Witness

JOB: Final = "witness"
"""The job that goes rounds; what is told of its runs is no news."""

MAX_PROOF: Final = 63
SIZE_TYPE: Final = "text/x.tlog.size"
QUERY_TYPE: Final = "application/timestamp-query"
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999
_AGAIN_SECONDS: Final = 300
"""After a round in which somebody failed, where there is nothing new meanwhile."""
_OWN: Final = frozenset({"checkpoint.anchored", "checkpoint.witnessed", "checkpoint.stamped", "witness.failed"})
_CODES: Final = {400: "bad_request", 403: "forbidden", 404: "unknown_log", 409: "conflict", 422: "inconsistent"}
_WORDS: Final = {
    400: "it calls the request malformed",
    403: "it does not trust the key that signs our checkpoints: give its operator the verifier key",
    404: "it does not know this vault's origin: ask its operator to add it",
    409: "it says that it knows another size than it said before",
    422: "it finds that our tree does not continue the one that it saw",
}


class Answer(NamedTuple):
    """An answer over HTTP."""

    status: int
    content_type: str
    body: bytes


class Unreachable(Unavailable):
    """No answer came, or none that may be read; ``code`` is a word: unreachable, timeout, too_long."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code

    def __reduce__(self) -> tuple[type[Unreachable], tuple[str, str]]:
        return type(self), (self.code, str(self))


Post = Callable[[str, str, bytes], Answer]
"""Posts (URL, content type, body) and returns the answer, whatever its status; follows no redirect. Raises
``Unreachable``."""


class Failed(Exception):
    """A witness or an authority did not do what it was asked; what it is about goes on."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Round(NamedTuple):
    """What came of a round.

    Attributes:
        size: of the events ledger's checkpoint that it was about.
        anchored: ledgers.
        witnesses: who cosigned.
        stamped: the time that the stamp names; None where none was had.
        problems: a sentence each.
    """

    size: int
    anchored: int
    witnesses: tuple[str, ...]
    stamped: datetime | None
    problems: tuple[str, ...]


def run(vault: Vault, post: Post, *, stamp: bool = False) -> Round:
    """Go one round.

    Args:
        stamp: have a time-stamp made whether one is due or not.

    Raises:
        Forked: a witness saw a history that is not here, or what is here is not what was signed.
        Unavailable: the database, or the home directory, cannot be reached.
        UsageError: the policy cannot be read.
    """
    policy = vault.checkpoints.policy()
    if not policy.active:
        return Round(0, 0, (), None, ())
    with rounds.alone(vault.checkpoints.outside(vault.events)):
        seen = _others(vault)
        fault, anchored = None, 0
        try:
            anchored = anchor(vault, every=0)
        except Forked as error:  # one ledger that is not as it should be must not keep all from being witnessed
            fault = error
        going = _Going(vault, policy, post)
        going.ask_witnesses()
        if stamp or going.stamp_is_due():
            going.ask_authorities()
        going.end(seen)
    if (forked := going.forked or fault) is not None:
        raise forked
    return Round(going.checkpoint.size, anchored, tuple(going.cosigned), going.stamped, tuple(going.problems))


def is_due(vault: Vault) -> bool:
    """Say whether a round would tell anybody anything new, or the last one is so old that it should be made again.

    What a round itself writes is nothing new: else each would be the reason for the next.
    """
    policy = vault.checkpoints.policy()
    if not policy.active:
        return False
    known = rounds.read(vault.checkpoints.outside(vault.events))
    now = vault.clock() // 1_000_000
    wait = policy.alarm_after.total_seconds() / 2
    if not 0 <= now - known.at < (min(wait, _AGAIN_SECONDS) if known.problems else wait):
        return True
    grown = any(known.seen.get(name) != size for name, size in _others(vault).items())
    return grown or _has_news(vault, known.seen.get(str(vault.events), 0))


def _others(vault: Vault) -> dict[str, int]:
    """Return the sizes of all ledgers' checkpoints but the events'; 0 of one that cannot be read: anchoring says so."""
    sizes: dict[str, int] = {}
    for one in vault.checkpoints.ledgers():
        if one != vault.events:
            sizes[str(one)] = 0
            with suppress(Forked):
                found = vault.checkpoints.read(one)
                sizes[str(one)] = found.size if found else 0
    return sizes


def _has_news(vault: Vault, first: int) -> bool:
    """Say whether the events tell, from a position on, of anything but rounds."""
    with translated(), vault.engine.connect() as connection:
        for _, stored in store.stream_leaves(connection, vault.events, first, None):
            told = leaf.parse(packing.unpack(stored))
            if not isinstance(told, EventLeaf):
                return True
            if told.event not in _OWN and not (told.event.startswith("job.") and told.facts.get("job") == JOB):
                return True
    return False


class _Going:
    """One round on its way."""

    def __init__(self, vault: Vault, policy: Policy, post: Post) -> None:
        self.cosigned: dict[str, Cosignature] = {}
        self.stamped: datetime | None = None
        self.problems: list[str] = []
        self.forked: Forked | None = None
        self._vault = vault
        self._policy = policy
        self._post = post
        self._place = vault.checkpoints.outside(vault.events)
        self._rounds = rounds.read(self._place)
        self._happened: list[Event] = []
        note = vault.checkpoints.note(vault.events)
        if note is None:
            raise Forked("the checkpoint outside the database is missing", str(vault.events))
        self._note = note
        self.checkpoint = vault.checkpoints.open(vault.events, note)

    def ask_witnesses(self) -> None:
        """Steps 3 and 4, one witness after the other."""
        for witness in self._policy.asked:
            try:
                self._took(witness, self._ask(witness))
            except Forked as error:
                self._failed(witness.name, "forked", str(error))
                self.forked = self.forked or error
            except Failed as error:
                self._failed(witness.name, error.code, f"the witness {witness.name}: {error}")
        if self.cosigned:
            facts = {
                "ledger": str(self._vault.events),
                "size": self.checkpoint.size,
                "root": canonical.b64(self.checkpoint.root),
                "witnesses": [cosignature.word(name) for name in self.cosigned],
                "at": [leaf.instant(one.at) for one in self.cosigned.values()],
            }
            self._rounds.witnessed = max(self._rounds.witnessed, self.checkpoint.size)
            self._happened.append(Event("checkpoint.witnessed", facts))

    def _ask(self, witness: Witness) -> Cosignature:
        """Step 3 for one. Where it knows another size than we think, once more from there.

        Raises:
            Failed: there is no cosignature.
            Forked: it saw what is not here.
        """
        size = self.checkpoint.size
        old = min(max(0, self._rounds.sizes.get(str(witness.key), 0)), size)
        answer = self._shown(witness, old)
        if answer.status == 409 and (known := self._told_size(witness, answer)) != old:
            old, answer = known, self._shown(witness, known)
        if answer.status == 409 and old == size == self._told_size(witness, answer):
            raise Forked(f"the witness {witness.name} cosigned another tree of {size} events", self._ledger, size)
        if answer.status != 200:
            words = _WORDS.get(answer.status, "it refuses")
            raise Failed(_CODES.get(answer.status, "refused"), f"{words} (HTTP {answer.status})")
        return self._verified(witness, answer.body)

    def _shown(self, witness: Witness, old: int) -> Answer:
        proof = consistency(self._vault, self._vault.events, old, self.checkpoint)
        if len(proof) > MAX_PROOF:
            raise Failed("proof", "the proof is longer than the protocol allows")
        lines = [f"old {old}", *map(encode_base64, proof)]
        body = "\n".join(lines) + "\n\n" + self._note
        try:
            return self._post(f"{witness.url.rstrip('/')}/add-checkpoint", "text/plain; charset=utf-8", body.encode())
        except Unreachable as error:
            raise Failed(error.code, str(error)) from None

    def _told_size(self, witness: Witness, answer: Answer) -> int:
        """Return which size a witness says that it cosigned last.

        Raises:
            Forked: it is more than this vault ever signed.
        """
        kind = answer.content_type.partition(";")[0].strip().lower()
        known = parse_number(answer.body[:32].decode("ascii", "replace").removesuffix("\n"))
        if kind != SIZE_TYPE or known is None:
            raise Failed("conflict", "it knows another size and does not say which (HTTP 409)")
        if known <= self.checkpoint.size:
            return known
        newest = self._vault.checkpoints.read(self._vault.events)
        if newest is not None and known <= newest.size:
            raise Failed("conflict", "another process showed it a newer checkpoint meanwhile")
        raise Forked(
            f"the witness {witness.name} says that it cosigned {known} events of this vault, which has"
            f" {self.checkpoint.size}: ask its operator for that checkpoint",
            self._ledger,
            self.checkpoint.size,
        )

    def _verified(self, witness: Witness, body: bytes) -> Cosignature:
        try:
            whole = self._note + body.decode()
            if split_unverified(whole)[0] != split_unverified(self._note)[0]:
                raise Failed("garbage", "it answers with a text of its own")  # a blank line would begin another note
        except (UnicodeDecodeError, RefusedInput):
            raise Failed("garbage", "it answers with no lines of a note") from None
        try:
            found = cosignature.read(whole, [witness.key])
        except Modified as error:
            raise Failed("bad_cosignature", str(error)) from None
        if not found:
            raise Failed("bad_cosignature", "its answer holds no line of its key")
        if found[0].at > _LAST_SECOND:
            raise Failed("bad_cosignature", "it names a time that no calendar has")
        return found[0]

    def _took(self, witness: Witness, found: Cosignature) -> None:
        """Step 4."""
        self._keep_line(found)
        self.cosigned[witness.name] = found
        self._rounds.sizes[str(witness.key)] = self.checkpoint.size
        self._compare_clocks(witness.name, found.at)

    def _keep_line(self, found: Cosignature) -> None:
        """Add a line to what is kept for this size; the first of each witness stays."""
        checkpoints, ledger, size = self._vault.checkpoints, self._vault.events, self.checkpoint.size
        note = self._kept_note()
        _, lines = split_unverified(note)
        if not any((one.name, one.key_id) == (found.key.name, found.key.key_id) for one in lines):
            outsidefiles.keep(checkpoints, ledger, size, "note", (note + found.line).encode())

    def _kept_note(self) -> str:
        kept = outsidefiles.read_note(self._vault.checkpoints, self._vault.events, self.checkpoint.size)
        try:
            if kept is not None and self._vault.checkpoints.open(self._vault.events, kept) == self.checkpoint:
                return kept
        except Modified:
            pass  # somebody damaged it: what we can still get is written in its place
        return self._note

    def stamp_is_due(self) -> bool:
        """Say whether the last time-stamp is old enough for another one."""
        passed = self._vault.clock() // 1_000_000 - self._rounds.stamped_at
        return bool(self._policy.stamping) and not 0 <= passed < self._policy.stamp_every.total_seconds()

    def ask_authorities(self) -> None:
        """Step 5: the first that answers well will do."""
        for authority in self._policy.stamping:
            try:
                self._stamp(authority)
                return
            except Failed as error:
                self._failed(authority.name, error.code, f"the time-stamping authority {authority.name}: {error}")

    def _stamp(self, authority: Authority) -> None:
        stamped = self._note.encode()
        asked = stamping.ask(stamped)
        try:
            answer = self._post(authority.url, QUERY_TYPE, asked.der)
        except Unreachable as error:
            raise Failed(error.code, str(error)) from None
        if answer.status != 200:
            raise Failed("refused", f"it refuses (HTTP {answer.status})")
        try:
            found = stamping.verify(answer.body, stamped, authority.roots, asked.nonce)
        except stamping.BadStamp as error:
            raise Failed(error.code, str(error)) from None
        checkpoints, ledger, size = self._vault.checkpoints, self._vault.events, self.checkpoint.size
        outsidefiles.keep(checkpoints, ledger, size, "stamped", stamped)
        outsidefiles.keep(checkpoints, ledger, size, "tsr", answer.body)
        at = int(found.at.timestamp())
        self.stamped = datetime.fromtimestamp(at, UTC)
        self._rounds.stamped = max(self._rounds.stamped, size)
        self._rounds.stamped_at = self._vault.clock() // 1_000_000
        facts = {
            "ledger": str(ledger),
            "size": size,
            "authority": canonical.b64(found.certificate),
            "at": leaf.instant(at),
            "tsr": canonical.b64(sha256(answer.body).digest()),
        }
        self._happened.append(Event("checkpoint.stamped", facts))
        self._compare_clocks(authority.name, at)

    def _compare_clocks(self, name: str, at: int) -> None:
        apart = self._vault.clock() // 1_000_000 - at
        if abs(apart) <= CLOCKS_APART.total_seconds():
            self._rounds.problems.pop(name, None)
            return
        way = "ahead of" if apart > 0 else "behind"
        words = f"this vault's clock is {abs(apart)} seconds {way} that of {name}: set the one that is wrong"
        self._failed(name, rounds.CLOCK, words)

    def _failed(self, name: str, code: str, words: str) -> None:
        self.problems.append(words)
        if rounds.problem(self._rounds, name, code, words, self._vault.clock() // 1_000_000):
            self._happened.append(Event("witness.failed", {"witness": cosignature.word(name), "code": code}))

    def end(self, seen: dict[str, int]) -> None:
        """Step 6."""
        asked = {one.name for one in self._policy.asked} | {one.name for one in self._policy.stamping}
        self._rounds.problems = {name: one for name, one in self._rounds.problems.items() if name in asked}
        if self._happened:
            events.record_all(self._vault, self._happened)
        self._rounds.seen = seen | {self._ledger: self.checkpoint.size}
        self._rounds.at = self._vault.clock() // 1_000_000
        rounds.write(self._place, self._rounds)

    @property
    def _ledger(self) -> str:
        return str(self._vault.events)
