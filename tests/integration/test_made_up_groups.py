"""Groups that somebody with the application's login made up stop nobody: no event tells of them, no key opens them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from retention import destroying, holding
from tests.support.acting import granted, hire
from tests.support.board import Board, standing
from tests.support.decisions import decisions
from tests.support.generations import destroy_key, only_stem, states_of
from tests.support.vault import RECORDS, Installation
from vault import custody, generations, ledgers, matching, search
from vault.context import Vault
from vault.core.errors import KeyGone, Modified
from vault.keys.ring import group_ref
from vault.matching import Terms
from vault.search import Wanted


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.retaining() as opened:
        yield opened


def make_up(installation: Installation, ledger: str, *names: str) -> None:
    place = installation.ledger(ledger)
    with psycopg.connect(installation.database.app_dsn) as connection:
        for name in names:
            connection.execute(
                "INSERT INTO vault.key_group (ledger_id, name, key_ref, index_key) VALUES (%s, %s, %s, 'made up')",
                [place, name, group_ref(place, name)],
            )


def test_records_are_taken_found_and_held(installation: Installation, vault: Vault) -> None:
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    make_up(installation, "cn", f"{stem}.1", "held.0", "2041-03.0")
    taken = [one.status.value for one in installation.ingest("cn", decisions(3, first=2000))]
    assert taken == ["accepted"] * 3
    assert len(states_of(installation)) == 4  # and no group more: what stood below goes on
    auditor = hire(vault, "ana", "auditor")
    granted(vault, auditor, hire(vault, "olaf", "officer"), ["cn"])
    page = search.search(vault.acting(auditor), ledger, Wanted(customer="cus-3"))
    found = [one.seq for one in matching.matching(vault, ledger.id, Terms(customers=("cus-3",)), 0, 10_000)]
    assert found
    assert sorted(one.seq for one in page.rows) == sorted(found)
    generations.close(vault, ledger.id, [f"{stem}.0"])
    assert [one.status.value for one in installation.ingest("cn", decisions(3, first=3000))] == ["accepted"] * 3
    assert states_of(installation)[f"{stem}.2"] == "live"
    odd = {one.group for one in custody.status(vault).groups if not custody.is_expected(one)}
    assert odd == {f"{stem}.1", "held.0", "2041-03.0"}  # whoever asks is told


def test_a_disposal_moves_what_is_held_past_them(installation: Installation) -> None:
    with installation.retaining() as opened:
        board = Board.of(opened)
        place = [ledgers.get(opened, "sg")]
        holding.place(
            board.today, case="case-1", reason="a test", ledgers=place, customers=["cus-3"], random=os.urandom
        )
        made = board.intended("sg")
        make_up(installation, "sg", "held.0", "held.1")
        done = destroying.run(board.cooled, made.id)
        kept = len(standing(installation, board.due, "sg"))
        assert (done.entries, kept) == (RECORDS["sg"] - kept, 7)
        assert states_of(installation, "sg")["held.2"] == "live"


@pytest.mark.parametrize("harm", ["its key is gone", "its index key was edited"])
def test_a_group_that_was_told_is_not_passed_over(installation: Installation, vault: Vault, harm: str) -> None:
    """What it holds could not be found: that must not pass in silence."""
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    wanted: type[Exception] = Modified
    if harm == "its key is gone":
        destroy_key(vault, ledger.id, f"{stem}.0")
        wanted = KeyGone
    else:
        with installation.tampering() as connection:
            connection.execute("UPDATE vault.key_group SET index_key = 'other' WHERE ledger_id = %s", [ledger.id])
    with pytest.raises(wanted):
        installation.ingest("cn", decisions(1, first=2000))
    with pytest.raises(wanted):
        list(matching.matching(vault, ledger.id, Terms(customers=("cus-3",)), 0, 10_000))
    assert states_of(installation) == {f"{stem}.0": "live"}
