"""Commits that go wrong beside others: what one caller suffers must not become everybody's trouble."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import Connection, text

from tests.support.acting import keyed
from tests.support.decisions import decision, spelled
from tests.support.vault import Installation
from vault import events, ledgers
from vault.checkpoints import Checkpoints
from vault.context import Vault
from vault.core.errors import Modified, Unavailable, VaultError
from vault.core.standing import Standing
from vault.db.engine import transact
from vault.events import Event, Ruling
from vault.recordline import Pending, RecordLine
from vault.settlement import Answer
from vault.settling import Status
from vault.verdict import worst


def _line(vault: Vault) -> RecordLine:
    return RecordLine(vault, ledgers.get(vault, "cn"), lambda _group: None)


def test_a_session_that_dies_while_it_announces_takes_nobodys_announcement_away(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database lets its lock go with the session; another appends; then the first writes what it had in mind."""
    reached, go_on = threading.Event(), threading.Event()
    spell = Checkpoints._signed
    first = threading.local()

    def held(self: Checkpoints, ledger: object, words: str) -> str:
        if getattr(first, "here", False) and words.startswith("pending "):
            first.here = False
            reached.set()
            go_on.wait(30)
        return spell(self, ledger, words)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkpoints, "_signed", held)
    with installation.opened() as one, installation.opened() as two:
        failed: list[VaultError] = []

        def append() -> None:
            first.here = True
            try:
                events.record(one, "person.known", {"person": "p-one"})
            except VaultError as error:
                failed.append(error)

        def after() -> None:
            events.record(two, "person.known", {"person": "p-two"})

        thread = threading.Thread(target=append)
        thread.start()
        assert reached.wait(30)
        with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state = 'idle in transaction'"
            )
        other = threading.Thread(target=after)
        other.start()
        other.join(0.5)  # with the protection it waits for the first; without it, it is done by now
        go_on.set()
        thread.join(60)
        other.join(60)
        events.record(two, "person.known", {"person": "p-three"})
    assert worst(installation.audit()) is None


def test_a_damaged_record_that_comes_again_fails_alone(installation: Installation) -> None:
    with installation.opened() as vault:
        key, line = keyed(vault, "psp-1", "cn"), _line(vault)
        known = spelled(decision(900))
        line.take([(1, known)], key)
        with installation.tampering() as connection:
            connection.execute(
                "UPDATE vault.sealed SET wrapped_key = overlay(wrapped_key placing '\\x00000000'::bytea from 20)"
                " WHERE record_id = 'dec-900'"
            )
        taken = line.take([(1, spelled(decision(901))), (2, known), (3, spelled(decision(902)))], key)
        assert isinstance(taken[1], Modified)
        for answer in (taken[0], taken[2]):
            assert isinstance(answer, Answer)
            assert answer.result.status is Status.ACCEPTED
            assert answer.receipt


def test_a_record_without_keys_fails_alone(installation: Installation) -> None:
    with installation.opened() as vault:
        key = keyed(vault, "psp-1", "cn")
        delivered: list[Pending] = []
        line = RecordLine(vault, ledgers.get(vault, "cn"), delivered.extend)
        raw = spelled(decision(903))
        waiting = line.sealers.seal(raw, "psp-1")  # nobody provided anything yet
        (good,) = line.sealers.seal_all([spelled(decision(904))], "psp-1")
        for outcome in (waiting, good):
            line.line.put(Pending(raw, key, outcome, None))
        line.line.run()
        assert isinstance(delivered[0].error, Unavailable)
        assert delivered[1].answer is not None


def test_a_day_that_turns_while_keys_are_fetched(installation: Installation) -> None:
    days = itertools.count(installation_now(), 86_400_000_000 // 2)
    with installation.opened() as vault:
        moving = replace(vault, clock=lambda: next(days))
        line = RecordLine(moving, ledgers.get(moving, "cn"), lambda _group: None)
        outcomes = line.sealers.seal_all([spelled(decision(905))], "psp-1")
        assert len(outcomes) == 1  # sealed, or told to wait: never an assertion


def installation_now() -> int:
    return 1_780_000_000_000_000


def test_sealing_does_not_wait_for_whoever_fetches_keys(installation: Installation) -> None:
    with installation.opened() as vault:
        line = _line(vault)
        with line.sealers._providing:
            done = threading.Thread(target=line.sealers.seal, args=(spelled(decision(906)), "psp-1"))
            done.start()
            done.join(30)
            assert not done.is_alive()


def test_producers_that_come_at_once_share_their_keys(installation: Installation) -> None:
    """Whoever is first on a cold ledger: keys that one was given are there for all."""
    with installation.opened() as vault:
        for _ in range(10):
            line = _line(vault)
            start = threading.Barrier(8)
            left: list[object] = []

            def seal(name: str, line: RecordLine, start: threading.Barrier, left: list[object]) -> None:
                start.wait()
                left.extend(line.sealers.seal_all([spelled(decision(907))], name))

            threads = [threading.Thread(target=seal, args=(f"psp-{number}", line, start, left)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            again = [line.sealers.seal(spelled(decision(908)), f"psp-{number}") for number in range(8)]
            assert {type(one).__name__ for one in [*left, *again]} == {"Item"}


def test_one_bad_ticket_leaves_its_group_alone(installation: Installation) -> None:
    with installation.opened() as vault:
        bad = events.Ticket(vault, [Event("grant.approved", {"nonsense": "x"})], None)
        worse = events.Ticket(vault, [Event("person.known", {"person": "no word: ü"})], None)

        def fail(_standing: Standing) -> Ruling[None]:
            raise RuntimeError("a bug")

        worst_of_all = events.Ticket(vault, (), fail)
        good = events.Ticket(vault, (), lambda _standing: Ruling([Event("person.known", {"person": "p-good"})], "done"))
        before = installation.size("events")
        events.commit([bad, worse, worst_of_all, good])
        assert [one.error is None for one in (bad, worse, worst_of_all, good)] == [False, False, False, True]
        assert (good.outcome, installation.size("events")) == ("done", before + 1)
    assert worst(installation.audit()) is None


def test_a_database_that_commits_lightly_is_told_not_to(installation: Installation) -> None:
    with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {installation.database.name} SET synchronous_commit = off")
    with installation.opened() as vault:
        found = transact(vault.engine, lambda connection: connection.scalar(text("SHOW synchronous_commit")))
    assert found == "on"


def test_a_statement_that_failed_unnoticed_is_no_commit(installation: Installation) -> None:
    def work(connection: Connection) -> str:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with pytest.raises(psycopg.Error):
            driver.execute("SELECT 1 / 0")
        return "all well"

    with installation.opened() as vault, pytest.raises(Unavailable, match="unnoticed"):
        transact(vault.engine, work)
