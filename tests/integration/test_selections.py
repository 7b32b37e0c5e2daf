"""Selections: written once, found by their digest, and believed only where they are what it names."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
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
        connection.execute("ALTER TABLE vault.selection DROP CONSTRAINT selection_digest_check")
        connection.execute("UPDATE vault.selection SET content = %s", [selection.text(ledger, Selection.of([1]))])
    for verb in (lambda: selections.load(vault, ledger, digest), lambda: selections.keep(vault, ledger, MADE)):
        with pytest.raises(Modified, match="not the one that was named"):
            verb()


def test_nobody_takes_the_place_of_one_that_will_be_needed(installation: Installation, vault: Vault) -> None:
    """Nothing in this table is ever repaired: junk under a foreseen digest would stop disposals for ever."""
    ledger = ledgers.get(vault, "cn").id
    junk = [b"junk", b"", selection.text(ledger, Selection.of([1]))]
    for dsn in (installation.database.app_dsn, installation.database.owner_dsn):
        with psycopg.connect(dsn, autocommit=True) as connection:
            for content in junk:
                with pytest.raises(psycopg.errors.CheckViolation):
                    connection.execute(
                        "INSERT INTO vault.selection VALUES (%s, %s, %s)",
                        [ledger, selection.digest(ledger, Selection()), content],
                    )
    assert selections.load(vault, ledger, selections.keep(vault, ledger, Selection())) == Selection()


def test_what_is_remembered_of_them_is_bounded_by_their_ranges(
    installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = selections.Cache(most=12)
    monkeypatch.setattr(selections, "_known", cache)
    ledger = ledgers.get(vault, "cn").id
    sets = [Selection.of(range(first, first + 10, 2)) for first in (0, 100, 200)]  # five ranges each
    one, two, three = (canonical.unb64(selections.keep(vault, ledger, made), 32) for made in sets)
    assert [cache.get(ledger, digest) for digest in (one, two, three)] == [None, *sets[1:]]
    assert cache.get(ledger, two) == sets[1]
    selections.load(vault, ledger, canonical.b64(one))
    assert [cache.get(ledger, digest) for digest in (one, two, three)] == [sets[0], sets[1], None]  # that was used last
    large = Selection.of(range(0, 100, 2))
    assert selections.load(vault, ledger, selections.keep(vault, ledger, large)) == large
    assert cache.get(ledger, two) == sets[1]  # and nothing went for one that is too large


def test_an_empty_one(vault: Vault) -> None:
    ledger = ledgers.get(vault, "cn").id
    assert selections.load(vault, ledger, selections.keep(vault, ledger, Selection())) == Selection()
