"""What the register remembers outside the database holds years of disposals, and comes back as it was."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
import zstandard

from vault import register
from vault.core import canonical
from vault.core.standing import Standing

RANDOM = random.Random(4)
OFFICERS = [(f"p-{at}", canonical.b64(RANDOM.randbytes(32))) for at in range(3)]


def after(disposals: int, ledgers: int = 10) -> Standing:
    """Return the standing after so many disposals that were carried out, told by events as the program writes them."""
    standing, seq = Standing(), 0
    places = [str(UUID(bytes=RANDOM.randbytes(16), version=4)) for _ in range(ledgers)]

    def tell(event: str, actor: str, **facts: object) -> int:
        nonlocal seq
        seq += 1
        standing.take(event, actor, facts, seq, f"20{30 + seq // 1000:02d}-01-01T00:00:{seq % 60:02d}.000Z")
        return seq

    def drawn(size: int = 32) -> str:
        return canonical.b64(RANDOM.randbytes(size))

    for person, public in OFFICERS:
        tell("approver.registered", "p-0", person=person, public=public)
    for number in range(disposals):
        at = {"disposal": f"d-{RANDOM.randbytes(8).hex()}", "ledger": places[number % ledgers]}
        group = f"20{30 + number // 1200:02d}-{number // 100 % 12 + 1:02d}.{number % 100}"
        tell("key.created", "service", ledger=at["ledger"], group=group, key="k")
        common = {"manifest": drawn(), "count": RANDOM.randrange(10**6)}
        due = "2030-01-01T00:00:00Z"
        plan = {"kind": "expiry", "selection": drawn(), "groups": [group], "due": due, "cooling_off": 259_200}
        tell("disposal.planned", "p-0", **at, **common, **plan)
        for person, public in OFFICERS[1:]:
            tell("disposal.approved", person, **at, manifest=common["manifest"], signature=drawn(64), key=public)
        tell("disposal.intended", "p-0", **at, not_before=due)
        tell("keys.moved", "p-0", ledger=at["ledger"], to="held.0", selection=drawn())
        tell("disposal.destroying", "p-0", **at, **common, selection=drawn(), holds_at=seq + 1)
        tell("key.destroyed", "p-0", ledger=at["ledger"], group=group)
        tell("disposal.done", "p-0", **at)
        tell("certificate.issued", "p-0", **at)
    standing.size = seq + 1
    return standing


def test_years_of_disposals_are_remembered() -> None:
    """Ten ledgers, a disposal a month in each: more than a decade."""
    standing = after(1500)
    document = register.packed(standing)
    assert len(document) < register._MOST_OUTSIDE
    assert register.unpacked(document) == standing


@pytest.mark.parametrize("document", ["", "AAAA", "no base64 at all!", register.packed(Standing())[:-8]])
def test_what_is_no_document_is_told(document: str) -> None:
    with pytest.raises((ValueError, zstandard.ZstdError)):
        register.unpacked(document)
