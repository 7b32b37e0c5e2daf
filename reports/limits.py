"""What a report does not prove, said of this very report: the standing list, shortened or lengthened by its
facts."""

from __future__ import annotations

from collections.abc import Iterator

from reports.model import EvidenceReport, Identification, Sample
from reports.phrase import phrase


def limits(report: EvidenceReport) -> tuple[str, ...]:
    """Sentences for the last section of the evidence report, the weightiest first."""
    return (*_standing(report), *report.limits)


def of_every(who: Identification) -> Iterator[str]:
    """Yield what no report proves, whatever its kind: what stands and falls with who outside has seen the vault's
    history, and with who signed the file."""
    assured, signer = who.assured, who.signer
    if assured is None or not (assured.witnessed_at or assured.stamped_at):
        yield phrase(
            "When the checkpoints were made, and that only one history was ever signed. No witness and no "
            "time-stamping authority has countersigned one: their time, and that of every destruction, is "
            "self-asserted, and whoever holds the vault’s keys, its database and its checkpoint folder could have "
            "rebuilt all three before this report was made. A copy of the checkpoint kept elsewhere from now on closes "
            "that door for everything before it."
        )
    elif not assured.independent:
        yield phrase(
            "That somebody independent has seen the vault’s history. Every witness and every authority that "
            "countersigned it belongs to whoever runs the vault."
        )
    if signer is None:
        yield phrase(
            "Who wrote it. The file is not signed: compare its SHA-256 with the digest in the ledger of events before "
            "relying on a copy."
        )
    elif signer.self_signed:
        yield phrase(
            "Whose signature it is. The certificate is the vault’s own and nobody else vouches for it: the signature "
            "shows that nobody without that key changed the file since. That the key is this vault’s shows "
            "only by its fingerprint, known from elsewhere."
        )


def _standing(report: EvidenceReport) -> Iterator[str]:
    population = report.population
    yield phrase(
        "That every decision reached the vault. The vault sees what was sent to it; a decision that was never sent "
        "leaves a trace only where its producer numbers its records. The payment system’s own list of money movements "
        "must be reconciled separately."
    )
    if population.sequences.unnumbered:
        yield phrase(
            "That nothing is missing where producers do not number their records ({count:,} without a number): a gap "
            "between them cannot be seen.",
            count=population.sequences.unnumbered,
        )
    yield phrase(
        "That a record is true. The vault keeps the bytes that the producer sent and proves that they have not changed "
        "since. Whether the prompt, the answer, the score or the amount in them is what really happened is for the "
        "producer’s own controls."
    )
    yield phrase("That a decision was right, fair or lawful, or that a confidence score means what its name says.")
    if report.identification.break_glass:
        yield phrase(
            "That two people agreed to this reading. It was made under break-glass: the holder of the vault’s "
            "passphrase opened the records alone. The access is an entry of the events ledger."
        )
    yield from _of_sample(report.integrity.sample)
    if report.integrity.depth != "open":
        yield phrase(
            "That every envelope opens. Verification ran at depth {depth}: leaves, chain and sealed bytes were "
            "checked, but not that each key opens its record.",
            depth=report.integrity.depth,
        )
    if population.opened < population.in_period:
        yield phrase(
            "What only an opened record tells (amounts, conversation, relations) for {count:,} of {all:,} records.",
            count=population.in_period - population.opened,
            all=population.in_period,
        )
    yield phrase(
        "That the retention rules are the right ones. They are engineering input with the status printed beside each, "
        "and no legal advice; which of them bind this ledger is its owner’s decision."
    )
    yield phrase(
        "Anything about copies outside the vault: at the producers, in backups of other systems, or in reports issued "
        "before. This report itself carries facets in clear and outlives the shredding of the records that it names."
    )


def _of_sample(sample: Sample) -> Iterator[str]:
    chosen = sample.commitment
    if sample.self_drawn:
        yield phrase(
            "That the sample was drawn blindly. It was drawn by the vault itself, and whoever runs the vault could "
            "have chosen the moment. An auditor who wants to rely on a sample has the population committed and "
            "witnessed, and then gives a nonce of their own."
        )
    elif chosen is not None and not any(not one.own for one in chosen.seen):
        yield phrase(
            "That the population was fixed before the nonce was known. Nobody independent saw it in between: whoever "
            "runs the vault could have rebuilt it to fit."
        )
    if chosen is not None and chosen.draws > 1:
        yield phrase(
            "That this sample was the first. {count:,} different nonces were given for this population.",
            count=chosen.draws,
        )
