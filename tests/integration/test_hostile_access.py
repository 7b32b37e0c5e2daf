"""Access against people who mean harm: what a grant opens, what search and report let through, who is kept out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.acting import granted, hire
from tests.support.vault import Installation
from vault import ledgers
from vault.context import Actor, Vault
from vault.core import packing
from vault.core.errors import Forked, Modified
from vault.register import Register


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def anna(vault: Vault) -> Actor:
    return hire(vault, "anna", "auditor")


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


def test_ledgers_that_traded_their_names_open_nothing(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor
) -> None:
    granted(vault, anna, olaf, ["sg"])
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.ledger SET name = CASE name WHEN 'cn' THEN 'sg' ELSE 'cn' END WHERE name IN ('cn', 'sg')"
        )
    for name in ("cn", "sg"):
        with pytest.raises(Modified, match="row is not what its genesis leaf says"):
            ledgers.get(vault, name)
    with pytest.raises(Modified):
        ledgers.listing(vault)


def test_a_row_and_a_genesis_leaf_that_agree_are_not_enough(installation: Installation, vault: Vault) -> None:
    """Both lie in the database; the announcement is a chained event."""
    cn = installation.ledger("cn")
    genesis = ledgers.genesis_bytes(vault, cn).replace(b'"name":"cn"', b'"name":"xx"')
    with installation.tampering() as connection:
        connection.execute("UPDATE vault.ledger SET name = 'xx' WHERE ledger_id = %s", [cn])
        connection.execute(
            "UPDATE vault.entry SET leaf = %s WHERE ledger_id = %s AND seq = 0", [packing.pack(genesis), cn]
        )
    with pytest.raises(Forked, match="not the one that was announced"):
        ledgers.get(vault, "xx")


@pytest.mark.parametrize("column", ["kind", "tenant"])
def test_neither_kind_nor_tenant_is_believed(installation: Installation, vault: Vault, column: str) -> None:
    told = {"kind": "events", "tenant": "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"}[column]
    with installation.tampering() as connection:
        connection.execute(f"UPDATE vault.ledger SET {column} = %s WHERE name = 'cn'", [told])
    with pytest.raises(Modified):
        ledgers.listing(vault)


def test_what_an_older_version_remembered_is_read_again(
    installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows no ledgers, and would have every genesis leaf pass for one that was never announced."""
    text = vault.register.standing()
    assert set(text.ledgers) == {str(installation.ledger(name)) for name in ("cn", "sg")}
    vault.checkpoints.remember(vault.events, "standing", f"{'00' * 32}\n{'e30='}\n")
    fresh: Register = type(vault.register)(vault.engine, vault.checkpoints, vault.events, lambda _tickets: None)
    assert fresh.standing() == text
