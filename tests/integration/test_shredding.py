"""Shredding: a group's key dies, and nothing else; whatever says otherwise stops it; what is reported happened."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support import crash
from tests.support.acting import happened, hire
from tests.support.breaking import Killed, broken
from tests.support.decisions import decision, decisions, spelled
from tests.support.groups import rows, states, thirds
from tests.support.vault import Installation
from vault import chains, generations, journal, ledgers, moving, reading, rekeying, replaying, shred
from vault.context import Vault
from vault.core import leaf, packing
from vault.core.errors import (
    Denied,
    Forked,
    KeyGone,
    KeyUnavailable,
    Missing,
    Modified,
    Unavailable,
    UsageError,
    VaultError,
)
from vault.core.leaf import RecordLeaf
from vault.core.selection import Selection
from vault.db import moving as stored
from vault.db import store
from vault.db.engine import transact
from vault.db.moving import Place
from vault.keys.provider import KeyDescription, KeyRef, KeyState
from vault.keys.ring import EpochRow, Ring
from vault.opening import Opener
from vault.shred import Destroyed
from vault.verdict import Depth, worst

GROUP = "2029-11.0"
DOOMED = Selection.of(range(3, 182, 3))


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.retaining() as opened:
        yield opened


def survivors_left(vault: Vault, name: str = "cn") -> UUID:
    """Close a ledger's group and move two of three entries out; return the ledger's id."""
    ledger = ledgers.get(vault, name).id
    generations.close(vault, ledger, [GROUP])
    moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    return ledger


def destroy(vault: Vault, ledger: UUID, expect: Selection | None = DOOMED) -> Destroyed:
    return shred.destroy(vault, ledger, [GROUP], reason="d-1", expect=expect)


def key(ledger: UUID) -> KeyRef:
    return f"group.{ledger}.{GROUP}"


def nothing_happened(site: Installation, vault: Vault, ledger: UUID, state: KeyState = KeyState.ENABLED) -> None:
    """No key is destroyed, nobody is told so, and every row is there."""
    assert vault.provider.describe(key(ledger)).state is state
    assert states(site, "cn")[GROUP] == "closing"
    assert not happened(vault, "key.destroyed")
    assert len(rows(site, "cn")) == 181


def test_what_is_left_is_gone(installation: Installation, vault: Vault) -> None:
    ledger = survivors_left(vault)
    before = rows(installation, "cn")
    done = destroy(vault, ledger)
    assert (done.groups, done.keys, done.deleted) == ((GROUP,), (key(ledger),), len(DOOMED))
    assert done.epochs_tried == 1 + 2  # a run of ingest makes one for itself: three commits, three runs
    assert rows(installation, "cn") == {seq: row for seq, row in before.items() if seq not in DOOMED}
    assert states(installation, "cn") == {GROUP: "destroyed", "held.0": "live", "2040-01.0": "live"}
    assert installation.size("cn") == 182  # every leaf stays
    (told,) = happened(vault, "key.destroyed")
    assert told.facts.pop("destroyed_at").startswith(f"{done.destroyed_at:%Y-%m-%dT%H:%M:%S}")
    assert told.facts == {
        "ledger": str(ledger), "group": GROUP, "key": key(ledger), "provider": "keyfile", "for": "d-1",
        "break_glass": 1,
    }  # fmt: skip
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        keys = connection.execute(
            """SELECT wrapped FROM vault.epoch WHERE ledger_id = %(l)s AND group_name = %(g)s
               UNION ALL SELECT index_key FROM vault.key_group WHERE ledger_id = %(l)s AND name = %(g)s""",
            {"l": ledger, "g": GROUP},
        ).fetchall()
    assert [bytes(one[0]) for one in keys] == [b""] * 4
    assert chains.chain(vault, ledger, DOOMED) == frozenset()
    with installation.opened() as opened:
        assert reading.read(opened, ledgers.get(opened, "cn"), "dec-1", "a test").raw == spelled(decision(1))


def test_again_there_is_nothing_left_to_do(installation: Installation, vault: Vault) -> None:
    ledger = survivors_left(vault)
    first = destroy(vault, ledger)
    before = rows(installation, "cn")
    assert destroy(vault, ledger) == replace(first, epochs_tried=0, deleted=0)
    assert rows(installation, "cn") == before
    assert len(happened(vault, "key.destroyed")) == 1


def test_appends_go_on(installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the batches, and into the next generation."""
    monkeypatch.setattr(shred, "BATCH", 20)
    ledger = survivors_left(vault)
    real = stored.delete
    deleted: list[int] = []

    def delete(connection: Any, *arguments: Any) -> int:
        count = real(connection, *arguments)
        deleted.append(count)
        installation.ingest("cn", decisions(1, first=1000 + len(deleted)))
        return count

    monkeypatch.setattr(stored, "delete", delete)
    assert destroy(vault, ledger).deleted == 60
    assert deleted == [20, 20, 20]
    assert {row.group for seq, row in rows(installation, "cn").items() if seq > 181} == {"2029-11.1"}


