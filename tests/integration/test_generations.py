"""Generations: a group that is closed takes nothing any more, and whoever writes goes on under the next one."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from tests.support.acting import keyed
from tests.support.decisions import decision, decisions, spelled
from tests.support.generations import bury, destroy_key, only_stem, placed, states_of
from tests.support.serving import serving
from tests.support.vault import Installation
from vault import events, generations, intake, ledgers
from vault.context import Vault
from vault.core.errors import KeyGone, KeyUnavailable
from vault.core.flags import Flag
from vault.events import Event, Ruling
from vault.keys.ring import Ring
from vault.linking import GroupsClosed
from vault.recordline import Pending, RecordLine
from vault.settlement import Answer
from vault.settling import Status
from vault.verdict import Depth, worst

DATES = Flag.DATES_ANOTHER


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def retaining(installation: Installation) -> Iterator[Vault]:
    with installation.retaining() as opened:
        yield opened


def _statuses(results: object) -> set[str]:
    return {one.status.value for one in results}  # type: ignore[attr-defined]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_ingest_goes_on_under_the_next_generation(
    installation: Installation, vault: Vault, retaining: Vault, processes: int
) -> None:
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    lines = decisions(3500, first=1000)
    results = []
    for number, batch in enumerate(intake.ingest(vault, ledger, lines, "psp-1", processes=processes)):
        results += batch.results
        if number in (0, 2):
            live = generations.current(retaining, ledger.id, stem)
            assert live is not None
            generations.close(retaining, ledger.id, [live.group])
            destroy_key(retaining, ledger.id, live.group)  # as soon as it is closed: nobody may need it any more
    assert len(results) == 3500
    assert _statuses(results) == {"accepted"}
    assert states_of(installation) == {f"{stem}.0": "closing", f"{stem}.1": "closing", f"{stem}.2": "live"}
    lies = placed(installation)
    assert all(written == now for written, now in lies.values() if written)
    at = {result.line: lies[result.seq or 0][0] for result in results}
    assert [at[1000], at[1999], at[2000], at[3999], at[4000]] == [
        f"{stem}.0",
        f"{stem}.0",
        f"{stem}.1",
        f"{stem}.1",
        f"{stem}.2",
    ]
    assert installation.audit(Depth.ENVELOPES)
    assert worst(installation.audit(Depth.ENVELOPES)) is None


def test_single_records_go_on_under_the_next_generation(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    """A process with keys seals for another that commits; neither's keys may keep a record out."""
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
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
        destroy_key(retaining, ledger.id, live.group)
        for at, outcome in enumerate(early):
            raw = spelled(decision(2000 + 10 * generation + at))
            line.line.put(Pending(raw, key, outcome, None))
        line.line.run()
        assert [(one.error, one.answer and one.answer.result.status) for one in delivered[-2:]] == [
            (None, Status.ACCEPTED)
        ] * 2
        assert all(one.answer is not None and one.answer.receipt for one in delivered[-2:])
        lies = placed(installation)
        seqs = [one.answer.result.seq or 0 for one in delivered[-2:] if one.answer is not None]
        assert {lies[seq] for seq in seqs} == {(f"{stem}.{generation + 1}", f"{stem}.{generation + 1}")}
    assert worst(installation.audit(Depth.ENVELOPES)) is None


