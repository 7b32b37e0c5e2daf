"""What is said of keys in a key directory, and its rotation."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.support.keydirectory import generation
from tests.support.vault import Installation
from vault import custody, ledgers
from vault.custody import OUT_OF_REACH, GroupCustody
from vault.verdict import Depth, worst


def _groups(installation: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(installation.run("keys", "status", "--json").output)["groups"]
    return found


def test_every_group_of_every_ledger_is_told_with_its_keys_state(installation: Installation) -> None:
    said = json.loads(installation.run("keys", "status", "--json").output)
    assert (said["provider"], said["tenant_key"]["state"], said["custodians"]) == ("keyfile", "enabled", [])
    assert {one["ledger_name"] for one in said["groups"]} == {"events", "cn", "sg"}
    assert all(one["state"] == "live" and one["key_state"] == "enabled" and one["epochs"] for one in said["groups"])
    words = installation.run("keys", "status").output
    assert "recovery files with: nobody" in words
    assert "NOT AS EXPECTED" not in words


def test_a_key_that_somebody_scheduled_behind_the_vaults_back_stands_out(installation: Installation) -> None:
    chosen = _groups(installation)[0]
    with installation.opened() as vault:
        vault.provider.schedule_destroy(chosen["key"], datetime(2099, 1, 1, tzinfo=UTC))
    odd = [one for one in _groups(installation) if not one["expected"]]
    assert [(one["key"], one["key_state"]) for one in odd] == [(chosen["key"], "pending_destroy")]
    assert "pending_destroy 2099-01-01T00:00:00+00:00" in installation.run("keys", "status").output


def test_a_destroyed_groups_key_is_expected_to_be_destroyed_and_nothing_else(installation: Installation) -> None:
    ledger = installation.ledger("cn")
    for key_state, expected in (
        ("destroyed", True),
        ("unknown", False),
        ("enabled", False),
        ("pending_destroy", False),
        (OUT_OF_REACH, True),
    ):
        group = GroupCustody(ledger, "cn", "2029-01.0", "group.x", "destroyed", key_state, None, 1)
        assert custody.is_expected(group) is expected, key_state


def test_a_rotation_makes_a_new_root_and_leaves_everything_readable(installation: Installation) -> None:
    before = generation(installation.home / "keys")
    assert json.loads(installation.run("keys", "rotate", "--json").output) == {"rotated": ["keyfile"]}
    assert generation(installation.home / "keys") != before
    assert worst(installation.audit(Depth.OPEN)) is None
    with installation.opened() as vault:
        (told,) = ledgers.history(vault, "keys.rotated")
        assert told.facts["provider"] == "keyfile"


def test_a_provider_that_does_not_answer_is_asked_once(installation: Installation) -> None:
    asked: list[str] = []

    class Away:
        name = "away"

        def describe(self, ref: str) -> None:
            asked.append(ref)
            raise custody.KeyUnavailable("away")

    with installation.opened() as vault:
        found = custody.status(replace(vault, provider=Away()))  # type: ignore[arg-type]
    assert asked == [found.tenant_key]
    assert {found.tenant_state, *(one.key_state for one in found.groups)} == {OUT_OF_REACH}
