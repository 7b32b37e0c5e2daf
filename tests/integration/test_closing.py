"""Closing a group: in which order it dies, and that linking looks at its state under the lock that closing takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection

from tests.support.decisions import decision, spelled
from tests.support.generations import destroy_key, mark, only_stem, states_of
from tests.support.vault import Installation
from vault import generations, ledgers
from vault.context import Vault
from vault.core.errors import KeyGone, Misconfigured, UsageError
from vault.core.groups import stem_of
from vault.db import groups, store
from vault.db.engine import transact
from vault.linking import GroupsClosed, Item, append
from vault.recordline import RecordLine


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def retaining(installation: Installation) -> Iterator[Vault]:
    with installation.retaining() as opened:
        yield opened


def test_a_group_dies_in_three_steps_and_each_can_be_made_again(installation: Installation, retaining: Vault) -> None:
    ledger, stem = installation.ledger("cn"), only_stem(installation)
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
        mark(retaining, ledger, first)
        assert transact(retaining.engine, lambda one: generations.states(one, ledger)) == {first: "destroyed"}
    generations.close(retaining, ledger, [first])  # nothing goes back
    assert states_of(installation) == {first: "destroyed"}
    assert generations.next_name(retaining, ledger, stem) == f"{stem}.1"


def test_what_was_never_there_is_not_closed_and_what_lives_is_not_marked(
    installation: Installation, retaining: Vault
) -> None:
    ledger, stem = installation.ledger("cn"), only_stem(installation)
    with pytest.raises(UsageError, match=r"never had a group held\.4"):
        generations.close(retaining, ledger, [f"{stem}.0", "held.4"])
    for name in (f"{stem}.0", "held.4"):
        with pytest.raises(UsageError, match="is not closing"):
            mark(retaining, ledger, name)
    assert states_of(installation) == {f"{stem}.0": "live"}


def test_the_service_closes_nothing(installation: Installation, vault: Vault) -> None:
    with pytest.raises(Misconfigured):
        generations.close(vault, installation.ledger("cn"), [f"{only_stem(installation)}.0"])


def test_whoever_closes_forgets_the_keys(installation: Installation, retaining: Vault) -> None:
    ledger, name = installation.ledger("cn"), f"{only_stem(installation)}.0"
    found = generations.current(retaining, ledger, stem_of(name))
    assert found is not None
    retaining.ring.open_index_key(found)
    generations.close(retaining, ledger, [name])
    destroy_key(retaining, ledger, name)
    with pytest.raises(KeyGone):
        retaining.ring.open_index_key(found)


def test_keys_that_a_writer_holds_are_of_no_use_once_their_group_is_closed(
    installation: Installation, vault: Vault, retaining: Vault
) -> None:
    """Sealed before, linked after: the transaction that stores the keys refuses them."""
    ledger, name = ledgers.get(vault, "cn"), f"{only_stem(installation)}.0"
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
    ledger, name = ledgers.get(vault, "cn"), f"{only_stem(installation)}.0"
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
    ledger, name = ledgers.get(vault, "cn"), f"{only_stem(installation)}.0"
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
