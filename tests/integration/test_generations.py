"""Generations: a group that is closed takes nothing any more, and whoever writes goes on under the next one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Connection

from tests.support.acting import granted, hire, keyed
from tests.support.decisions import decision, decisions, spelled
from tests.support.vault import RECORDS, Installation
from vault import events, generations, intake, ledgers, opening, reading, search
from vault.context import Vault
from vault.core import canonical, leaf, packing
from vault.core.errors import KeyGone, KeyUnavailable, Misconfigured, UsageError
from vault.core.groups import stem_of
from vault.core.leaf import RecordLeaf
from vault.core.parse import parse
from vault.core.record import Record
from vault.db import groups, store
from vault.db.engine import transact
from vault.events import Event, Ruling
from vault.keys.ring import GroupKeys, GroupRow, Ring, group_ref
from vault.ledgers import Ledger
from vault.linking import GroupsClosed, Item, append
from vault.provision import Provisioner
from vault.recordline import Pending, RecordLine
from vault.sealing import blind_tags
from vault.search import Wanted
from vault.settlement import Answer
from vault.settling import Status
from vault.verdict import Depth, worst


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def retaining(installation: Installation) -> Iterator[Vault]:
    with installation.retaining() as opened:
        yield opened


def _groups(installation: Installation, ledger: str = "cn") -> dict[str, str]:
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute(
            "SELECT name, state FROM vault.key_group WHERE ledger_id = %s ORDER BY name", [installation.ledger(ledger)]
        )
        return dict(rows.fetchall())


def _placed(installation: Installation, ledger: str = "cn") -> dict[int, tuple[str, str]]:
    """Return (group that the leaf names, group that the record is in now) of every sealed entry."""
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute(
            "SELECT s.seq, n.leaf, e.group_name FROM vault.sealed s JOIN vault.entry n USING (ledger_id, seq)"
            " JOIN vault.epoch e USING (ledger_id, epoch_id) WHERE s.ledger_id = %s",
            [installation.ledger(ledger)],
        ).fetchall()
    return {row[0]: (str(getattr(leaf.parse(packing.unpack(row[1])), "group", "")), row[2]) for row in rows}


def _stem(installation: Installation, ledger: str = "cn") -> str:
    (stem,) = {stem_of(name) for name in _groups(installation, ledger)}
    return stem


def _statuses(results: object) -> set[str]:
    return {one.status.value for one in results}  # type: ignore[attr-defined]


def _destroyed(vault: Vault, ledger: UUID, name: str) -> None:
    """Destroy a group's provider key, as the last steps of a disposal do."""
    now = datetime.now(UTC)
    vault.provider.schedule_destroy(group_ref(ledger, name), now)
    vault.provider.destroy_due(now)


def _buried(vault: Vault, ledger: UUID, name: str) -> None:
    """Close a group, destroy its key, and delete what opened under it."""
    generations.close(vault, ledger, [name])
    _destroyed(vault, ledger, name)
    _mark(vault, ledger, name)
    for statement in (
        "UPDATE vault.key_group SET index_key = '' WHERE ledger_id = %s AND name = %s",
        "UPDATE vault.epoch SET wrapped = '' WHERE ledger_id = %s AND group_name = %s",
    ):
        _execute(vault, statement, ledger, name)
    vault.ring.forget(ledger, name)


def _execute(vault: Vault, statement: str, *values: object) -> None:
    def work(connection: Connection) -> None:
        connection.exec_driver_sql(statement, values)

    transact(vault.engine, work)


def _mark(vault: Vault, ledger: UUID, name: str) -> None:
    transact(vault.engine, lambda connection: generations.mark_destroyed(connection, ledger, [name]))


