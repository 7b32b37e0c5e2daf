"""Records that are dated after they were written: by follow-ups that producers send, and by officers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
from vault import events, followups, intake, ledgers
from vault.context import Actor, Vault
from vault.core import leaf
from vault.core.errors import Denied, Missing, Modified, UsageError
from vault.core.flags import Flag
from vault.db import groups
from vault.db.engine import transact
from vault.ledgers import Ledger
from vault.surveying import survey

Tampering = Callable[[], AbstractContextManager[psycopg.Connection[Any]]]

WAITS = book("waits", added=[{"id": "CN-REL", "jurisdiction": "CN", "minimum": "P5Y", "trigger": "relationship_ended"}])

REST = {"given_up": 0, "not_counted": 0}


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


@pytest.fixture
def tampering(vault: Vault, bare: Installation) -> Tampering:
    """A connection that may do what only the database's owner may."""
    with vault.engine.connect() as connection:
        name = connection.connection.driver_connection.info.dbname  # type: ignore[union-attr]

    @contextmanager
    def connected() -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(make_conninfo(bare.database.superuser_dsn, dbname=name)) as owner:
            owner.execute("SET session_replication_role = replica")
            yield owner

    return connected


def take(vault: Vault, ledger: Ledger, *documents: dict[str, Any], producer: str = "psp-1") -> list[int]:
    lines = [(at, spelled(one)) for at, one in enumerate(documents, 1)]
    results = [one for batch in intake.ingest(vault, ledger, lines, producer) for one in batch.results]
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
    assert dating.date_all(vault) == {"opened": 1, "dated": 1, "waiting": 0} | REST
    told = last(vault, "record.dated")
    assert told.facts == {
        "ledger": str(waiting.id),
        "seq": one,
        "trigger": "relationship_ended",
        "at": "2027-07-01T00:00:00Z",  # when it was reported
        "by": seq,
        "break_glass": 1,
    }
    assert until(vault, waiting, one) == "2032-07-01T16:00:00Z"
    assert until(vault, waiting, other) is None
    assert dict(effects(vault, waiting)[one].triggers)["relationship_ended"] == leaf.microseconds(
        "2027-07-01T00:00:00Z"
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


def test_many_entries_without_a_follow_up_are_looked_at_once(
    vault: Vault, waiting: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dating, "_WORTH_TELLING", 3)
    looked: list[int] = []
    positions = followups.positions

    def look(vault: Vault, ledger: Ledger, first: int, end: int) -> list[int]:
        looked.append(first)
        return positions(vault, ledger, first, end)

    monkeypatch.setattr(followups, "positions", look)
    take(vault, waiting, decision(1), decision(2))
    assert dating.date_all(vault, waiting)["opened"] == 0
    assert not happened(vault, "followups.read")  # so few are looked at again
    take(vault, waiting, decision(3))
    waiting = ledgers.get(vault, waiting.row.name)
    assert dating.date_all(vault, waiting)["opened"] == 0
    take(vault, waiting, follow_up(4, "dec-1"))
    assert dating.date_all(vault, ledgers.get(vault, waiting.row.name))["dated"] == 1
    assert looked == [0, 0, 4]


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
    assert dating.date_all(vault) == {"opened": 1, "dated": 0, "waiting": 0} | REST
    assert len(happened(vault, "record.dated")) == 1


def test_a_follow_up_that_came_first_waits_for_its_record(vault: Vault, waiting: Ledger) -> None:
    take(vault, waiting, follow_up(2, "dec-1", "dec-3"), decision(3))
    assert dating.date_all(vault) == {"opened": 1, "dated": 1, "waiting": 1} | REST
    (seq,) = take(vault, waiting, decision(1))
    assert dating.date_all(vault) == {"opened": 1, "dated": 1, "waiting": 0} | REST
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


def test_nobody_dates_back_what_waits_and_no_other_producer_ends_it(vault: Vault, waiting: Ledger) -> None:
    one, other = take(vault, waiting, decision(1, jurisdictions=["CN"]), decision(2, jurisdictions=["CN"]))
    vault = _at(vault, "2033-06-01T00:00:00")
    backdated = {"occurred_at": decision(1)["occurred_at"], "jurisdictions": ["CN"]}
    take(vault, waiting, follow_up(3, "dec-1", **backdated), producer="somebody")
    assert dating.date_all(vault) == {"opened": 1, "dated": 0, "waiting": 0, "given_up": 0, "not_counted": 1}
    assert last(vault, "followups.read").facts["not_counted"] == 1
    assert until(vault, waiting, one) is None
    take(vault, waiting, follow_up(4, "dec-2", **backdated))
    assert dating.date_all(vault)["dated"] == 1
    assert until(vault, waiting, other) == "2038-06-01T16:00:00Z"


def test_others_still_lengthen(vault: Vault) -> None:
    ledger = ledgers.create(vault, "aml", ("CN",), ("CN-AML-34",))
    (one,) = take(vault, ledger, decision(1, occurred_at="2026-01-05T10:00:00+08:00"))
    take(vault, ledger, follow_up(2, "dec-1", occurred_at="2026-03-01T10:00:00+08:00"), producer="somebody")
    assert dating.date_all(vault)["dated"] == 1
    assert until(vault, ledger, one) == "2036-03-01T16:00:00Z"


def test_one_producer_pushes_out_no_others_follow_ups(
    vault: Vault, waiting: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dating, "_MOST_WAITING", 3)
    (first,) = take(vault, waiting, follow_up(1, "dec-90"))
    take(vault, waiting, *[follow_up(number, "dec-91") for number in range(2, 8)], producer="loud")
    counts = dating.date_all(vault)
    assert (counts["waiting"], counts["given_up"]) == (3, 4)
    assert first in last(vault, "followups.read").facts["waiting_for"]


@pytest.mark.parametrize("edit", ["flags = 0", "record_id = 'dec-9'", "salt = NULL"])
def test_a_hidden_follow_up_stops_its_ledger_until_it_is_back(
    vault: Vault, waiting: Ledger, tampering: Tampering, edit: str
) -> None:
    other = ledgers.create(vault, "other", ("CN",), ("CN-REL",))
    take(vault, other, decision(1), follow_up(2, "dec-1"))
    take(vault, waiting, decision(1), follow_up(2, "dec-1"))
    with tampering() as owner:
        owner.execute("CREATE TABLE public.kept AS SELECT * FROM vault.sealed WHERE seq = 2")
        owner.execute(f"UPDATE vault.sealed SET {edit} WHERE ledger_id = %s AND seq = 2", [waiting.id])
    with pytest.raises(Modified):
        dating.date_all(vault)
    assert [one.facts["ledger"] for one in happened(vault, "followups.read")] == [str(other.id)]
    column = edit.partition(" ")[0]
    with tampering() as owner:
        owner.execute(
            f"UPDATE vault.sealed AS s SET {column} = k.{column} FROM public.kept AS k"
            " WHERE s.ledger_id = k.ledger_id AND s.seq = k.seq"
        )
    assert dating.date_all(vault)["dated"] == 1


def test_a_follow_up_that_is_not_there_stops_its_ledger(vault: Vault, waiting: Ledger, tampering: Tampering) -> None:
    take(vault, waiting, decision(1), follow_up(2, "dec-1"))
    with tampering() as owner:
        owner.execute("DELETE FROM vault.sealed WHERE seq = 2")
    with pytest.raises(Missing, match="seq 2"):
        dating.date_all(vault)
    assert happened(vault, "followups.opened") == []


def test_a_waiting_follow_up_that_went_away_stops_its_ledger(
    vault: Vault, waiting: Ledger, tampering: Tampering
) -> None:
    take(vault, waiting, follow_up(2, "dec-9"))
    assert dating.date_all(vault)["waiting"] == 1
    with tampering() as owner:
        owner.execute("DELETE FROM vault.sealed WHERE seq = 1")
    take(vault, waiting, decision(9))
    with pytest.raises(Missing, match="seq 1"):
        dating.date_all(vault)


def test_a_record_that_is_hidden_from_its_follow_up_stops_its_ledger(
    vault: Vault, waiting: Ledger, tampering: Tampering
) -> None:
    take(vault, waiting, decision(1), follow_up(2, "dec-1", "dec-9"))
    with tampering() as owner:
        edited = "UPDATE vault.entry SET id_tag = decode(repeat('00', 16), 'hex') WHERE ledger_id = %s AND seq = 1"
        owner.execute(edited, [waiting.id])
    with pytest.raises(Modified, match="seq 1"):
        dating.date_all(vault)
    assert happened(vault, "followups.read") == []


def test_a_damaged_follow_up_stops_its_ledger_and_the_others_of_it_count(
    vault: Vault, waiting: Ledger, tampering: Tampering
) -> None:
    take(vault, waiting, decision(1), follow_up(2, "dec-1"), follow_up(3, "dec-1"))
    with tampering() as owner:
        owner.execute(
            "UPDATE vault.sealed SET envelope = set_byte(envelope, 60, 255 - get_byte(envelope, 60)) WHERE seq = 2"
        )
    for _ in range(2):
        with pytest.raises(Modified, match="seq 2"):
            dating.date_all(vault)
    assert [one.facts["by"] for one in happened(vault, "record.dated")] == [3]
    assert happened(vault, "followups.read") == []


def test_an_officer_tells_of_what_no_follow_up_reports(vault: Vault, waiting: Ledger, olga: Actor) -> None:
    (one,) = take(vault, waiting, decision(1, jurisdictions=["CN"]))
    at = leaf.microseconds("2026-03-31T16:00:00Z")
    said = ("relationship_ended", at, "the customer closed the account on 1 April")
    nothing = dating.tell(vault.acting(olga), waiting, "dec-1", "transaction_completed", at, "the money moved")
    assert dating.change(vault, waiting, nothing) == (None, None)
    event = dating.tell(vault.acting(olga), waiting, "dec-1", *said)
    assert dating.change(vault, waiting, event) == (None, leaf.microseconds("2031-04-01T16:00:00Z") // 1_000_000)
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