def test_details_of_events_die_too(installation: Installation, vault: Vault) -> None:
    """What an event seals is in a group like any record; its leaf and its facts stay."""
    sealed = rows(installation, "events")
    (group,) = {row.group for row in sealed.values()}
    generations.close(vault, vault.events, [group])
    done = shred.destroy(vault, vault.events, [group], reason="d-1", expect=Selection.of(sealed))
    assert done.deleted == len(sealed)
    assert rows(installation, "events") == {}
    reading.read(vault, ledgers.get(vault, "cn"), "dec-3", "told under the next generation")
    (told,) = rows(installation, "events").values()
    assert told.group != group
    assert len(happened(vault, "record.opened")) == 2


def test_only_closed_groups(installation: Installation, vault: Vault) -> None:
    ledger = ledgers.get(vault, "cn").id
    for name in (GROUP, "2031-01.0"):
        with pytest.raises(UsageError, match="only a closed one"):
            shred.destroy(vault, ledger, [name], reason="d-1", expect=Selection.of(range(1, 182)))
    assert vault.provider.describe(key(ledger)).state is KeyState.ENABLED


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        (None, "not to be destroyed is in the group at .* seq 3"),
        (DOOMED - Selection.of([30]), "not to be destroyed is in the group at .* seq 30"),
        (DOOMED | Selection.of([31]), "is not in the group at .* seq 31"),
        (DOOMED | Selection.of([500]), "is not in the group at .* seq 500"),
    ],
    ids=["none", "one fewer", "one more", "one that never was"],
)
def test_exactly_what_is_expected(
    installation: Installation, vault: Vault, expect: Selection | None, words: str
) -> None:
    ledger = survivors_left(vault)
    shred.check(vault, ledger, [GROUP], expect=DOOMED)
    with pytest.raises(Forked, match=words):
        shred.check(vault, ledger, [GROUP], expect=expect)
    with pytest.raises(Forked, match=words):
        destroy(vault, ledger, expect)
    nothing_happened(installation, vault, ledger)


class Told:
    """A provider that says of one key what it is told to say, and otherwise is the vault's own."""

    def __init__(self, vault: Vault, said: KeyDescription | VaultError, *, first: int = 0) -> None:
        self._real: Any = vault.provider
        self._said = said
        self._first = first  # so many true answers come before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def describe(self, ref: KeyRef) -> KeyDescription:
        self._first -= 1
        if self._first >= 0:
            found: KeyDescription = self._real.describe(ref)
            return found
        if isinstance(self._said, VaultError):
            raise self._said
        return self._said

    def schedule_destroy(self, ref: KeyRef, at: datetime) -> None:
        """Accepted, and nothing comes of it."""

    def destroy_due(self, now: datetime) -> list[KeyRef]:
        return ["said.to.be.destroyed"]


ANSWERS: dict[str, tuple[KeyDescription | VaultError, type[VaultError]]] = {
    "pending": (KeyDescription(KeyState.PENDING_DESTROY, datetime(2040, 1, 1, tzinfo=UTC)), KeyUnavailable),
    "unknown": (KeyDescription(KeyState.UNKNOWN), KeyGone),
    "enabled": (KeyDescription(KeyState.ENABLED), KeyUnavailable),
    "disabled": (KeyDescription(KeyState.DISABLED), KeyUnavailable),
    "unreachable": (KeyUnavailable("key store: out of reach"), KeyUnavailable),
}


@pytest.mark.parametrize("first", [0, 2], ids=["before", "after"])
@pytest.mark.parametrize("answer", sorted(ANSWERS))
def test_only_destroyed_is_destroyed(installation: Installation, vault: Vault, answer: str, first: int) -> None:
    """Before and after the provider was asked to destroy."""
    ledger = survivors_left(vault)
    said, kind = ANSWERS[answer]
    with pytest.raises(kind):
        destroy(replace(vault, provider=Told(vault, said, first=first)), ledger)
    nothing_happened(installation, vault, ledger)
    assert destroy(vault, ledger).deleted == len(DOOMED)


