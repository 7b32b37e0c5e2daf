"""What a report does not prove, said of this very report: the standing list, shortened or lengthened by its
facts."""

from __future__ import annotations

from collections.abc import Iterator

from reports.model import EvidenceReport


def limits(report: EvidenceReport) -> tuple[str, ...]:
    """Sentences for the last section, the weightiest first."""
    return (*_standing(report), *report.limits)


def _standing(report: EvidenceReport) -> Iterator[str]:
    population, checkpoint = report.population, report.integrity.checkpoint
    yield (
        "That every decision reached the vault. The vault sees what was sent to it; a decision that was "
        "never sent leaves a trace only where its producer numbers its records. The payment system's own "
        "list of money movements must be reconciled separately."
    )
    if population.sequences.unnumbered:
        yield (
            "That nothing is missing where producers do not number their records "
            f"({population.sequences.unnumbered:,} without a number): a gap between them cannot be seen."
        )
    yield (
        "That a record is true. The vault keeps the bytes that the producer sent and proves that they have "
        "not changed since. Whether the prompt, the answer, the score or the amount in them is what really "
        "happened is for the producer's own controls."
    )
    yield "That a decision was right, fair or lawful, or that a confidence score means what its name says."
    if not checkpoint.witnesses and not checkpoint.time_stamps:
        too = ", as is that of every destruction" if population.destroyed else ""
        yield (
            "When the checkpoint was made, and that only one history was ever signed. No witness and no "
            f"time-stamping authority has countersigned it: its time is self-asserted{too}, and whoever holds "
            "the vault's keys, its database and its checkpoint folder could have rebuilt all three before "
            "this report was made. A copy of the checkpoint kept elsewhere from now on closes that door "
            "for everything before it."
        )
    if report.identification.break_glass:
        yield (
            "That two people agreed to this reading. It was made under break-glass: the holder of the "
            "vault's passphrase opened the records alone. The access is an entry of the events ledger."
        )
    if report.integrity.sample.self_drawn:
        yield (
            "That the sample was drawn blindly. It was drawn by the vault itself, and whoever runs the "
            "vault could have chosen the moment. An auditor who wants to rely on a sample draws a seed of "
            "their own against the attached population."
        )
    if report.integrity.depth != "open":
        yield (
            f"That every envelope opens. Verification ran at depth {report.integrity.depth}: leaves, chain "
            "and sealed bytes were checked, but not that each key opens its record."
        )
    if population.opened < population.in_period:
        yield (
            f"What only an opened record tells (amounts, conversation, relations) for "
            f"{population.in_period - population.opened:,} of {population.in_period:,} records."
        )
    yield (
        "That the retention rules are the right ones. They are engineering input with the status printed "
        "beside each, and no legal advice; which of them bind this ledger is its owner's decision."
    )
    yield (
        "Anything about copies outside the vault: at the producers, in backups of other systems, or in "
        "reports issued before. This report itself carries facets in clear and outlives the shredding of "
        "the records that it names."
    )
    yield (
        "Who wrote it. The file is not signed yet: compare its SHA-256 with the digest in the ledger of "
        "events before relying on a copy."
    )
