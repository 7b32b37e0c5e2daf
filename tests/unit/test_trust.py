"""Which checkpoint keys vault.json may list, given what the events tell."""

from __future__ import annotations

from uuid import UUID

import pytest

from vault.core.signer import Signer, Signers, Told
from vault.trust import check_keys
from vault.verdict import LedgerReport, Verdict

LEDGER = "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"
ONE, TWO, THREE = (f"{number:02x}" * 32 for number in (1, 2, 3))


def current(public: str, number: int) -> Signer:
    return Signer(f"checkpoint.{number}", public, "current")


def joining(public: str, number: int) -> Signer:
    return Signer(f"checkpoint.{number}", public, "joining")


def retired(public: str, number: int, size: int = 40) -> Signer:
    return Signer(f"checkpoint.{number}", public, "retired", {LEDGER: size})


def events(*, ended: bool = True, third: int | None = None) -> dict[str, Told]:
    """What the events tell: the second key was added at 40, the first retired at 50; a third added later."""
    told = {TWO: Told("checkpoint.2", TWO, 40)}
    if ended:
        told[ONE] = Told("checkpoint.1", ONE, retired=50, sizes={LEDGER: 40})
    if third is not None:
        told[THREE] = Told("checkpoint.3", THREE, third)
    return told


def faults(listed: Signers, told: dict[str, Told]) -> list[str]:
    report = LedgerReport(UUID(LEDGER))
    check_keys(report, listed, told)
    assert {fault.verdict for fault in report.faults} <= {Verdict.FORKED}
    return [fault.what for fault in report.faults]


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ((current(ONE, 1),), {}),
        ((current(ONE, 1),), events(ended=False)),  # the event comes first
        ((current(ONE, 1), joining(TWO, 2)), events(ended=False)),
        ((current(ONE, 1), joining(TWO, 2)), events()),  # the event comes first
        ((retired(ONE, 1), current(TWO, 2)), events()),
        ((retired(ONE, 1), current(TWO, 2)), events(third=60)),
        ((retired(ONE, 1), current(TWO, 2), joining(THREE, 3)), events(third=60)),
    ],
)
def test_every_step_of_a_rotation_is_in_order(listed: Signers, told: dict[str, Told]) -> None:
    assert faults(listed, told) == []


@pytest.mark.parametrize(
    ("listed", "told", "why"),
    [
        (
            (current(ONE, 1), joining(THREE, 3)),
            events(ended=False),
            "trusts the key checkpoint.3, which no event added",
        ),
        ((retired(ONE, 1, 41), current(TWO, 2)), events(), "trusts checkpoint.1 for more than it was retired at"),
        # Whoever has the retired key takes it back into force, alone or with one of his own.
        ((current(ONE, 1),), events(), "lets checkpoint.1 sign, which event 50 retired"),
        ((current(ONE, 1), joining(THREE, 3)), events(third=60), "lets checkpoint.1 sign, which event 50 retired"),
        (
            (retired(TWO, 2, 0), current(ONE, 1), joining(THREE, 3)),
            events(third=60),
            "calls checkpoint.2 retired, which no event says",
        ),
        ((retired(ONE, 1), current(THREE, 3)), events(third=60), "does not know checkpoint.2, which event 40 added"),
    ],
)
def test_what_no_rotation_makes_is_forked(listed: Signers, told: dict[str, Told], why: str) -> None:
    assert f"vault.json {why}" in faults(listed, told)