def test_a_key_that_falls_due_later(installation: Installation, vault: Vault) -> None:
    ledger = survivors_left(vault)
    vault.provider.schedule_destroy(key(ledger), datetime(2040, 1, 1, tzinfo=UTC))
    with pytest.raises(KeyUnavailable, match="is pending_destroy, due 2040-01-01T00:00:00Z, not destroyed"):
        destroy(vault, ledger)
    nothing_happened(installation, vault, ledger, KeyState.PENDING_DESTROY)
    vault.provider.cancel_destroy(key(ledger))
    assert destroy(vault, ledger).deleted == len(DOOMED)


class Lying(Ring):
    """A ring over a provider that said DESTROYED and opens all the same, or cannot be reached."""

    error: VaultError | None = None

    def open_epoch(self, epoch: Any) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [(None, Forked), (KeyUnavailable("out of reach"), KeyUnavailable), (Modified("edited"), Modified)],
    ids=["opens", "unreachable", "edited"],
)
def test_gone_is_proved_by_key_gone_alone(
    installation: Installation, vault: Vault, error: VaultError | None, kind: type[VaultError]
) -> None:
    """The key is destroyed, and that is told; but nothing is deleted, and the call does not return."""
    ledger = survivors_left(vault)
    lying = Lying(vault.provider, clock=lambda: 0.0)
    lying.error = error
    with pytest.raises(kind):
        destroy(replace(vault, ring=lying), ledger)
    assert len(rows(installation, "cn")) == 181
    done = destroy(vault, ledger)
    assert (done.deleted, done.epochs_tried) == (60, 3)
    assert len(happened(vault, "key.destroyed")) == 1


