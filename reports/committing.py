"""Committing: a population fixed before anybody knows which records will be drawn from it.

    1. commit       sample.committed: the signed checkpoint of the ledger, and how sure the sample shall make
    2. others see   a witness cosigns, or an authority stamps, a checkpoint of the events ledger above that event
    3. the auditor  draws a nonce of their own: now, not earlier
    4. draw         sample.drawn: the nonce; then the report is made, and the sample is drawn with
                    seed = root of the committed checkpoint || nonce

After 2 nobody can rebuild the population to fit a nonce, and before 3 nobody knows it. A nonce that is given before 2
proves nothing, and neither does the second of two: both are counted, and the report prints them. Not checked: that the
nonce was random, and who really drew it.
"""

from __future__ import annotations

import os
from base64 import b32encode, urlsafe_b64decode
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from typing import Final, NamedTuple

from reports.assurance import Seed, Signed
from reports.model import Commitment, Seen
from reports.phrase import phrase
from reports.sampling import sample_size
from vault import chronicle
from vault.context import Vault
from vault.core import canonical
from vault.core.errors import Forked, Unknown, UsageError
from vault.core.leaf import EventLeaf
from vault.events import Event
from vault.ledgers import Ledger
from vault.linking import append
from vault.outside import covering, time_of
from vault.reading import require_whole, tell_whole

NONCE_BYTES: Final = (16, 64)
"""Fewer can be guessed, more are somebody's file."""

_PERMILLE: Final = 1000


class Committed(NamedTuple):
    """A population that was fixed.

    Attributes:
        seq, at: of the event ``sample.committed``.
        size: of the sample, where the population is not smaller.
    """

    sample: str
    seq: int
    signed: Signed
    confidence: Fraction
    tolerable: Fraction
    at: str = ""

    @property
    def size(self) -> int:
        return sample_size(self.confidence, self.tolerable)


class Drawn(NamedTuple):
    """A sample whose nonce is known: what the report is made with."""

    signed: Signed
    seed: Seed


def commit(
    vault: Vault,
    ledger: Ledger,
    *,
    confidence: Fraction,
    tolerable: Fraction,
    random: Callable[[int], bytes] = os.urandom,
) -> Committed:
    """Fix the population of a ledger as it is now. Nobody outside has seen it when this returns.

    Args:
        confidence, tolerable: between 0 and 1, in whole thousandths.

    Raises:
        UsageError: they are not, or ask for a sample that nobody can look at.
        Denied: whoever acts may not have a report on the whole ledger; the denial is an event.
        Forked: the checkpoint outside the database is missing.
    """
    for share in (confidence, tolerable):
        if (share * _PERMILLE).denominator != 1:
            raise UsageError("confidence and tolerable rate are given in whole thousandths, such as 0.95 or 0.005")
    sample_size(confidence, tolerable)
    append(vault.engine, vault.checkpoints, ledger.id, lambda _connection: ())  # signs what a crash left unsigned
    note = vault.checkpoints.note(ledger.id)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger.id))
    signed = Signed(vault.checkpoints.open(ledger.id, note), note)
    sample = "s-" + b32encode(random(10)).decode().lower()
    facts: dict[str, object] = {
        "sample": sample,
        "ledger": str(ledger.id),
        "size": signed.checkpoint.size,
        "root": canonical.b64(signed.checkpoint.root),
        "note": canonical.b64(note.encode()),
        "confidence": int(confidence * _PERMILLE),
        "tolerable": int(tolerable * _PERMILLE),
    }
    told, _ = tell_whole(vault, ledger.id, None, lambda by: Event("sample.committed", facts | by))
    return Committed(sample, told.seq, signed, confidence, tolerable)


def draw(vault: Vault, ledger: Ledger, sample: str, nonce: bytes, grant: str | None = None) -> Drawn:
    """Take the auditor's nonce; it is an event before anything is drawn with it. The same nonce again is no news.

    Args:
        grant: id of the grant to act under; None takes one that will do.

    Raises:
        UsageError: the nonce is too short or too long.
        Unknown: this ledger has no such sample.
        Denied: whoever acts may not have a report on the whole ledger; the denial is an event.
        Forked, Missing, Modified: the events are not those that were signed.
    """
    least, most = NONCE_BYTES
    if not least <= len(nonce) <= most:
        raise UsageError(f"a nonce has {least} to {most} bytes, in hexadecimal: 'openssl rand -hex {least}' draws one")
    require_whole(vault, ledger)
    committed, nonces = _told(vault, ledger, sample)
    if canonical.b64(nonce) not in nonces:
        facts: dict[str, object] = {"sample": sample, "ledger": str(ledger.id), "nonce": canonical.b64(nonce)}
        tell_whole(vault, ledger.id, grant, lambda by: Event("sample.drawn", facts | by))
        committed, nonces = _told(vault, ledger, sample)
    given = nonces[canonical.b64(nonce)]
    commitment = Commitment(
        sample=sample,
        seq=committed.seq,
        committed_at=datetime.fromisoformat(committed.at),
        seen=seen(vault, committed.seq, given.seq),
        nonce=nonce,
        nonce_seq=given.seq,
        nonce_at=datetime.fromisoformat(given.at),
        draws=len(nonces),
    )
    origin = phrase(
        "The root of the committed checkpoint, then the nonce below, given after the population was committed."
    )
    seed = committed.signed.checkpoint.root + nonce
    return Drawn(committed.signed, Seed(seed, origin, committed.confidence, committed.tolerable, commitment))


def problems(commitment: Commitment | None) -> tuple[str, ...]:
    """Return what keeps a sample from proving what it is drawn for, one sentence each."""
    if commitment is None:
        return ()
    found = []
    if not commitment.seen:
        found.append(phrase("nobody outside saw the sample’s population before the nonce was given"))
    if commitment.draws > 1:
        found.append(phrase("{count:,} different nonces were given for this sample", count=commitment.draws))
    return tuple(found)


def seen(vault: Vault, seq: int, before: int) -> tuple[Seen, ...]:
    """Return who outside saw an event before another one existed: their checkpoint holds the one and not the other."""
    first = covering(vault, vault.events, seq)
    found = [Seen(*said) for said in first.times] if first is not None and first.size <= before else []
    best = time_of(vault.checkpoints, vault.events, seq)
    if best is not None and best.independent and best.size <= before and all(one.own for one in found):
        found += [Seen(best.at, name, False) for name in best.by]
    return tuple(found)


def _told(vault: Vault, ledger: Ledger, sample: str) -> tuple[Committed, dict[str, EventLeaf]]:
    """Return what the events say of a sample: how it was committed, and the first event of each nonce."""
    told, _ = chronicle.read(vault, {"sample.committed", "sample.drawn"})
    of_it = [one for one in told if one.facts["sample"] == sample and one.facts["ledger"] == str(ledger.id)]
    made = next((one for one in of_it if one.event == "sample.committed"), None)
    if made is None:
        raise Unknown(f"ledger {ledger.row.name} has no sample of this id: 'reasonvault sample commit' makes one")
    spelled = made.facts["note"]
    note = urlsafe_b64decode(spelled + "=" * (-len(spelled) % 4)).decode()
    signed = Signed(vault.checkpoints.open(ledger.id, note), note)
    confidence, tolerable = (Fraction(made.facts[name], _PERMILLE) for name in ("confidence", "tolerable"))
    nonces: dict[str, EventLeaf] = {}
    for one in of_it:
        if one.event == "sample.drawn":
            nonces.setdefault(one.facts["nonce"], one)
    return Committed(sample, made.seq, signed, confidence, tolerable, made.at), nonces
