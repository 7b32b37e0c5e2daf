"""A checkpoint key rotated: two signatures, then the new one; what the old one signed before is believed for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from reasonvault_client import note as client_note
from reasonvault_client import receipts as client_receipts

from service import rotation
from tests.support.breaking import Killed, broken
from tests.support.decisions import decision, decisions, spelled
from tests.support.vault import PASSPHRASE, Installation
from vault import incremental, intake, ledgers, reading, rotating
from vault.context import Vault
from vault.core import note, receipt
from vault.core.errors import UsageError, VaultError
from vault.verdict import Depth, worst

Rotated = tuple[Vault, rotating.Keeper]


@pytest.fixture
def site(bare: Installation, tmp_path: Path) -> Iterator[Installation]:
    with bare.copied(tmp_path / "home") as copy:
        yield copy


def rotate(site: Installation, *steps: str) -> None:
    with mock.patch.dict("os.environ", site.environment()), rotation.opened(site.home, PASSPHRASE) as (vault, keeper):
        for step in steps:
            {"begin": rotating.begin, "finish": rotating.finish}[step](vault, keeper)


def holds(site: Installation, depth: Depth = Depth.LEAVES) -> None:
    reports = site.audit(depth)
    assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]


def signers(site: Installation, name: str = "hk", file: str = "checkpoint") -> set[str]:
    """Return whose signatures a file outside the database has, by name of the key."""
    with site.opened() as vault:
        ledger = site.ledger(name)
        keys = vault.checkpoints.verifiers(ledger)
        text = (site.checkpoints(name) / file).read_bytes()
        verified = note.open_note(text, keys).verified
        return {f"checkpoint.{keys.index(key) + 1}" for key in verified}


def receipts(site: Installation, first: int) -> tuple[bytes, bytes]:
    """Take one record in, and return it with the receipt of its own commit."""
    raw = spelled(decision(first))
    with site.opened() as vault:
        (batch,) = intake.ingest(vault, ledgers.get(vault, "hk"), [(1, raw)], "psp-1", processes=1)
        ((result, leaf, proof),) = batch.receipts()
        return raw, receipt.issue(leaf, result.opening, proof)


def verifies(vault: Vault, site: Installation, raw: bytes, kept: bytes, keys: list[str] | None = None) -> None:
    """Check a receipt as its producer does, with code that is not ours."""
    ledger = site.ledger("hk")
    texts = keys or [str(key) for key in vault.checkpoints.verifiers(ledger)]
    trusted = [client_note.parse_verifier(text) for text in texts]
    client_receipts.check(kept, raw, trusted, vault.checkpoints.origin(ledger), "psp-1")


def test_a_rotation_from_its_beginning_to_its_end(site: Installation) -> None:
    one = receipts(site, 1)
    assert signers(site) == {"checkpoint.1"}
    assert json.loads((site.home / "vault.json").read_text())["version"] == 1
    rotate(site, "begin")
    assert signers(site) == signers(site, file="pending") == signers(site, "events") == {"checkpoint.1", "checkpoint.2"}
    two = receipts(site, 2)
    assert signers(site) == signers(site, file="pending") == {"checkpoint.1", "checkpoint.2"}
    rotate(site, "finish")
    three = receipts(site, 3)
    assert signers(site) == signers(site, file="pending") == {"checkpoint.2"}
    assert signers(site, "events") == {"checkpoint.1", "checkpoint.2"}  # nothing happened there since
    with site.opened() as vault:
        old, new = (str(key) for key in vault.checkpoints.verifiers(site.ledger("hk")))
        for raw, kept in (one, two, three):
            verifies(vault, site, raw, kept)
        verifies(vault, site, *two, [old])  # whoever has not heard of the new key yet
        verifies(vault, site, *two, [new])
        made = ledgers.create(vault, "tw", ("TW",), ())
        assert made.genesis.verifiers == (str(vault.checkpoints.verifier(made.id)),)
        told = {event.event: event.facts for event in ledgers.history(vault, "signer.added", "signer.retired")}
    hk = str(site.ledger("hk"))
    sizes = {event: dict(zip(facts["ledgers"], facts["sizes"], strict=True)) for event, facts in told.items()}
    assert (sizes["signer.added"][hk], sizes["signer.retired"][hk]) == (2, 3)
    holds(site, Depth.OPEN)
    rotate(site, "begin", "finish")
    receipts(site, 4)
    assert signers(site) == {"checkpoint.3"}
    holds(site)
    with site.opened() as vault:
        assert incremental.verify(vault).worst is None
        for raw, kept in (one, two, three):
            verifies(vault, site, raw, kept)


def test_a_process_that_runs_takes_part(site: Installation) -> None:
    """It signs with both keys as soon as the other process has listed the second, and with the new one alone after."""
    with site.opened() as running:
        hk = ledgers.get(running, "hk")

        def take(first: int) -> int:
            (batch,) = intake.ingest(running, hk, decisions(1, first=first), "psp-1", processes=1)
            ((_, _, proof),) = batch.receipts()
            return len(note.split_unverified(proof.checkpoint)[1])

        assert take(1) == 1
        rotate(site, "begin")
        assert take(2) == 2
        reading.read(running, hk, "dec-2", "a test looks at it")
        rotate(site, "finish")
        assert take(3) == 1
        assert signers(site) == {"checkpoint.2"}
        assert worst(site.audit(Depth.LEAVES)) is None


def test_nothing_can_be_finished_that_has_not_begun(site: Installation) -> None:
    with pytest.raises(UsageError, match="rotate begin"):
        rotate(site, "finish")
    rotate(site, "begin", "begin")
    with site.opened() as vault:
        assert [one.state for one in vault.checkpoints.signers()] == ["current", "joining"]
        assert len(list(ledgers.history(vault, "signer.added"))) == 1


@pytest.mark.parametrize("step", ["begin", "finish"])
def test_every_step_broken_and_done_again(bare: Installation, tmp_path: Path, step: str) -> None:
    """After a crash anywhere the vault goes on, and the same call completes what is missing."""
    with bare.copied(tmp_path / "base") as base:
        receipts(base, 1)
        if step == "finish":
            rotate(base, "begin")
        for number in range(40):
            with base.copied(tmp_path / str(number)) as site:
                ended: BaseException | None = None
                with broken(number, "killed") as steps:
                    try:
                        rotate(site, step)
                    except (Killed, VaultError) as error:
                        ended = error
                assert (ended is not None) == steps.broke
                receipts(site, 2)
                holds(site)
                with site.opened() as vault:
                    if step == "begin" or [one.state for one in vault.checkpoints.signers()] != ["retired", "current"]:
                        rotate(site, step)
                    states = [one.state for one in vault.checkpoints.signers()]
                    assert states == (["current", "joining"] if step == "begin" else ["retired", "current"])
                    told = list(ledgers.history(vault, "signer.added" if step == "begin" else "signer.retired"))
                    assert len(told) == 1
                expected = {"checkpoint.1", "checkpoint.2"} if step == "begin" else {"checkpoint.2"}
                receipts(site, 3)
                assert signers(site) == signers(site, file="pending") == expected
                holds(site)
            if not steps.broke:
                break
        assert not steps.broke
        assert len(steps.done) >= 5, steps.done  # the event, the list, two files of each ledger
