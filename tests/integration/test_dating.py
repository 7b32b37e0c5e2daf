"""Records that are dated after they were written: by follow-ups that producers send, and by officers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from retention import adoption, dating
from retention.effective import Effect, Effective
from retention.history import History
from tests.support.acting import happened, hire, last
from tests.support.books import book
from tests.support.decisions import decision, spelled
from tests.support.vault import Installation
from vault import events, intake, ledgers
from vault.context import Actor, Vault
from vault.core import leaf
from vault.core.errors import Denied, UsageError
from vault.core.flags import Flag
from vault.db import groups
from vault.db.engine import transact
from vault.ledgers import Ledger
from vault.surveying import survey

WAITS = book("waits", added=[{"id": "CN-REL", "jurisdiction": "CN", "minimum": "P5Y", "trigger": "relationship_ended"}])


@pytest.fixture
def vault(bare: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with bare.copied(tmp_path_factory.mktemp("dating") / "home") as copy, copy.opened() as opened:
        yield opened


@pytest.fixture
def olga(vault: Vault) -> Actor:
    return hire(vault, "olga", "officer")


@pytest.fixture
def waiting(vault: Vault, olga: Actor) -> Ledger:
    """A ledger whose records wait for the end of a relationship."""
    adoption.propose(vault.acting(olga), WAITS)
    adoption.adopt(vault.acting(hire(vault, "olaf", "officer")), WAITS)
    return ledgers.create(vault, "cn", ("CN",), ("CN-REL",))


def take(vault: Vault, ledger: Ledger, *documents: dict[str, Any]) -> list[int]:
    lines = [(at, spelled(one)) for at, one in enumerate(documents, 1)]
    results = [one for batch in intake.ingest(vault, ledger, lines, "psp-1") for one in batch.results]
    return [one.seq for one in results if one.seq is not None]


def follow_up(number: int, *ids: str, **changes: Any) -> dict[str, Any]:
    return decision(number, relates_to=[{"kind": "dates", "id": one} for one in ids]) | changes


def effects(vault: Vault, ledger: Ledger) -> dict[int, Effect]:
    effective = Effective(vault, ledger, History.read(vault))
    names = [group.name for group in transact(vault.engine, lambda connection: groups.listing(connection, ledger.id))]
    judged = survey(vault, ledger.id, names, lambda one: effective.of(one.leaf, one.facets, one.record), processes=1)
    return {seq: effect for seq, _, effect in judged}


def until(vault: Vault, ledger: Ledger, seq: int) -> str | None:
    found = effects(vault, ledger)[seq].keep_until
    return None if found is None else leaf.instant(found)


def test_a_follow_up_dates_what_waits_for_it(vault: Vault, waiting: Ledger) -> None:
    one, other = take(vault, waiting, decision(1, jurisdictions=["CN"]), decision(2, jurisdictions=["CN"]))
    assert until(vault, waiting, one) is None
    ended = follow_up(3, "dec-1", occurred_at="2027-06-30T12:00:00+08:00", jurisdictions=["CN"])
    vault = _at(vault, "2027-07-01T00:00:00")
    (seq,) = take(vault, waiting, ended)
    assert dating.date_all(vault) == {"opened": 1, "dated": 1, "waiting": 0, "unsound": 0}
    told = last(vault, "record.dated")
    assert told.facts == {
        "ledger": str(waiting.id),
        "seq": one,
        "trigger": "relationship_ended",
        "at": "2027-06-30T04:00:00Z",
        "by": seq,
        "break_glass": 1,
    }
    assert until(vault, waiting, one) == "2032-06-30T16:00:00Z"
    assert until(vault, waiting, other) is None
    assert dict(effects(vault, waiting)[one].triggers)["relationship_ended"] == leaf.microseconds(
        "2027-06-30T04:00:00Z"
    )
    # The follow-up reports its own end.
    assert until(vault, waiting, seq) == "2032-06-30T16:00:00Z"


def test_it_is_announced_before_it_is_opened_and_read_once(vault: Vault, waiting: Ledger) -> None:
    take(vault, waiting, decision(1), follow_up(2, "dec-1"), follow_up(3, "dec-1"))
    assert dating.date_all(vault)["dated"] == 2
    names = [one.event for one in happened(vault, "followups.opened", "record.dated", "followups.read")]
    assert names == ["followups.opened", "record.dated", "record.dated", "followups.read"]
    announced = last(vault, "followups.opened").facts
    assert (announced["count"], announced["first"], announced["last"]) == (2, 2, 3)
    assert dating.date_all(vault)["opened"] == 0
    take(vault, waiting, decision(4))
    assert dating.date_all(vault)["opened"] == 0
    assert len(happened(vault, "followups.opened")) == 1


def test_a_run_that_died_does_not_date_twice(vault: Vault, waiting: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    take(vault, waiting, decision(1), follow_up(2, "dec-1"))
    record = events.record

    def die(vault: Vault, name: str, *more: Any) -> Any:
        if name == "followups.read":
            raise RuntimeError
        return record(vault, name, *more)

    monkeypatch.setattr(events, "record", die)
    with pytest.raises(RuntimeError):
        dating.date_all(vault)
    monkeypatch.setattr(events, "record", record)
    assert dating.date_all(vault) == {"opened": 1, "dated": 0, "waiting": 0, "unsound": 0}
    assert len(happened(vault, "record.dated")) == 1


def test_a_follow_up_that_came_first_waits_for_its_record(vault: Vault, waiting: Ledger) -> None:
    take(vault, waiting, follow_up(2, "dec-1", "dec-3"), decision(3))
    assert dating.date_all(vault) == {"opened": 1, "dated": 1, "waiting": 1, "unsound": 0}
    (seq,) = take(vault, waiting, decision(1))
    assert dating.date_all(vault) == {"opened": 1, "dated": 1, "waiting": 0, "unsound": 0}
    assert last(vault, "record.dated").facts["seq"] == seq
    take(vault, waiting, decision(5))
    assert dating.date_all(vault)["opened"] == 0


def test_one_ledger_is_dated_without_the_others(vault: Vault, waiting: Ledger) -> None:
    other = ledgers.create(vault, "other", ("CN",), ("CN-REL",))
    for ledger in (waiting, other):
        take(vault, ledger, decision(1), follow_up(2, "dec-1"))
    current = next(one for one in ledgers.listing(vault) if one.id == other.id)
    assert dating.date_all(vault, only=current)["dated"] == 1
    assert last(vault, "record.dated").facts["ledger"] == str(other.id)
    assert dating.date_all(vault)["dated"] == 1


def test_a_transaction_that_is_reported_ends_no_relationship(vault: Vault, waiting: Ledger) -> None:
    moved = decision(2)["decision"] | {"executed_at": "2026-02-01T00:00:00Z"}
    (one, _) = take(vault, waiting, decision(1), follow_up(2, "dec-1", decision=moved))
    dating.date_all(vault)
    assert last(vault, "record.dated").facts["trigger"] == "transaction_completed"
    assert last(vault, "record.dated").facts["at"] == "2026-02-01T00:00:00Z"
    assert until(vault, waiting, one) is None


def test_what_waits_for_nothing_is_only_kept_longer(vault: Vault) -> None:
    ledger = ledgers.create(vault, "aml", ("CN",), ("CN-AML-34",))
    one, two = take(
        vault,
        ledger,
        decision(1, occurred_at="2026-01-05T10:00:00+08:00"),
        decision(2, occurred_at="2026-01-05T10:00:00+08:00"),
    )
    take(
        vault,
        ledger,
        follow_up(3, "dec-1", occurred_at="2026-03-01T10:00:00+08:00"),
        follow_up(4, "dec-2", occurred_at="2015-03-01T10:00:00+08:00"),
    )
    dating.date_all(vault)
    assert until(vault, ledger, one) == "2036-03-01T16:00:00Z"
    assert until(vault, ledger, two) == "2036-01-05T16:00:00Z"


def test_the_flag_is_a_facet(vault: Vault, waiting: Ledger) -> None:
    take(vault, waiting, decision(1), follow_up(2, "dec-1"))
    names = [group.name for group in transact(vault.engine, lambda connection: groups.listing(connection, waiting.id))]
    flags = {seq: one for seq, _, one in survey(vault, waiting.id, names, lambda one: one.facets.flags, processes=1)}  # type: ignore[union-attr]
    assert {seq: bool(one & Flag.DATES_ANOTHER) for seq, one in flags.items()} == {1: False, 2: True}


def test_an_edited_follow_up_dates_nothing(vault: Vault, waiting: Ledger, bare: Installation) -> None:
    take(vault, waiting, decision(1), follow_up(2, "dec-1"), follow_up(3, "dec-1"))
    with vault.engine.connect() as connection:
        dsn = connection.connection.driver_connection.info.dbname  # type: ignore[union-attr]
    with psycopg.connect(make_conninfo(bare.database.superuser_dsn, dbname=dsn)) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("UPDATE vault.sealed SET record_id = 'dec-9' WHERE seq = 2")
    assert dating.date_all(vault) == {"opened": 2, "dated": 1, "waiting": 0, "unsound": 1}
    assert [one.facts["by"] for one in happened(vault, "record.dated")] == [3]


def test_an_officer_tells_of_what_no_follow_up_reports(vault: Vault, waiting: Ledger, olga: Actor) -> None:
    (one,) = take(vault, waiting, decision(1, jurisdictions=["CN"]))
    at = leaf.microseconds("2026-03-31T16:00:00Z")
    said = ("relationship_ended", at, "the customer closed the account on 1 April")
    dating.tell(vault.acting(olga), waiting, "dec-1", *said)
    told = last(vault, "record.dated")
    assert (told.actor, told.facts["by"], told.facts["seq"]) == (olga.name, 0, one)
    assert "April" not in str(told)
    assert until(vault, waiting, one) == "2031-04-01T16:00:00Z"


def test_who_tells_is_an_officer_and_what_is_told_has_happened(vault: Vault, waiting: Ledger, olga: Actor) -> None:
    take(vault, waiting, decision(1))
    now = vault.clock()
    for actor in (vault.actor, hire(vault, "anna", "auditor")):
        with pytest.raises(Denied, match="only a compliance officer"):
            dating.tell(vault.acting(actor), waiting, "dec-1", "relationship_ended", now, "because")
    for arguments, why in (
        (("dec-1", "decision_completed", now, "because"), "one of relationship_ended"),
        (("dec-1", "relationship_ended", now + 3_600_000_000, "because"), "has not happened"),
        (("dec-1", "relationship_ended", now, " "), "reason"),
        (("dec-77", "relationship_ended", now, "because"), "no record with this id"),
    ):
        with pytest.raises(UsageError, match=why):
            dating.tell(vault.acting(olga), waiting, *arguments)
    assert happened(vault, "record.dated") == []
    codes = [one.facts["code"] for one in happened(vault, "access.denied")]
    assert codes == ["role", "role", "unfit", "unfit"]
    assert len(happened(vault, "record.not_found")) == 1


def _at(vault: Vault, moment: str) -> Vault:
    return replace(vault, clock=lambda: leaf.microseconds(moment))
