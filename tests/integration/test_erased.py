"""The proof that what was destroyed stays so: it finds every way in which it might not be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from unittest import mock
from uuid import UUID

import pytest

from service import wiring
from service.jobs import bodies
from tests.support.vault import PASSPHRASE, Installation
from vault import erased, events
from vault.context import Vault
from vault.core.errors import Modified
from vault.jobs import Steps
from vault.keys.ring import group_ref


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with ExitStack() as stack:
        with mock.patch.dict(os.environ, installation.environment()):
            made = stack.enter_context(wiring.open_for_retention(installation.home, PASSPHRASE))
        yield made


def one_group(vault: Vault, ledger: UUID) -> str:
    with vault.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT min(name) FROM vault.key_group WHERE ledger_id = %s", (ledger,)
        ).scalar_one()
    return str(found)


def tell(vault: Vault, ledger: UUID, group: str) -> None:
    facts = {"ledger": str(ledger), "group": group, "key": group_ref(ledger, group), "for": "d-test"}
    events.record(vault, "key.destroyed", facts)


def kill(vault: Vault, ledger: UUID, group: str) -> None:
    """Destroy a group's key at its provider."""
    now = datetime.now(UTC)
    vault.provider.schedule_destroy(group_ref(ledger, group), now)
    assert vault.provider.destroy_due(now) == [group_ref(ledger, group)]
    vault.ring.forget(ledger, group)


def clear(vault: Vault, ledger: UUID, group: str) -> None:
    """Have the database forget what stood under it."""
    where = "ledger_id = %s AND group_name = %s"
    with vault.engine.begin() as connection:
        for state in ("closing", "destroyed"):
            connection.exec_driver_sql(
                "UPDATE vault.key_group SET state = %s WHERE ledger_id = %s AND name = %s", (state, ledger, group)
            )
        connection.exec_driver_sql(
            "DELETE FROM vault.sealed WHERE ledger_id = %s AND epoch_id IN"
            f" (SELECT epoch_id FROM vault.epoch WHERE {where})",
            (ledger, ledger, group),
        )
        connection.exec_driver_sql(f"UPDATE vault.epoch SET wrapped = '' WHERE {where}", (ledger, group))


def destroy(vault: Vault, ledger: UUID, group: str) -> None:
    kill(vault, ledger, group)
    tell(vault, ledger, group)
    clear(vault, ledger, group)


def test_what_was_destroyed_is_proved_to_be(installation: Installation, vault: Vault) -> None:
    assert erased.prove(vault)[:3] == (0, 0, [])
    ledger = installation.ledger("cn")
    destroy(vault, ledger, one_group(vault, ledger))
    made = erased.prove(vault)
    assert (made.groups, made.epochs > 0, made.alive) == (1, True, [])
    counts = bodies.prove_erasure(vault, Steps())
    assert (counts["destroyed_groups"], counts["epochs_tried"], counts["due"]) == (1, made.epochs, [])


Harm = Callable[[Vault, UUID, str], None]


def _only_told(vault: Vault, ledger: UUID, group: str) -> None:
    tell(vault, ledger, group)


def _never_told(vault: Vault, ledger: UUID, group: str) -> None:
    kill(vault, ledger, group)
    clear(vault, ledger, group)


def _key_lives(vault: Vault, ledger: UUID, group: str) -> None:
    tell(vault, ledger, group)
    clear(vault, ledger, group)


def _records_left(vault: Vault, ledger: UUID, group: str) -> None:
    kill(vault, ledger, group)
    tell(vault, ledger, group)
    with vault.engine.begin() as connection:
        for state in ("closing", "destroyed"):
            connection.exec_driver_sql(
                "UPDATE vault.key_group SET state = %s WHERE ledger_id = %s AND name = %s", (state, ledger, group)
            )


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_only_told, "its destruction was told, and the database calls it live"),
        (_never_told, "the database calls it destroyed, and no event does"),
        (_key_lives, "the key provider calls its key enabled"),
        (_records_left, "records stand under it"),
        (_only_told, "epoch keys are not refused as gone"),
    ],
    ids=["an old dump is back", "never told", "the key lives", "records are left", "epoch keys open"],
)
def test_what_is_not_quite_destroyed_is_named(installation: Installation, vault: Vault, harm: Harm, said: str) -> None:
    ledger = installation.ledger("cn")
    group = one_group(vault, ledger)
    harm(vault, ledger, group)
    alive = [line for line in erased.prove(vault).alive if said in line]
    assert len(alive) == 1
    assert alive[0].startswith(f"{ledger}/{group}: ")
    with pytest.raises(Modified, match="not as destroyed as was told"):
        bodies.prove_erasure(vault, Steps())


def test_an_epoch_that_proves_nothing_does_not_count_as_refused(installation: Installation, vault: Vault) -> None:
    """Rows edited so that nothing opens them are no proof: the key may live in an older dump."""
    ledger = installation.ledger("cn")
    group = one_group(vault, ledger)
    destroy(vault, ledger, group)
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.epoch SET key_ref = 'group.other' WHERE ledger_id = %s AND group_name = %s", [ledger, group]
        )
    assert [line for line in erased.prove(vault).alive if "not refused" in line]


def test_what_is_due_and_there_is_listed(installation: Installation, vault: Vault) -> None:
    later = replace(vault, clock=lambda: int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000)
    ledger = installation.ledger("cn")
    due = erased.prove(later).due
    assert f"{ledger}/{one_group(vault, ledger)}" in due
    destroy(vault, ledger, one_group(vault, ledger))
    assert f"{ledger}/{one_group(vault, ledger)}" not in erased.prove(later).due