def test_a_group_dies_in_three_steps_and_each_can_be_made_again(installation: Installation, retaining: Vault) -> None:
    ledger, stem = installation.ledger("cn"), _stem(installation)
    first = f"{stem}.0"
    found = generations.current(retaining, ledger, stem)
    assert found is not None
    assert found.group == first
    assert generations.next_name(retaining, ledger, stem) == f"{stem}.1"
    assert generations.next_name(retaining, ledger, "held") == "held.0"
    for _ in range(2):
        generations.close(retaining, ledger, [first])
        assert generations.current(retaining, ledger, stem) is None
        assert transact(retaining.engine, lambda one: generations.closed(one, ledger)) == {first}
    for _ in range(2):
        _mark(retaining, ledger, first)
        assert transact(retaining.engine, lambda one: generations.states(one, ledger)) == {first: "destroyed"}
    generations.close(retaining, ledger, [first])  # nothing goes back
    assert _groups(installation) == {first: "destroyed"}
    assert generations.next_name(retaining, ledger, stem) == f"{stem}.1"


def test_what_was_never_there_is_not_closed_and_what_lives_is_not_marked(
    installation: Installation, retaining: Vault
) -> None:
    ledger, stem = installation.ledger("cn"), _stem(installation)
    with pytest.raises(UsageError, match=r"never had a group held\.4"):
        generations.close(retaining, ledger, [f"{stem}.0", "held.4"])
    for name in (f"{stem}.0", "held.4"):
        with pytest.raises(UsageError, match="is not closing"):
            _mark(retaining, ledger, name)
    assert _groups(installation) == {f"{stem}.0": "live"}


def test_the_service_closes_nothing(installation: Installation, vault: Vault) -> None:
    with pytest.raises(Misconfigured):
        generations.close(vault, installation.ledger("cn"), [f"{_stem(installation)}.0"])


def test_whoever_closes_forgets_the_keys(installation: Installation, retaining: Vault) -> None:
    ledger, name = installation.ledger("cn"), f"{_stem(installation)}.0"
    found = generations.current(retaining, ledger, stem_of(name))
    assert found is not None
    retaining.ring.open_index_key(found)
    generations.close(retaining, ledger, [name])
    _destroyed(retaining, ledger, name)
    with pytest.raises(KeyGone):
        retaining.ring.open_index_key(found)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_ingest_goes_on_under_the_next_generation(
    installation: Installation, vault: Vault, retaining: Vault, processes: int
) -> None:
    ledger, stem = ledgers.get(vault, "cn"), _stem(installation)
    lines = decisions(3500, first=1000)
    results = []
    for number, batch in enumerate(intake.ingest(vault, ledger, lines, "psp-1", processes=processes)):
        results += batch.results
        if number in (0, 2):
            live = generations.current(retaining, ledger.id, stem)
            assert live is not None
            generations.close(retaining, ledger.id, [live.group])
            _destroyed(retaining, ledger.id, live.group)  # as soon as it is closed: nobody may need it any more
    assert len(results) == 3500
    assert _statuses(results) == {"accepted"}
    assert _groups(installation) == {f"{stem}.0": "closing", f"{stem}.1": "closing", f"{stem}.2": "live"}
    placed = _placed(installation)
    assert all(written == now for written, now in placed.values() if written)
    at = {result.line: placed[result.seq or 0][0] for result in results}
    assert [at[1000], at[1999], at[2000], at[3999], at[4000]] == [
        f"{stem}.0",
        f"{stem}.0",
        f"{stem}.1",
        f"{stem}.1",
        f"{stem}.2",
    ]
    assert installation.audit(Depth.ENVELOPES)
    assert worst(installation.audit(Depth.ENVELOPES)) is None


