"""A passphrase is lost: the recovery file opens the vault, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stranger import Stranger
from tests.support.vault import Installation


@pytest.fixture
def run(installation: Installation, tmp_path: Path) -> Stranger:
    """Somebody beside a vault in use."""
    return Stranger.of(installation, tmp_path, apart=False)


def test_a_recovery_file_opens_what_the_lost_passphrase_closed(run: Stranger, tmp_path: Path) -> None:
    assert "No recovery file exists" in run("init").out.decode()
    file = tmp_path / "recovery"
    assert run("keys", "recovery", "export", file, "--custodian", "Ann").code == 0
    assert file.stat().st_mode & 0o077 == 0
    assert run("init", "--json").document["custodians"] == ["Ann"]

    again = run("keys", "recovery", "export", file, "--custodian", "Ann")
    assert (again.code, "exists" in again.complaint) == (2, True)

    used = run("keys", "recovery", "use", file, REASONVAULT_PASSPHRASE="another one")
    assert used.code == 0
    assert run("ledger", "list").code == 4
    assert run("verify", "--depth", "open", REASONVAULT_PASSPHRASE="another one").code == 0


def test_another_file_is_no_recovery_file(run: Stranger, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_bytes(b"not a key")
    refused = run("keys", "recovery", "use", file, REASONVAULT_PASSPHRASE="another one")
    assert refused.code == 2
    assert run("verify").code == 0
