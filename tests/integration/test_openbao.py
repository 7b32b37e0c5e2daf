"""A vault whose keys lie in OpenBao: made, written to, read, and what it does while the server is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from service import providers, wiring
from tests.support.acting import keyed
from tests.support.decisions import as_file, decision, decisions, spelled
from tests.support.openbao import Bao
from tests.support.postgres import Database
from tests.support.serving import bearer, serving
from tests.support.vault import PASSPHRASE, Installation, prepare
from vault import custody, events, ledgers, reading
from vault.context import Vault
from vault.core.errors import KeyUnavailable, UsageError
from vault.core.groups import stem_of
from vault.core.standing import ProducerKey
from vault.keys import disk
from vault.keys.keyfile import KeyDirectory
from vault.keys.provider import KeyState
from vault.keys.ring import READ_SECONDS, WRITE_SECONDS, Ring, tenant_ref
from vault.provision import upcoming
from vault.recordline import RecordLine
from vault.settlement import Answer
from vault.settling import Status
from vault.verdict import Depth, worst

EVE = datetime(2026, 12, 30, 21, tzinfo=UTC)  # in China the last day of the year has begun


@pytest.fixture
def kept(own_bao: Bao, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """A vault with one ledger, "cn", whose keys lie in ``own_bao``."""
    for name, value in own_bao.environment().items():
        monkeypatch.setenv(name, value)
    made = prepare(tmp_path / "home", database)
    result = made.run("init", "--keys", "openbao", "--openbao-address", own_bao.address)
    assert result.exit_code == 0, result.output
    with made.opened() as vault:
        ledgers.create(vault, "cn", ("CN",), ())
    return made


def test_records_go_in_and_out_and_only_signing_keys_lie_in_the_key_directory(kept: Installation, own_bao: Bao) -> None:
    file = kept.home.parent / "records.jsonl"
    file.write_bytes(as_file(decisions(5)))
    assert kept.run("ingest", str(file), "--ledger", "cn", "--processes", "2").exit_code == 0
    assert worst(kept.audit(Depth.OPEN)) is None
    with kept.opened() as vault:
        assert reading.read(vault, ledgers.get(vault, "cn"), "dec-3", "a test").raw == spelled(decision(3))
        with KeyDirectory.open(kept.home / "keys", PASSPHRASE, clock=lambda: 0.0) as keys:
            assert keys.describe("checkpoint.1").state is KeyState.ENABLED
            for group in custody.status(vault).groups:
                assert group.key in own_bao.transit().names()
                assert keys.describe(group.key).state is KeyState.UNKNOWN
            assert keys.describe(tenant_ref(wiring.identity(kept.home).tenant)).state is KeyState.UNKNOWN
    own_bao.let_go()


def test_what_is_said_of_keys_and_their_rotation(kept: Installation, own_bao: Bao) -> None:
    kept.ingest("cn", decisions(2))
    before = json.loads(kept.run("keys", "status", "--json").output)
    assert before["provider"] == "openbao"
    assert before["tenant_key"]["state"] == "enabled"
    (group,) = [one for one in before["groups"] if one["ledger_name"] == "cn"]
    assert (group["state"], group["key_state"], group["epochs"], group["expected"]) == ("live", "enabled", 1, True)

    assert json.loads(kept.run("keys", "rotate", "--json").output) == {"rotated": ["keyfile", "openbao"]}
    assert kept.ingest("cn", decisions(2, first=3))[0].status is Status.ACCEPTED
    assert worst(kept.audit(Depth.OPEN)) is None
    assert own_bao.ask("GET", f"transit/keys/{group['key']}")["data"]["latest_version"] == 2
    with kept.opened() as vault:
        told = [one.facts["provider"] for one in ledgers.history(vault, "keys.rotated")]
    assert told == ["keyfile", "openbao"]

    own_bao.stop()
    away = kept.run("keys", "status")
    assert away.exit_code == 0
    assert "out of reach" in away.output
    assert own_bao.token_file.read_text().strip() not in before.__repr__() + away.output


def test_a_group_dies_with_the_server_in_reach_only_and_an_old_copy_of_it_is_noticed(
    kept: Installation, own_bao: Bao
) -> None:
    kept.ingest("cn", decisions(3))
    with kept.opened() as vault:
        (group,) = [one for one in custody.status(vault).groups if one.ledger_name == "cn"]
    old = kept.home.parent / "old"
    own_bao.back_up(old)

    own_bao.stop()
    away = kept.run("keys", "rekey", "cn", group.group)
    assert away.exit_code == 5, away.output
    with kept.opened() as vault:
        assert not list(ledgers.history(vault, "key.destroyed"))
    own_bao.start()
    done = kept.run("keys", "rekey", "cn", group.group, "--json")
    assert done.exit_code == 0, done.output
    assert group.key not in own_bao.transit().names()
    assert _custody(kept, group.group) == ("destroyed", "destroyed", True)
    assert worst(kept.audit(Depth.OPEN)) is None

    own_bao.put_back(old)
    assert _custody(kept, group.group) == ("destroyed", "pending_destroy", False)
    own_bao.let_go()


def _custody(kept: Installation, group: str) -> tuple[str, str, bool]:
    said = json.loads(kept.run("keys", "status", "--json").output)
    (found,) = [one for one in said["groups"] if (one["ledger_name"], one["group"]) == ("cn", group)]
    return found["state"], found["key_state"], found["expected"]


def test_keys_do_not_move_and_their_place_is_not_forgotten(kept: Installation, own_bao: Bao) -> None:
    again = kept.run("init")
    assert again.exit_code == 0, again.output
    elsewhere = kept.run("init", "--keys", "openbao", "--openbao-address", "https://bao.example:8200")
    assert elsewhere.exit_code == 2
    assert "do not move" in elsewhere.output
    assert kept.run("init", "--keys", "openbao").exit_code == 2
    book = kept.home / "keys-openbao" / "book.json"
    kept_book = book.read_bytes()
    book.unlink()
    lost = kept.run("init")  # what it forgot would be forgotten for good
    assert lost.exit_code == 5
    assert "restore it" in lost.output
    assert not book.exists()
    disk.write_file(book, kept_book)
    assert kept.run("init").exit_code == 0
    (kept.home / "provider.toml").unlink()
    assert "restore it" in kept.run("ledger", "list").output
    assert kept.run("init").exit_code == 2


def test_a_vault_with_a_key_directory_stays_there(installation: Installation, bao: Bao) -> None:
    result = installation.run("init", "--keys", "openbao", "--openbao-address", bao.address)
    assert result.exit_code == 2
    assert not (installation.home / "provider.toml").exists()


def test_the_settings_are_private_and_come_back_as_they_were_written(tmp_path: Path) -> None:
    wanted = providers.OpenBaoSettings("openbao", "https://bao.example:8200", "ns/transit", "")
    providers.choose(tmp_path, wanted, new=True)
    assert providers.read(tmp_path) == wanted
    assert (tmp_path / "provider.toml").stat().st_mode & 0o777 == 0o600
    (tmp_path / "provider.toml").write_text('keys = "openbao"\naddress = 7\n')
    with pytest.raises(UsageError, match="address"):
        providers.read(tmp_path)


@dataclass
class Hands:
    """One writer and one reader whose clocks a test moves."""

    now: datetime
    writing: Vault
    reading: Vault
    line: RecordLine
    key: ProducerKey
    count: int = 0

    def write(self) -> Status | Exception:
        self.count += 1
        at = self.now.isoformat().replace("+00:00", "Z")
        (answer,) = self.line.take([(1, spelled(decision(self.count, occurred_at=at)))], self.key)
        return answer.result.status if isinstance(answer, Answer) else answer

    def read(self, number: int) -> bytes:
        return reading.read(self.reading, ledgers.get(self.reading, "cn"), f"dec-{number}", "a test").raw


@pytest.fixture
def hands(kept: Installation) -> Iterator[Hands]:
    with kept.opened() as vault:
        key = keyed(vault, "psp-1", "cn")
        moved = replace(vault, clock=lambda: int(found.now.timestamp()) * 1_000_000)
        rings = [
            Ring(vault.provider, clock=lambda: found.now.timestamp(), cache_seconds=seconds)
            for seconds in (WRITE_SECONDS, READ_SECONDS)
        ]
        writing, reader = (replace(moved, ring=ring) for ring in rings)
        found = Hands(EVE, writing, reader, None, key)  # type: ignore[arg-type]
        found.line = RecordLine(writing, ledgers.get(writing, "cn"), lambda _group: None)
        yield found
        for ring in rings:
            ring.close()


def test_writing_goes_on_for_72_hours_without_the_provider_though_the_year_turns(
    hands: Hands, own_bao: Bao, kept: Installation
) -> None:
    for days in (4, 3, 2, 1, 0):  # what was opened on the first day may be used for four
        hands.now = EVE - timedelta(days=days)
        assert hands.write() is Status.ACCEPTED
        assert hands.line.sealers.provide_ahead() > 0
        events.provide_ahead(hands.writing)
    assert hands.line.sealers.provide_ahead() == 0  # once a day
    own_bao.stop()
    for _ in range(12):
        hands.now += timedelta(hours=6)
        assert hands.write() is Status.ACCEPTED
        # Refusals are events with details, which need keys too.
        (refused,) = hands.line.take([(1, b'{"schema": "reasoning-log/1"}')], hands.key)
        assert isinstance(refused, Answer)
        assert refused.result.status is Status.REFUSED
    assert hands.now - EVE == timedelta(hours=72)
    with psycopg.connect(kept.database.superuser_dsn) as connection:
        used = connection.execute(
            "SELECT DISTINCT group_name FROM vault.sealed JOIN vault.epoch USING (ledger_id, epoch_id)"
            " WHERE ledger_id = %s",
            [kept.ledger("cn")],
        ).fetchall()
    assert len({stem_of(name) for (name,) in used}) == 2
    hands.now += timedelta(hours=30)  # beyond what was provided for
    assert isinstance(hands.write(), KeyUnavailable)
    own_bao.start()
    assert hands.write() is Status.ACCEPTED
    assert worst(kept.audit(Depth.OPEN)) is None


def test_without_looking_ahead_the_month_that_begins_has_no_keys(hands: Hands, own_bao: Bao) -> None:
    assert hands.write() is Status.ACCEPTED
    own_bao.stop()
    hands.now += timedelta(hours=24)
    assert isinstance(hands.write(), KeyUnavailable)


def test_reading_goes_on_as_long_as_its_cache_and_never_says_more_than_it_knows(hands: Hands, own_bao: Bao) -> None:
    assert hands.write() is Status.ACCEPTED
    expected = hands.read(1)
    own_bao.stop()
    hands.now += timedelta(seconds=READ_SECONDS - 1)
    assert hands.read(1) == expected
    hands.now += timedelta(seconds=2)
    with pytest.raises(KeyUnavailable):
        hands.read(1)
    own_bao.start()
    assert hands.read(1) == expected


def test_what_follows_a_month_is_known_before_it_ends() -> None:
    def at(day: datetime) -> set[str]:
        return upcoming(["2029-01", "2031-12", "open", "held"], int(day.timestamp()) * 1_000_000)

    assert at(datetime(2026, 12, 27, tzinfo=UTC)) == set()
    assert at(datetime(2026, 11, 27, tzinfo=UTC)) == {"2029-02", "2032-01"}
    assert at(datetime(2026, 12, 28, tzinfo=UTC)) == {"2029-02", "2032-01", "2030-01", "2032-12"}


def test_the_service_takes_records_while_the_provider_is_away_and_shows_none(kept: Installation, own_bao: Bao) -> None:
    with serving(kept, logins_per_minute=100_000) as service:
        key = service.producer("psp-1", "cn")
        auditor, officer = service.people()
        service.granted(auditor, officer, "cn")
        assert service.append("cn", key, spelled(decision(1))).status_code == 201
        own_bao.stop()
        assert service.append("cn", key, spelled(decision(2))).status_code == 201
        shown = service.client.get("/v1/ledgers/cn/records/dec-1", headers=bearer(auditor))
        assert shown.status_code == 503, shown.text
        assert own_bao.address not in shown.text
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/readyz").status_code == 200
        own_bao.start()
        assert service.append("cn", key, spelled(decision(3))).status_code == 201
        shown = service.client.get("/v1/ledgers/cn/records/dec-1", headers=bearer(auditor))
        assert shown.status_code == 200, shown.text
        assert own_bao.token_file.read_text().strip() not in service.lines()
