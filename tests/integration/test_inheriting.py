"""Inheriting: what arrives after a hold was placed is frozen into it, once, whoever looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from retention import saving
from retention.holding import inherit_all
from tests.support.acting import happened
from tests.support.decisions import decision, decisions, spelled
from tests.support.holding import frozen, keepers, placed
from tests.support.vault import RECORDS, Installation
from vault import ledgers
from vault.context import Vault

OF_3 = [n for n in range(1, RECORDS["cn"] + 1) if n % 7 == 3]  # records of customer cus-3; positions equal numbers


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def cn(vault: Vault) -> UUID:
    return ledgers.get(vault, "cn").id


def test_what_arrives_later_is_kept_at_once_and_inherited_once(
    installation: Installation, vault: Vault, cn: UUID
) -> None:
    made = placed(vault, ["cn"], customers=["cus-3"]).hold
    other = placed(vault, ["cn"], customers=["cus-4"]).hold
    installation.ingest("cn", [(1, spelled(decision(900, customer_ref="cus-3"))), *decisions(2, first=901)])
    new = installation.size("cn") - 3
    assert keepers(vault, cn, new) == (made.id,), "its live scope keeps it before anybody looked"
    assert new not in frozen(vault, cn, made.id)
    done = inherit_all(vault)
    assert done == {
        "holds": 2,
        "records": 1 + sum(n % 7 == 4 for n in (901, 902)),
        "events": done["events"],
        "unreadable": 0,
    }
    assert frozen(vault, cn, made.id) == [*OF_3, new]
    told = [one.facts for one in happened(vault, "hold.inherited") if one.facts["hold"] == made.id]
    assert [(one["count"], one["upto"]) for one in told] == [(1, installation.size("cn"))]
    before = installation.size("events")
    assert inherit_all(vault)["events"] == 0
    assert installation.size("events") == before
    assert keepers(vault, cn, new) == (made.id,)
    assert other.is_open


def test_two_workers_inherit_once(installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    placed(vault, ["cn"], customers=["cus-3"])
    installation.ingest("cn", [(1, spelled(decision(900, customer_ref="cus-3")))])
    honest = saving.save
    entered: list[int] = []

    def slow(*arguments: Any) -> Any:
        if not entered:
            entered.append(1)
            with installation.opened() as second:
                assert inherit_all(second)["events"] == 1
        return honest(*arguments)

    monkeypatch.setattr("retention.inheriting.save", slow)
    assert inherit_all(vault) == {"holds": 1, "records": 0, "events": 0, "unreadable": 0}
    assert len(happened(vault, "hold.inherited")) == 1


def test_looking_at_much_without_a_match_is_written_down(
    installation: Installation, vault: Vault, cn: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retention.inheriting._WORTH", 2)
    made = placed(vault, ["cn"], customers=["cus-nobody"]).hold
    installation.ingest("cn", decisions(1, first=900))
    assert inherit_all(vault)["events"] == 0
    installation.ingest("cn", decisions(1, first=901))
    assert inherit_all(vault) == {"holds": 1, "records": 0, "events": 1, "unreadable": 0}
    now = vault.register.standing().governance.holds[made.id]
    assert dict(now.looked) == {str(cn): installation.size("cn")}


def test_terms_that_cannot_be_opened_are_told_and_the_live_scope_keeps(
    installation: Installation, vault: Vault, cn: UUID
) -> None:
    made = placed(vault, ["cn"], customers=["cus-3"]).hold
    with installation.tampering() as connection:
        connection.execute("DELETE FROM vault.sealed WHERE ledger_id = %s AND seq = %s", [vault.events, made.seq])
    installation.ingest("cn", [(1, spelled(decision(900, customer_ref="cus-3")))])
    assert inherit_all(vault) == {"holds": 1, "records": 0, "events": 0, "unreadable": 1}
    assert keepers(vault, cn, installation.size("cn") - 1) == (made.id,)
