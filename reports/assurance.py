"""Assurance: what was verified, against which checkpoint, and a sample that a stranger can check again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from reports import model, sampling
from reports.attach import JSON_LINES, Attachment
from reports.gathering import Gathering
from reports.phrase import phrase
from reports.verdicts import EntryVerdicts
from vault.context import Vault
from vault.core.checkpoint import Checkpoint
from vault.core.errors import EvidenceError
from vault.proving import prove
from vault.verdict import Depth, Fault, LedgerReport

CONFIDENCE = Fraction(95, 100)
TOLERABLE_RATE = Fraction(5, 100)
FAULTS = 100
NONCE_BYTES = 16


class Signed(NamedTuple):
    """The checkpoint that a report stands under, and its text."""

    checkpoint: Checkpoint
    note: str


class Seed(NamedTuple):
    """What a sample is drawn with.

    Attributes:
        origin: one sentence: where the seed comes from, and who could have influenced it.
        commitment: None where the vault draws by itself.
    """

    seed: bytes
    origin: str
    confidence: Fraction
    tolerable: Fraction
    commitment: model.Commitment | None = None


def integrity(
    vault: Vault, ledger: UUID, signed: Signed, gathered: Gathering[Any], verified: list[LedgerReport], seed: Seed
) -> model.Integrity:
    """Verdicts of the ledger's entries; a record that did not open is one of its faults, whatever the depth.

    The events ledger vouches for this one, so a fault there is one of this report, too.
    """
    verdicts, counts, faults = judged(signed, gathered, verified)
    return model.Integrity(
        depth=Depth.ENVELOPES.value,
        checked_at=datetime.fromtimestamp(vault.clock() // 1_000_000, UTC),
        verdicts=counts,
        faults=tuple(faults),
        checkpoint=checkpoint_of(vault, ledger, signed),
        sample=_sample(seed, gathered, verdicts),
    )


def checkpoint_of(vault: Vault, ledger: UUID, signed: Signed) -> model.Checkpoint:
    """Return the checkpoint as the pages print it."""
    return model.Checkpoint(
        origin=signed.checkpoint.origin,
        size=signed.checkpoint.size,
        root=signed.checkpoint.root,
        note=signed.note,
        verifier_key=str(vault.checkpoints.verifier(ledger)),
    )


def judged(
    signed: Signed, gathered: Gathering[Any], verified: list[LedgerReport]
) -> tuple[EntryVerdicts, dict[str, int], list[model.Fault]]:
    """Return the verdicts of the ledger's entries, how many there are of each word, and the faults, worst first.

    A record that did not open becomes one of the faults in ``verified``: call it once.
    """
    found = verified[-1]
    found.faults += gathered.unopened.faults
    for verdict, number in gathered.unopened.counts.items():
        found.counts[verdict] = found.counts.get(verdict, 0) + number
    verdicts = EntryVerdicts(found, signed.checkpoint.size)
    counts = verdicts.counts()
    faults = [_fault(fault, "") for fault in sorted(found.faults, key=lambda fault: fault.verdict.rank)[:FAULTS]]
    for beside in verified[:-1]:
        for verdict, number in beside.counts.items():
            counts[verdict.name] += number
        faults += [_fault(fault, "events ledger: ") for fault in beside.faults[:FAULTS]]
    return verdicts, counts, faults


def _fault(fault: Fault, where: str) -> model.Fault:
    through = "" if fault.last in (None, fault.seq) else f", up to seq {fault.last}"
    return model.Fault(fault.verdict.name, fault.seq, f"{where}{fault.what}{through}")


def own_seed(checkpoint: Checkpoint, random: Callable[[int], bytes]) -> Seed:
    """Return the seed that the vault draws where no auditor gave a nonce."""
    return Seed(
        checkpoint.root + random(NONCE_BYTES),
        phrase(
            "The checkpoint’s root, then {count} random bytes that the vault drew after the checkpoint was signed and "
            "the records were read. Whoever runs the vault could have drawn again.",
            count=NONCE_BYTES,
        ),
        CONFIDENCE,
        TOLERABLE_RATE,
    )


def _sample(seed: Seed, gathered: Gathering[Any], verdicts: EntryVerdicts) -> model.Sample:
    population = len(gathered)
    drawn = sampling.draw(seed.seed, population, sampling.sample_size(seed.confidence, seed.tolerable))
    lines = ((at, msgspec.json.decode(gathered.line(at), type=_Line)) for at in drawn)
    return model.Sample(
        items=tuple(
            model.SampleItem(at + 1, line.seq, bytes.fromhex(line.leaf_hash), verdicts.of(line.seq))
            for at, line in lines
        ),
        population=population,
        confidence=seed.confidence,
        tolerable_rate=seed.tolerable,
        seed=seed.seed,
        seed_origin=seed.origin,
        self_drawn=seed.commitment is None,
        commitment=seed.commitment,
    )


class _Line(msgspec.Struct):
    seq: int
    leaf_hash: str


def sample_proofs(vault: Vault, ledger: UUID, signed: Signed, sample: model.Sample) -> Iterator[Attachment]:
    """The way of each drawn leaf to the checkpoint; none where the entries are not the tree that was signed."""
    with suppress(EvidenceError):
        proved = prove(vault, ledger, [item.seq for item in sample.items], signed.note)
        lines = [msgspec.json.encode({"seq": seq, "proof": proof.to_text()}) for seq, (_, proof) in proved.items()]
        if lines:
            yield Attachment(
                "sample-proofs.jsonl",
                phrase("For each record of the sample, the way of its leaf to the checkpoint (C2SP tlog-proof)"),
                JSON_LINES,
                b"\n".join(lines) + b"\n",
            )
