"""Reading: the access is committed and signed first, or nothing is shown."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Connection

from tests.support.decisions import decision, spelled
from tests.support.vault import Installation
from vault import ledgers, reading
from vault.checkpoints import Checkpoints
from vault.context import Vault
from vault.core.errors import Missing, Modified, Unavailable, UnknownOutcome, UsageError, VaultError
from vault.db import store
from vault.opening import Opener

PURPOSE = "complaint 4711 of the customer"
Obstacle = Callable[[Installation, pytest.MonkeyPatch], None]


def _read(vault: Vault, record_id: str = "dec-3", purpose: str = PURPOSE) -> reading.Reading:
    return reading.read(vault, ledgers.get(vault, "cn"), record_id, purpose)


def test_exactly_the_bytes_that_were_sent(installation: Installation) -> None:
    raw = b'  {"id" : "odd",' + spelled(decision(1, id=None))[1:] + b"\t"
    installation.ingest("cn", [(1, raw)])
    with installation.opened() as vault:
        found = _read(vault, "odd")
    assert (found.raw, found.seq, found.leaf.seq) == (raw, 182, 182)
    assert "odd" not in repr(found)


def test_the_access_is_signed_before_anything_is_opened(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = installation.size("events"), []
    open_ = Opener.open

    def spy(self: Opener, *arguments: object) -> bytes:
        with installation.opened() as other:
            checkpoint = other.checkpoints.read(other.events)
        assert checkpoint is not None
        seen.append((installation.size("events"), checkpoint.size))
        return open_(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Opener, "open", spy)
    with installation.opened() as vault:
        found = _read(vault)
    assert seen == [(before + 1, before + 1)]
    assert found.access == before


def test_the_access_says_who_and_what_and_seals_why(installation: Installation) -> None:
    with installation.opened() as vault:
        found = _read(vault)
        (*_, told) = ledgers.history(vault, "record.opened")
        assert (told.seq, told.actor) == (found.access, vault.actor.name)
        facts = {"ledger": found.leaf.ledger, "id_tag": found.leaf.id_tag, "seq": 3, "break_glass": 1}
        assert told.facts == facts
        with vault.engine.connect() as connection:
            (entry,) = store.fetch_entries(connection, vault.events, [told.seq])
        assert entry.sealed is not None
        assert Opener(vault.engine, vault.ring, vault.events).open(told, entry.sealed) == b'{"purpose":"%b"}' % (
            PURPOSE.encode()
        )
    for spelling in (PURPOSE, PURPOSE.encode().hex()):
        assert spelling not in installation.everything_stored()


def _no_checkpoint(installation: Installation, _patch: pytest.MonkeyPatch) -> None:
    (installation.checkpoints("events") / "checkpoint").unlink()


def _no_right_to_insert(installation: Installation, _patch: pytest.MonkeyPatch) -> None:
    with installation.tampering() as connection:
        connection.execute("REVOKE INSERT ON vault.entry FROM reasonvault_app")


def _forged_event(installation: Installation, _patch: pytest.MonkeyPatch) -> None:
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.head SET size = size - 1 WHERE ledger_id = %s", [installation.ledger("events")]
        )


def _disk_full(_installation: Installation, patch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, "replace", full)


def _unsigned(_installation: Installation, patch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise Unavailable("the checkpoint cannot be written")

    patch.setattr(Checkpoints, "publish", fail)


def _connection_lost_at_commit(installation: Installation, patch: pytest.MonkeyPatch) -> None:
    """The server ends the connection when all is written and COMMIT is next; nobody knows whether it arrived."""
    announce = Checkpoints.announce

    def then_lose(self: Checkpoints, *arguments: object) -> None:
        announce(self, *arguments)  # type: ignore[arg-type]
        with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'reasonvault'"
            )

    patch.setattr(Checkpoints, "announce", then_lose)


OBSTACLES: dict[str, tuple[Obstacle, type[VaultError]]] = {
    "the events ledger's checkpoint is gone": (_no_checkpoint, VaultError),
    "the right to insert is gone": (_no_right_to_insert, UsageError),
    "the events ledger is forked": (_forged_event, VaultError),
    "the home's disk is full": (_disk_full, Unavailable),
    "the event is committed, not signed": (_unsigned, Unavailable),
    "the outcome of the commit is unknown": (_connection_lost_at_commit, UnknownOutcome),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_without_the_event_nothing_is_opened(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    hinder, error = OBSTACLES[obstacle]
    with _nothing_opened(monkeypatch):
        with installation.opened() as vault:
            ledger = ledgers.get(vault, "cn")
            hinder(installation, monkeypatch)
            with pytest.raises(error):
                reading.read(vault, ledger, "dec-3", PURPOSE)
        shown = installation.run("show", "dec-3", "--ledger", "cn", "--purpose", PURPOSE)
    assert shown.exit_code == error.exit_code or error is VaultError
    assert (shown.exit_code != 0, shown.stdout) == (True, "")
    assert shown.stderr.startswith("reasonvault: ")
    assert len(shown.stderr.splitlines()) == 1


def test_a_crash_before_the_event_is_committed_opens_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(connection: Connection, *_: object) -> None:
        raise Killed

    monkeypatch.setattr(store, "move_head", die)
    with installation.opened() as vault, _nothing_opened(monkeypatch), pytest.raises(Killed):
        _read(vault)


def test_looking_for_a_record_that_is_not_there_is_an_event_too(installation: Installation) -> None:
    with installation.opened() as vault:
        with pytest.raises(UsageError, match="has no record with this id"):
            _read(vault, "dec-9999")
        (*_, told) = ledgers.history(vault, "record.not_found")
        assert set(told.facts) == {"ledger", "id_tag", "break_glass"}
    assert installation.run("show", "dec-9999", "--ledger", "cn", "--purpose", PURPOSE).exit_code == 2


@pytest.mark.parametrize(
    ("record_id", "purpose"),
    [("dec-3", ""), ("dec-3", " \t"), ("\udcff", PURPOSE), ("dec-3", "\udcff"), ("", PURPOSE), ("x" * 10_000, PURPOSE)],
    ids=["no purpose", "blank purpose", "id no text", "purpose no text", "no id", "long id"],
)
def test_a_command_that_makes_no_sense_is_told_so(installation: Installation, record_id: str, purpose: str) -> None:
    shown = installation.run("show", record_id, "--ledger", "cn", "--purpose", purpose)
    assert (shown.exit_code, shown.stdout) == (UsageError.exit_code, ""), shown.output
    assert len(shown.stderr.splitlines()) == 1


def test_a_wrong_passphrase_is_denied(installation: Installation) -> None:
    wrong = {**installation.environment(), "REASONVAULT_PASSPHRASE": "wrong"}
    shown = installation.run("show", "dec-3", "--ledger", "cn", "--purpose", PURPOSE, environment=wrong)
    assert (shown.exit_code, shown.stdout) == (4, "")
    assert shown.stderr.startswith("reasonvault: wrong passphrase")


def test_a_missing_key_file_is_unavailable(installation: Installation) -> None:
    for path in (installation.home / "keys").rglob(f"*{installation.ledger('cn')}*.key"):
        path.unlink()
    shown = installation.run("show", "dec-3", "--ledger", "cn", "--purpose", PURPOSE)
    assert (shown.exit_code, shown.stdout) == (5, "")
    assert "is missing from the key store: restore it" in shown.stderr


def test_a_record_that_is_not_there_is_missing(installation: Installation) -> None:
    with installation.tampering() as connection:
        connection.execute("DELETE FROM vault.sealed WHERE ledger_id = %s AND seq = 3", [installation.ledger("cn")])
    with installation.opened() as vault, pytest.raises(Missing):
        _read(vault)


@pytest.mark.parametrize("column", ["envelope", "wrapped_key", "record_id", "record_class", "jurisdictions"])
def test_what_was_exchanged_is_not_shown(installation: Installation, column: str) -> None:
    with installation.tampering() as connection:
        connection.execute(
            f"""UPDATE vault.sealed s SET {column} = o.{column} FROM vault.sealed o
                WHERE s.ledger_id = %s AND o.ledger_id = s.ledger_id AND (s.seq, o.seq) IN ((3, 4), (4, 3))""",
            [installation.ledger("cn")],
        )
        if column == "record_class":
            connection.execute("UPDATE vault.sealed SET record_class = 'aml'")
    before = installation.size("events")
    with installation.opened() as vault, pytest.raises(Modified):
        _read(vault)
    assert installation.size("events") == before + 1


def test_another_record_in_this_ones_place_is_not_shown(installation: Installation) -> None:
    with installation.tampering() as connection:
        ledger = installation.ledger("cn")
        for old, new in ((3, -3), (4, 3), (-3, 4)):
            for table in ("entry", "sealed"):
                connection.execute(
                    f"UPDATE vault.{table} SET seq = %s WHERE ledger_id = %s AND seq = %s", [new, ledger, old]
                )
    with installation.opened() as vault, pytest.raises(Modified):
        _read(vault)


@contextmanager
def _nothing_opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    opened: list[object] = []
    monkeypatch.setattr(Opener, "open", lambda *arguments: opened.append(arguments))
    yield
    assert not opened