def test_every_epoch_is_tried(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = survivors_left(vault)
    tried: list[EpochRow] = []
    real = Ring.open_epoch

    def open_epoch(ring: Ring, epoch: EpochRow) -> None:
        tried.append(epoch)
        real(ring, epoch)

    monkeypatch.setattr(Ring, "open_epoch", open_epoch)
    done = destroy(vault, ledger)
    assert len({one.epoch_id for one in tried}) == done.epochs_tried == 3
    assert {one.group for one in tried} == {GROUP}
    assert all(one.wrapped for one in tried)


@pytest.mark.parametrize("harm", ["gone", "edited", "cut", "of another run"])
def test_no_key_dies_without_the_journal(installation: Installation, vault: Vault, harm: str) -> None:
    ledger = survivors_left(vault)
    (path,) = (installation.home / "rewraps" / str(ledger)).glob("*.journal")
    whole = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "edited":
        path.write_bytes(whole.replace(b"\nr 100 ", b"\nr 101 ", 1))
    elif harm == "cut":
        path.write_bytes(whole[: whole.index(b"\nr 100 ") + 1])
    else:
        with installation.tampering() as connection:  # the row is not the one that was written down
            connection.execute(
                "UPDATE vault.sealed SET epoch_id = (SELECT epoch_id FROM vault.sealed WHERE seq = 2 AND ledger_id ="
                " %(l)s) WHERE ledger_id = %(l)s AND seq = 100",
                {"l": ledger},
            )
    with pytest.raises((Forked, Missing, Modified), match=r"journal|says where it lives on at .* seq 100"):
        shred.check(vault, ledger, [GROUP], expect=DOOMED)
    with pytest.raises((Forked, Missing, Modified), match=r"journal|says where it lives on at .* seq 100"):
        destroy(vault, ledger)
    nothing_happened(installation, vault, ledger)
    if harm in ("gone", "edited", "cut"):
        path.write_bytes(whole)
        assert destroy(vault, ledger).deleted == len(DOOMED)


def test_a_journal_that_was_never_synced(
    installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way of a re-keying: it ends before anything dies."""
    ledger = ledgers.get(vault, "cn").id

    def fsync(descriptor: int) -> None:
        if ".journal" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Unavailable, match="re-wrap journal"):
        rekeying.rekey(vault, ledger, GROUP)
    nothing_happened(installation, vault, ledger)


def test_an_older_database(installation: Installation, tmp_path: Path) -> None:
    """Beside today's keys: what was destroyed is gone for good, what was moved is readable after the replay."""
    ledger = installation.ledger("cn")
    with installation.dumped() as older:
        with installation.retaining() as vault:
            destroy(vault, survivors_left(vault))
        restored = Installation(installation.home, older)
        before = rows(restored, "cn")
        assert unreadable(restored) == set(range(1, 182))
        done = restored.run("keys", "replay", "--json")
        assert done.exit_code == 0, done.output
        (told,) = [one for one in json.loads(done.output) if one["name"] == "cn"]
        assert (told["groups"], told["epochs"], told["moved"], told["failed"]) == (2, 2, 121, 0)
        assert (told["unreadable"], told["told"]) == (60, False)
        assert unreadable(restored) == set(DOOMED)
        after = rows(restored, "cn")
        today = rows(installation, "cn")
        assert {seq: after[seq] for seq in today} == today
        assert {seq: after[seq] for seq in DOOMED} == {seq: before[seq] for seq in DOOMED}
        assert states(restored, "cn") == {GROUP: "destroyed", "held.0": "live", "2040-01.0": "live"}
        with restored.retaining() as vault:
            again = replaying.replay(vault, ledger)
        assert (again.groups, again.epochs, again.moved, again.unreadable) == (0, 0, 0, 60)


def test_the_newest_place_counts(installation: Installation) -> None:
    """Moved twice, and the group in between is dead too; what moved there and no further is not brought back."""
    ledger = installation.ledger("cn")
    with installation.dumped() as older:
        with installation.retaining() as vault:
            destroy(vault, survivors_left(vault))
            generations.close(vault, ledger, ["held.0"])
            moving.move(vault, ledger, ["held.0"], lambda one: None if one.seq == 1 else "held", reason="d-2")
            shred.destroy(vault, ledger, ["held.0"], reason="d-2", expect=Selection.of([1]))
        restored = Installation(installation.home, older)
        with restored.retaining() as vault:
            done = replaying.replay(vault, ledger)
        assert (done.moved, done.failed, done.unreadable) == (120, 0, 61)
        assert unreadable(restored) == {1, *DOOMED}
        after = rows(restored, "cn")
        assert {row.group for row in after.values()} == {GROUP, "held.1", "2040-01.0"}


def test_a_replay_trusts_nothing(installation: Installation) -> None:
    """A journal of another record's key, checks and all, brings nothing back."""
    ledger = installation.ledger("cn")
    with installation.dumped() as older:
        with installation.retaining() as vault:
            destroy(vault, survivors_left(vault))
        with journal.held(installation.home / "rewraps", ledger) as log:
            lines = list(log.read())
            places = {line.seq: line for line in lines if isinstance(line, Place)}
            log.append([], [], [places[4]._replace(seq=1), places[4]._replace(seq=3)])
        restored = Installation(installation.home, older)
        with restored.retaining() as vault:
            done = replaying.replay(vault, ledger)
        assert (done.moved, done.failed, done.unreadable) == (120, 2, 61)


def unreadable(site: Installation) -> set[int]:
    """Return the records that do not open: an older database lets nobody read, so they are opened one by one."""
    gone = set()
    with site.opened() as vault:
        ledger = site.ledger("cn")
        opener = Opener(vault.engine, vault.ring, ledger)
        found = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, ledger, range(1, 182))))
        for row in found:
            assert row.leaf is not None
            assert row.sealed is not None
            parsed = leaf.parse(packing.unpack(row.leaf))
            assert isinstance(parsed, RecordLeaf)
            try:
                assert opener.open(parsed, row.sealed) == spelled(decision(row.seq))
            except KeyGone:
                gone.add(row.seq)
    return gone


def test_the_database_owner_puts_everything_back(installation: Installation, tmp_path: Path) -> None:
    """Rows, epoch keys and states of a dump, copied over those of today: nothing of it opens."""
    with installation.tampering() as connection:
        for table in ("sealed", "epoch", "key_group"):
            connection.execute(f"CREATE TABLE public.old_{table} AS TABLE vault.{table}")
    with installation.retaining() as vault:
        destroy(vault, survivors_left(vault))
    with installation.tampering() as connection:
        for table in ("sealed", "epoch", "key_group"):
            connection.execute(f"DELETE FROM vault.{table}")
            connection.execute(f"INSERT INTO vault.{table} TABLE public.old_{table}")
    assert unreadable(installation) == set(range(1, 182))
    with installation.opened() as opened, pytest.raises(KeyGone):
        reading.read(opened, ledgers.get(opened, "cn"), "dec-3", "a test")