def test_keys_that_a_writer_holds_are_of_no_use_once_their_group_is_closed(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    """Sealed before, linked after: the transaction that stores the keys refuses them."""
    ledger, name = ledgers.get(vault, "cn"), f"{_stem(installation)}.0"
    line = RecordLine(vault, ledger, lambda _group: None)
    (item,) = line.sealers.seal_all([spelled(decision(2000))], "psp-1")
    assert isinstance(item, Item)
    assert item.group == name
    generations.close(retaining, ledger.id, [name])
    size = installation.size("cn")
    with pytest.raises(GroupsClosed) as refusal:
        append(vault.engine, vault.checkpoints, ledger.id, lambda _connection: [item])
    assert refusal.value.groups == {name}
    assert installation.size("cn") == size


def test_a_group_that_no_row_tells_of_takes_nothing(vault: Vault) -> None:
    ledger = ledgers.get(vault, "cn")
    line = RecordLine(vault, ledger, lambda _group: None)
    (item,) = line.sealers.seal_all([spelled(decision(2000))], "psp-1")
    assert isinstance(item, Item)
    with pytest.raises(GroupsClosed):
        append(vault.engine, vault.checkpoints, ledger.id, lambda _connection: [item._replace(group="held.7")])


def _blocked(installation: Installation) -> None:
    """Wait until some session of this database waits for a lock."""
    with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
        for _ in range(3000):
            found = connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            if found is not None:
                return
            time.sleep(0.01)
    raise AssertionError("nobody waits for the lock")


def test_a_writer_that_waits_while_a_group_is_closed_sees_it(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    """The states are read after the lock is had, not with it: what was committed meanwhile counts."""
    ledger, name = ledgers.get(vault, "cn"), f"{_stem(installation)}.0"
    line = RecordLine(vault, ledger, lambda _group: None)
    (item,) = line.sealers.seal_all([spelled(decision(2000))], "psp-1")
    assert isinstance(item, Item)
    left: list[Exception] = []

    def write() -> None:
        try:
            append(vault.engine, vault.checkpoints, ledger.id, lambda _connection: [item])
        except GroupsClosed as error:
            left.append(error)

    thread = threading.Thread(target=write)

    def work(connection: Connection) -> None:
        store.lock_head(connection, ledger.id)
        groups.move_state(connection, ledger.id, [name], "live", "closing")
        thread.start()
        _blocked(installation)

    transact(retaining.engine, work)
    thread.join(30)
    assert [type(one) for one in left] == [GroupsClosed]


def test_closing_waits_for_the_commit_that_is_under_way(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    """Without the head's lock it would be done before the record that is still on its way in."""
    ledger, name = ledgers.get(vault, "cn"), f"{_stem(installation)}.0"
    line = RecordLine(vault, ledger, lambda _group: None)
    (item,) = line.sealers.seal_all([spelled(decision(2000))], "psp-1")
    assert isinstance(item, Item)
    closed_at: list[int] = []

    def close() -> None:
        generations.close(retaining, ledger.id, [name])
        closed_at.append(installation.size("cn"))

    thread = threading.Thread(target=close)

    def choose(_connection: Connection) -> list[Item]:
        thread.start()
        _blocked(installation)
        return [item]

    appended = append(vault.engine, vault.checkpoints, ledger.id, choose)
    thread.join(30)
    assert closed_at == [appended.after.size]


def test_single_records_go_on_under_the_next_generation(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    """A process with keys seals for another that commits; neither's keys may keep a record out."""
    ledger, stem = ledgers.get(vault, "cn"), _stem(installation)
    key = keyed(vault, "psp-1", "cn")
    delivered: list[Pending] = []
    line = RecordLine(vault, ledger, delivered.extend)
    here = RecordLine(vault, ledger, lambda _group: None)  # the other process: its keys are its own
    for generation in range(3):
        early = [here.sealers.seal_all([spelled(decision(2000 + 10 * generation + at))], "psp-1")[0] for at in (0, 1)]
        taken = line.take([(1, spelled(decision(2005 + 10 * generation)))], key)
        assert [type(one) for one in taken] == [Answer]
        live = generations.current(retaining, ledger.id, stem)
        assert live is not None
        assert live.group == f"{stem}.{generation}"
        generations.close(retaining, ledger.id, [live.group])
        _destroyed(retaining, ledger.id, live.group)
        for at, outcome in enumerate(early):
            raw = spelled(decision(2000 + 10 * generation + at))
            line.line.put(Pending(raw, key, outcome, None))
        line.line.run()
        assert [(one.error, one.answer and one.answer.result.status) for one in delivered[-2:]] == [
            (None, Status.ACCEPTED)
        ] * 2
        assert all(one.answer is not None and one.answer.receipt for one in delivered[-2:])
        placed = _placed(installation)
        seqs = [one.answer.result.seq or 0 for one in delivered[-2:] if one.answer is not None]
        assert {placed[seq] for seq in seqs} == {(f"{stem}.{generation + 1}", f"{stem}.{generation + 1}")}
    assert worst(installation.audit(Depth.ENVELOPES)) is None


def test_sealed_elsewhere_under_a_group_that_is_known_to_be_closed(
    installation: Installation, vault: Vault, retaining: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that seals for another hears nothing of closed groups: that must not cost a transaction a record."""
    ledger, stem = ledgers.get(vault, "cn"), _stem(installation)
    key, delivered = keyed(vault, "psp-1", "cn"), list[Pending]()
    line, here = RecordLine(vault, ledger, delivered.extend), RecordLine(vault, ledger, lambda _group: None)
    here.sealers.provide([stem])
    generations.close(retaining, ledger.id, [f"{stem}.0"])
    tries = []
    refuse = GroupsClosed.__init__

    def counted(self: GroupsClosed, names: frozenset[str]) -> None:
        tries.append(names)
        refuse(self, names)

    monkeypatch.setattr(GroupsClosed, "__init__", counted)
    for number in range(2000, 2005):
        raw = spelled(decision(number))
        line.line.put(Pending(raw, key, here.sealers.seal(raw, "psp-1"), None))
        line.line.run()
    assert [one.error for one in delivered] == [None] * 5
    assert tries == [{f"{stem}.0"}]


def test_nothing_enters_a_closed_group_whoever_writes_meanwhile(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    ledger, stem = ledgers.get(vault, "cn"), _stem(installation)
    key = keyed(vault, "psp-1", "cn")
    line = RecordLine(vault, ledger, lambda _group: None)
    sizes: dict[str, int] = {}
    left: list[object] = []

    def write(first: int) -> None:
        for number in range(first, first + 40, 2):
            left.extend(line.take([(at, spelled(decision(at))) for at in (number, number + 1)], key))

    writers = [threading.Thread(target=write, args=(first,)) for first in (3000, 4000)]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers) and len(sizes) < 6:
        live = generations.current(retaining, ledger.id, stem)
        if live is not None:
            generations.close(retaining, ledger.id, [live.group])
            sizes[live.group] = installation.size("cn")
    for thread in writers:
        thread.join(60)
    assert {type(one) for one in left} == {Answer}
    assert len(left) == 80
    assert sizes
    for seq, (_, now) in _placed(installation).items():
        assert now not in sizes or seq < sizes[now]
    assert worst(installation.audit(Depth.OPEN)) is None


def test_what_people_do_is_told_under_the_next_generation(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    stem = _stem(installation, "events")
    events.record(vault, "person.known", {"person": "p-1"}, {"name": "one"})
    generations.close(retaining, vault.events, [f"{stem}.0"])
    told = events.record(vault, "person.known", {"person": "p-2"}, {"name": "two"})
    _destroyed(retaining, vault.events, f"{stem}.0")
    ruled, outcome = events.rule(
        vault, lambda _standing: Ruling([Event("person.known", {"person": "p-3"}, {"name": "three"})], "done")
    )
    assert outcome == "done"
    placed = _placed(installation, "events")
    assert placed[told.seq] == placed[ruled.seq] == (f"{stem}.1", f"{stem}.1")
    assert worst(installation.audit(Depth.ENVELOPES)) is None


def test_details_whose_key_died_while_nobody_wrote(installation: Installation, vault: Vault, retaining: Vault) -> None:
    """The ring has let the opened key go, and the provider has it no more: no act fails for that."""
    stem = _stem(installation, "events")
    events.record(vault, "person.known", {"person": "p-1"}, {"name": "one"})
    _buried(retaining, vault.events, f"{stem}.0")
    vault.ring.close()
    told = events.record(vault, "person.known", {"person": "p-2"}, {"name": "two"})
    assert _placed(installation, "events")[told.seq] == (f"{stem}.1", f"{stem}.1")


def test_records_whose_key_died_while_nobody_wrote(installation: Installation, vault: Vault, retaining: Vault) -> None:
    ledger, stem = ledgers.get(vault, "cn"), _stem(installation)
    key = keyed(vault, "psp-1", "cn")
    line = RecordLine(vault, ledger, lambda _group: None)
    line.take([(1, spelled(decision(2000)))], key)
    _buried(retaining, ledger.id, f"{stem}.0")
    vault.ring.close()
    (taken,) = line.take([(1, spelled(decision(2001)))], key)
    assert isinstance(taken, Answer)
    assert taken.result.status is Status.ACCEPTED


def test_a_key_that_died_before_it_had_a_group_is_passed_over(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    ledger, stem = ledgers.get(vault, "cn"), _stem(installation)
    generations.close(retaining, ledger.id, [f"{stem}.0"])
    for generation in (1, 2):
        vault.ring.new_group(ledger.id, f"{stem}.{generation}")  # and then the process died, and somebody cleaned up
        _destroyed(retaining, ledger.id, f"{stem}.{generation}")
    assert _statuses(installation.ingest("cn", decisions(3, first=2000))) == {"accepted"}
    assert _groups(installation) == {f"{stem}.0": "closing", f"{stem}.3": "live"}


def test_a_living_group_whose_key_is_gone_is_no_reason_to_take_another(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    """Somebody destroyed it without any disposal: that must not pass in silence."""
    ledger, stem = ledgers.get(vault, "cn"), _stem(installation)
    _destroyed(retaining, ledger.id, f"{stem}.0")
    with pytest.raises(KeyGone):
        installation.ingest("cn", decisions(3, first=2000))
    assert _groups(installation) == {f"{stem}.0": "live"}


def test_a_moved_record_is_found_opened_and_verified_where_it_is_now(
    installation: Installation, retaining: Vault, vault: Vault
) -> None:
    ledger = ledgers.get(vault, "cn")
    stem = _stem(installation)
    (keys,) = Provisioner(retaining, ledger.id, events.key_created(retaining)).provide(["held"], retaining.clock())
    seqs = _move(retaining, ledger, keys, ["dec-3", "dec-4"])
    assert {_placed(installation)[seq] for seq in seqs} == {(f"{stem}.0", "held.0")}
    assert worst(installation.audit(Depth.OPEN)) is None
    assert reading.read(vault, ledger, "dec-3", "looking").raw == spelled(decision(3))
    auditor, officer = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    granted(vault, auditor, officer, ["cn"])

    def found(**terms: str) -> set[str]:
        page = search.search(vault.acting(auditor), ledger, Wanted(limit=500, **terms))  # type: ignore[arg-type]
        return {row.facets.record_id for row in page.rows}

    alike = {f"dec-{number}" for number in range(1, RECORDS["cn"] + 1) if number % 7 == 3}
    assert found(customer="cus-3") == alike
    _buried(retaining, ledger.id, f"{stem}.0")
    vault.ring.close()
    assert found(customer="cus-3") == {"dec-3"}  # the others are under no key any more
    assert found(transaction="txn-4") == {"dec-4"}
    assert found(transaction="txn-5") == set()
    assert reading.read(vault, ledger, "dec-4", "looking").raw == spelled(decision(4))
    with pytest.raises(KeyGone):
        reading.read(vault, ledger, "dec-5", "looking")


def test_a_search_goes_on_while_a_key_dies(installation: Installation, retaining: Vault, vault: Vault) -> None:
    """Between the key's destruction and the word of it in the database."""
    ledger, stem = ledgers.get(vault, "cn"), _stem(installation)
    auditor, officer = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    granted(vault, auditor, officer, ["cn"])
    (keys,) = Provisioner(retaining, ledger.id, events.key_created(retaining)).provide(["held"], retaining.clock())
    _move(retaining, ledger, keys, ["dec-3"])
    generations.close(retaining, ledger.id, [f"{stem}.0"])
    _destroyed(retaining, ledger.id, f"{stem}.0")
    page = search.search(vault.acting(auditor), ledger, Wanted(transaction="txn-3"))
    assert [row.facets.record_id for row in page.rows] == ["dec-3"]


def test_a_search_hears_of_a_group_that_is_made_while_it_looks(
    installation: Installation, retaining: Vault, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record may move into it after the terms were computed, and must not slip through."""
    ledger = ledgers.get(vault, "cn")
    auditor, officer = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    granted(vault, auditor, officer, ["cn"])
    compute, moved = search._tags, list[int]()

    def computed(*arguments: object) -> object:
        tags = compute(*arguments)  # type: ignore[arg-type]
        if not moved:
            provisioner = Provisioner(retaining, ledger.id, events.key_created(retaining))
            moved.extend(_move(retaining, ledger, provisioner.provide(["held"], retaining.clock())[0], ["dec-3"]))
        return tags

    monkeypatch.setattr(search, "_tags", computed)
    page = search.search(vault.acting(auditor), ledger, Wanted(transaction="txn-3"))
    assert [row.seq for row in page.rows] == moved


def test_a_key_that_is_wiped_says_so(installation: Installation, retaining: Vault, vault: Vault) -> None:
    ledger, stem = ledgers.get(vault, "cn"), _stem(installation)
    row = transact(vault.engine, lambda one: next(iter(store.fetch_entries(one, ledger.id, [1]))))
    assert row.leaf is not None
    assert row.sealed is not None
    place = leaf.parse(packing.unpack(row.leaf))
    assert isinstance(place, RecordLeaf)
    _buried(retaining, ledger.id, f"{stem}.0")
    opener = opening.Opener(vault.engine, vault.ring, ledger.id)
    with pytest.raises(KeyGone, match=f"group {stem}.0 is destroyed"):
        opener.open(place, row.sealed)
    with pytest.raises(KeyGone, match=f"group {stem}.0 has no index key"):
        opener.blind_tags(row.sealed, _record(spelled(decision(1))))


def _record(raw: bytes) -> Record:
    return parse(raw, now_us=2**51).record


def _move(vault: Vault, ledger: Ledger, keys: GroupKeys, ids: list[str]) -> list[int]:
    """Re-wrap records' keys under another group, as survivors of a disposal are."""
    ring: Ring = vault.ring
    opener = opening.Opener(vault.engine, ring, ledger.id)
    index_key = ring.open_index_key(GroupRow(ledger.id, keys.group.group, keys.group.key_ref, keys.group.index_key))
    with vault.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT seq FROM vault.sealed WHERE ledger_id = %s AND record_id = ANY(%s)", (ledger.id, ids)
        )
        seqs = sorted(found.scalars())
    for row in transact(vault.engine, lambda one: list(store.fetch_entries(one, ledger.id, seqs))):
        assert row.leaf is not None
        assert row.sealed is not None
        place = leaf.parse(packing.unpack(row.leaf))
        assert isinstance(place, RecordLeaf)
        record_key, raw = opener.record_key(place, row.sealed), opener.open(place, row.sealed)
        wrapped = ring.wrap_record_key(keys.epoch, record_key, _commitment(place))
        tags = blind_tags(index_key, _record(raw))
        _execute(
            vault,
            "UPDATE vault.sealed SET epoch_id = %s, wrapped_key = %s, conversation_tag = %s, transaction_tag = %s,"
            " customer_tag = %s WHERE ledger_id = %s AND seq = %s",
            *(keys.epoch.epoch_id, wrapped, *tags, ledger.id, row.seq),
        )
    return seqs


def _commitment(place: RecordLeaf) -> bytes:
    return canonical.unb64(place.key, 32)


def test_an_outage_of_the_provider_does_not_bring_closed_keys_back(
    installation: Installation, vault: Vault, retaining: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of the last days go on while the provider is out, but not those of a group that was closed."""
    stem = _stem(installation, "events")
    today = vault.clock()
    events.record(
        replace(vault, clock=lambda: today - 86_400_000_000), "person.known", {"person": "p-1"}, {"name": "1"}
    )

    def out(*_arguments: object) -> None:
        raise KeyUnavailable("the provider is out of reach")

    monkeypatch.setattr(Ring, "new_epoch", out)
    told = events.record(vault, "person.known", {"person": "p-2"}, {"name": "2"})
    assert _placed(installation, "events")[told.seq] == (f"{stem}.0", f"{stem}.0")
    generations.close(retaining, vault.events, [f"{stem}.0"])
    size = installation.size("events")
    with pytest.raises(KeyUnavailable):
        events.record(vault, "person.known", {"person": "p-3"}, {"name": "3"})
    assert installation.size("events") == size + 1  # that a key was made
    assert max(_placed(installation, "events")) == told.seq
