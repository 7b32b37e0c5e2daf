from __future__ import annotations

import hashlib
from uuid import UUID

import pytest

from vault.core import canonical
from vault.core.manifest import Manifest, statement

LEDGER = UUID("11111111-2222-4333-8444-555555555555")


def test_a_manifest_is_the_hash_of_exactly_this_text() -> None:
    made = Manifest(LEDGER)
    made.add(7, bytes(32))
    made.add(1204, b"\xff" * 32)
    first, second = canonical.b64(bytes(32)), canonical.b64(b"\xff" * 32)
    lines = f"7 {first}\n1204 {second}\n"
    assert made.digest() == hashlib.sha256(f"reasonvault manifest/1\n{LEDGER}\n{lines}".encode()).digest()
    assert made.count == 2


@pytest.mark.parametrize("seq", [7, 6, -1])
def test_its_entries_ascend(seq: int) -> None:
    made = Manifest(LEDGER)
    made.add(7, bytes(32))
    with pytest.raises(ValueError, match="ascend"):
        made.add(seq, bytes(32))


@pytest.mark.parametrize(("due", "line"), [(2_000_000_000, "2033-05-18T03:33:20Z"), (0, "-")], ids=["due", "none"])
def test_an_approver_signs_exactly_these_bytes(due: int, line: str) -> None:
    signed = statement(
        "tenant",
        "d-1",
        kind="expiry",
        ledger=LEDGER,
        manifest=bytes(32),
        count=2,
        due=due,
        planned=41,
        cooling_off=259200,
        person="p-one",
    )
    lines = [
        "reasonvault disposal approval/1",
        "tenant",
        "d-1",
        "expiry",
        str(LEDGER),
        canonical.b64(bytes(32)),
        "2",
        line,
        "41",
        "259200",
        "p-one",
        "",
    ]
    assert signed == "\n".join(lines).encode()