def test_interrupted_anywhere(bare: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after each step from the closing on, and done again: survivors readable, the rest gone, told once."""
    monkeypatch.setattr(shred, "BATCH", 1)
    doomed = Selection.of([3, 6])
    with bare.copied(tmp_path / "shredding") as base:
        base.ingest("hk", decisions(7))
        with base.retaining() as vault:
            ledger = survivors_left(vault, "hk")
        for number in range(60):
            with base.copied(tmp_path / str(number)) as site:
                done: list[Destroyed] = []
                with broken(number, "killed") as steps, suppress(Killed, VaultError), site.retaining() as vault:
                    done.append(destroy(vault, ledger, doomed))
                assert bool(done) != steps.broke
                deleted = 7 - len(rows(site, "hk"))
                with site.retaining() as vault:
                    dead = vault.provider.describe(key(ledger)).state is KeyState.DESTROYED
                    assert dead or (states(site, "hk")[GROUP] == "closing" and len(rows(site, "hk")) == 7)
                    assert dead or not happened(vault, "key.destroyed")
                    again = destroy(vault, ledger, doomed)
                    assert again.groups == (GROUP,)
                    assert again.deleted == len(doomed) - deleted  # each row is counted by the run that deleted it
                    assert len(happened(vault, "key.destroyed")) == 1
                assert set(rows(site, "hk")) == {1, 2, 4, 5, 7}
                assert states(site, "hk")[GROUP] == "destroyed"
            shutil.rmtree(tmp_path / str(number))
            if not steps.broke:
                break
    assert steps.done.count("commit") >= 5, steps.done  # the event, the mark, two deletions, the keys


def test_rekey(installation: Installation) -> None:
    done = installation.run("keys", "rekey", "cn", GROUP, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["moved"], told["target"], told["group"], told["epochs_tried"]) == (181, "2029-11.1", GROUP, 3)
    with installation.opened() as vault:
        assert [event.facts["for"] for event in happened(vault, "keys.moved", "key.destroyed")] == [
            f"rekey:{GROUP}"
        ] * 2
        assert vault.provider.describe(told["key"]).state is KeyState.DESTROYED
        assert reading.read(vault, ledgers.get(vault, "cn"), "dec-7", "a test").raw == spelled(decision(7))
    again = installation.run("keys", "rekey", "cn", GROUP)
    assert again.exit_code == 0, again.output
    assert "no entry was in it" in again.output
    assert installation.run("keys", "rekey", "nowhere", GROUP).exit_code == 2
    assert installation.run("keys", "rekey", "cn", "2031-01.0").exit_code == 2


def test_rekey_is_for_the_passphrase_and_for_officers(installation: Installation, vault: Vault) -> None:
    ledger = ledgers.get(vault, "cn").id
    for role in ("auditor", "operator"):
        with pytest.raises(Denied, match="compliance officer"):
            rekeying.rekey(vault.acting(hire(vault, role, role)), ledger, GROUP)
    assert [event.facts["act"] for event in happened(vault, "access.denied")] == ["keys.rekey"] * 2
    assert states(installation, "cn") == {GROUP: "live"}
    assert rekeying.rekey(vault.acting(hire(vault, "olaf", "officer")), ledger, GROUP).moved == 181


KILLED = ("after the journal", "after keys moved", "after a key died", "before keys are emptied")


def test_a_rekeying_that_is_killed(bare: Installation, tmp_path: Path) -> None:
    """With SIGKILL, again and again, a step further each time; then it ends, and nothing was lost or told twice."""
    with bare.copied(tmp_path / "home") as site:
        site.ingest("hk", decisions(5))
        for point in KILLED:
            killed = crash.run(site, point, "keys", "rekey", "hk", GROUP)
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            assert len(rows(site, "hk")) == 5
        done = site.run("keys", "rekey", "hk", GROUP, "--json")
        assert done.exit_code == 0, done.output
        assert {row.group for row in rows(site, "hk").values()} == {"2029-11.1"}
        assert states(site, "hk") == {GROUP: "destroyed", "2029-11.1": "live"}
        assert worst(site.audit(Depth.OPEN)) is None
        with site.opened() as vault:
            assert len(happened(vault, "key.destroyed")) == 1
            assert {event.facts["count"] for event in happened(vault, "keys.moved")} == {5}
