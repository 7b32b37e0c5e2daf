"""Basis: what a report on a population stands on, in a few lines: the checkpoint, what was verified, what was opened.

The evidence report says all of this at length. Other kinds that make the same pass print the short form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reports.assurance import checkpoint_of, judged
from reports.attach import Attachment
from reports.model import FAULTS, Checkpoint, Fault, Identification
from reports.phrase import phrase
from reports.snapshot import Taken
from vault.context import Vault
from vault.ledgers import Ledger

_FAULTS = 12


@dataclass(frozen=True, slots=True)
class Basis:
    """Where the figures of a report come from.

    Attributes:
        verdicts: entries of the ledger by verdict word; faults of the events ledger that vouches for it count, too.
        faults: the first of them, worst first.
        in_period, outside: records that are still there.
        destroyed: records of the ledger that policy destroyed: no period can claim them.
        opened: records of the period that opened.
        related: records after the period that were opened for what they say about the period's.
        dying: records whose keys a disposal destroyed and whose envelopes still stand there.
    """

    checkpoint: Checkpoint
    verdicts: Mapping[str, int]
    faults: tuple[Fault, ...]
    in_period: int
    outside: int
    destroyed: int
    opened: int
    related: int
    dying: int

    @property
    def entries(self) -> int:
        return sum(self.verdicts.values())

    @property
    def verdict(self) -> str:
        """The word that decides: FORKED before MODIFIED before MISSING, else OK."""
        return next((word for word in FAULTS if self.verdicts.get(word, 0)), "OK")

    @property
    def unopened(self) -> int:
        return self.in_period - self.opened


def basis(vault: Vault, ledger: Ledger, taken: Taken[Any]) -> Basis:
    """Return the basis of a report from its pass."""
    gathered = taken.gathered
    _, counts, faults = judged(taken.signed, gathered, taken.verified)
    return Basis(
        checkpoint=checkpoint_of(vault, ledger.id, taken.signed),
        verdicts=counts,
        faults=tuple(faults[:_FAULTS]),
        in_period=gathered.inside,
        outside=gathered.outside,
        destroyed=taken.verified[-1].erased,
        opened=gathered.opened,
        related=gathered.related,
        dying=gathered.dying,
    )


def files(checkpoint: Checkpoint) -> Iterator[Attachment]:
    """Yield the checkpoint and its key, which every report attaches."""
    yield Attachment(
        "checkpoint.txt", phrase("The signed checkpoint (C2SP signed note)"), "text/plain", checkpoint.note.encode()
    )
    yield Attachment(
        "verifier-key.txt",
        phrase("The key that verifies the checkpoint"),
        "text/plain",
        checkpoint.verifier_key.encode() + b"\n",
    )


def limits(found: Basis, who: Identification) -> Iterator[str]:
    """Yield what no report on a population proves, the weightiest first."""
    yield phrase(
        "That every decision reached the vault. A decision that was never sent is in none of these figures; the "
        "completeness report compares them with the payment system’s own list."
    )
    yield phrase(
        "That a record is true. The vault keeps the bytes that the producer sent; whether the score, the amount or the "
        "fee in them is what really happened is for the producer’s own controls."
    )
    if found.destroyed:
        yield phrase(
            "Anything about the {count:,} records of this ledger that were destroyed by policy: nothing is left that "
            "could say of which period they were.",
            count=found.destroyed,
        )
    if found.unopened:
        yield phrase(
            "What only an opened record tells for {count:,} of {all:,} records of the period, which did not open.",
            count=found.unopened,
            all=found.in_period,
        )
    if who.break_glass:
        yield phrase(
            "That two people agreed to this reading. It was made under break-glass, by the holder of the vault’s "
            "passphrase alone; the access is an entry of the events ledger."
        )
    yield phrase(
        "Anything about copies outside the vault. This report carries ids and figures of records in clear and outlives "
        "their destruction."
    )