def test_sealed_elsewhere_under_a_group_that_is_known_to_be_closed(
    installation: Installation, vault: Vault, retaining: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that seals for another hears nothing of closed groups: that must not cost a transaction a record."""
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
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
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
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
    for seq, (_, now) in placed(installation).items():
        assert now not in sizes or seq < sizes[now]
    assert worst(installation.audit(Depth.OPEN)) is None


def test_what_people_do_is_told_under_the_next_generation(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    stem = only_stem(installation, "events")
    events.record(vault, "person.known", {"person": "p-1"}, {"name": "one"})
    generations.close(retaining, vault.events, [f"{stem}.0"])
    told = events.record(vault, "person.known", {"person": "p-2"}, {"name": "two"})
    destroy_key(retaining, vault.events, f"{stem}.0")
    ruled, outcome = events.rule(
        vault, lambda _standing: Ruling([Event("person.known", {"person": "p-3"}, {"name": "three"})], "done")
    )
    assert outcome == "done"
    lies = placed(installation, "events")
    assert lies[told.seq] == lies[ruled.seq] == (f"{stem}.1", f"{stem}.1")
    assert worst(installation.audit(Depth.ENVELOPES)) is None


def test_details_whose_key_died_while_nobody_wrote(installation: Installation, vault: Vault, retaining: Vault) -> None:
    """The ring has let the opened key go, and the provider has it no more: no act fails for that."""
    stem = only_stem(installation, "events")
    events.record(vault, "person.known", {"person": "p-1"}, {"name": "one"})
    bury(retaining, vault.events, f"{stem}.0")
    vault.ring.close()
    told = events.record(vault, "person.known", {"person": "p-2"}, {"name": "two"})
    assert placed(installation, "events")[told.seq] == (f"{stem}.1", f"{stem}.1")


def test_records_whose_key_died_while_nobody_wrote(installation: Installation, vault: Vault, retaining: Vault) -> None:
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    key = keyed(vault, "psp-1", "cn")
    line = RecordLine(vault, ledger, lambda _group: None)
    line.take([(1, spelled(decision(2000)))], key)
    bury(retaining, ledger.id, f"{stem}.0")
    vault.ring.close()
    (taken,) = line.take([(1, spelled(decision(2001)))], key)
    assert isinstance(taken, Answer)
    assert taken.result.status is Status.ACCEPTED


def test_a_key_that_died_before_it_had_a_group_is_passed_over(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    generations.close(retaining, ledger.id, [f"{stem}.0"])
    for generation in (1, 2):
        vault.ring.new_group(ledger.id, f"{stem}.{generation}")  # and then the process died, and somebody cleaned up
        destroy_key(retaining, ledger.id, f"{stem}.{generation}")
    assert _statuses(installation.ingest("cn", decisions(3, first=2000))) == {"accepted"}
    assert states_of(installation) == {f"{stem}.0": "closing", f"{stem}.3": "live"}


def test_a_living_group_whose_key_is_gone_is_no_reason_to_take_another(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    """Somebody destroyed it without any disposal: that must not pass in silence."""
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    destroy_key(retaining, ledger.id, f"{stem}.0")
    with pytest.raises(KeyGone):
        installation.ingest("cn", decisions(3, first=2000))
    assert states_of(installation) == {f"{stem}.0": "live"}


def test_an_outage_of_the_provider_does_not_bring_closed_keys_back(
    installation: Installation, vault: Vault, retaining: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of the last days go on while the provider is out, but not those of a group that was closed."""
    stem = only_stem(installation, "events")
    today = vault.clock()
    events.record(
        replace(vault, clock=lambda: today - 86_400_000_000), "person.known", {"person": "p-1"}, {"name": "1"}
    )

    def out(*_arguments: object) -> None:
        raise KeyUnavailable("the provider is out of reach")

    monkeypatch.setattr(Ring, "new_epoch", out)
    told = events.record(vault, "person.known", {"person": "p-2"}, {"name": "2"})
    assert placed(installation, "events")[told.seq] == (f"{stem}.0", f"{stem}.0")
    generations.close(retaining, vault.events, [f"{stem}.0"])
    size = installation.size("events")
    with pytest.raises(KeyUnavailable):
        events.record(vault, "person.known", {"person": "p-3"}, {"name": "3"})
    assert installation.size("events") == size + 1  # that a key was made
    assert max(placed(installation, "events")) == told.seq


def test_the_service_answers_as_ever_while_groups_are_closed(installation: Installation) -> None:
    """Small records are sealed by the process that commits, large ones by the one that was asked."""
    stem = only_stem(installation)
    with serving(installation, workers=1) as service:
        key = service.producer("psp-1", "cn")
        numbers = itertools.count(5000)
        for generation in range(3):
            for size in (10, 30_000, 10, 30_000):
                raw = spelled(decision(next(numbers), prompt="x" * size))
                answer = service.append("cn", key, raw)
                assert answer.status_code == 201, answer.text
                assert json.loads(answer.json()["leaf"])["group"] == f"{stem}.{generation}"
            with installation.retaining() as retaining:
                generations.close(retaining, installation.ledger("cn"), [f"{stem}.{generation}"])
                destroy_key(retaining, installation.ledger("cn"), f"{stem}.{generation}")


def test_a_record_that_dates_another_carries_its_flag(installation: Installation) -> None:
    lines = [
        (1, spelled(decision(2000, relates_to=[{"kind": "dates", "id": "dec-7"}]))),
        (2, spelled(decision(2001, relates_to=[{"kind": "retry_of", "id": "dec-7"}]))),
        (3, spelled(decision(2002))),
    ]
    assert _statuses(installation.ingest("cn", lines)) == {"accepted"}
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute("SELECT record_id, flags FROM vault.sealed WHERE record_id >= 'dec-2000'").fetchall()
    flagged = {name for name, flags in rows if name in ("dec-2000", "dec-2001", "dec-2002") and flags & DATES}
    assert flagged == {"dec-2000"}
    assert worst(installation.audit(Depth.OPEN)) is None
