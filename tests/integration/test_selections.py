"""Selections: written once, found by their digest, and believed only where they are what it names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.vault import Installation
from vault import ledgers, selections
from vault.context import Vault
from vault.core import canonical, selection
from vault.core.errors import Missing, Modified
from vault.core.selection import Selection

MADE = Selection.of([1, 2, 3, 9])


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    selections._known.clear()
    with installation.opened() as opened:
        yield opened


def test_kept_once(vault: Vault) -> None:
    cn, sg = ledgers.get(vault, "cn").id, ledgers.get(vault, "sg").id
    digest = selections.keep(vault, cn, MADE)
    assert digest == canonical.b64(selection.digest(cn, MADE))
    assert selections.keep(vault, cn, MADE) == digest
    selections._known.clear()
    assert selections.load(vault, cn, digest) == MADE
    with pytest.raises(Missing, match="is not stored"):
        selections.load(vault, sg, digest)
    for wrong in ("", "no digest", digest + "A", digest[:-1]):
        with pytest.raises(Modified):
            selections.load(vault, cn, wrong)


def test_another_under_its_name(installation: Installation, vault: Vault) -> None:
    ledger = ledgers.get(vault, "cn").id
    digest = selections.keep(vault, ledger, MADE)
    selections._known.clear()
    with installation.tampering() as connection:
        connection.execute("UPDATE vault.selection SET content = %s", [selection.pack(ledger, Selection.of([1]))])
    for verb in (lambda: selections.load(vault, ledger, digest), lambda: selections.keep(vault, ledger, MADE)):
        with pytest.raises(Modified, match="not the one that was named"):
            verb()


def test_an_empty_one(vault: Vault) -> None:
    ledger = ledgers.get(vault, "cn").id
    assert selections.load(vault, ledger, selections.keep(vault, ledger, Selection())) == Selection()
