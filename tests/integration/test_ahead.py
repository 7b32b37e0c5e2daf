"""Groups get their keys before anybody writes to them, and what was left unsigned is signed."""

from __future__ import annotations

import pytest

from service.jobs import bodies
from tests.support.vault import Installation
from vault import ahead, events, generations, ledgers
from vault.checkpoints import Checkpoints
from vault.core.errors import Unavailable
from vault.core.groups import due_at, months_later, stem_of
from vault.jobs import Steps
from vault.keys.provider import KeyState
from vault.keys.ring import group_ref
from vault.provision import Provisioner


def test_the_next_months_groups_are_made_once(installation: Installation) -> None:
    with installation.opened() as vault:
        ledger = installation.ledger("cn")
        with vault.engine.connect() as connection:
            before = generations.states(connection, ledger)
        months = {stem_of(name) for name in before if due_at(stem_of(name)) is not None}
        assert ahead.provision(vault) > 0
        assert bodies.provision_keys(1, vault, Steps()) == {"made": 0}
        with vault.engine.connect() as connection:
            after = generations.states(connection, ledger)
        made = {stem_of(name) for name in after.keys() - before.keys()}
        assert made == {months_later(stem, 1) for stem in months} - months
        assert all(vault.provider.describe(group_ref(ledger, name)).state is KeyState.ENABLED for name in after)
        told = {one.facts["group"] for one in ledgers.history(vault, "key.created")}
        assert after.keys() <= told


def test_months_that_are_over_have_nothing_after_them(installation: Installation) -> None:
    """An import writes to old months; nobody will write to the one after."""
    with installation.opened() as vault:
        ledger = installation.ledger("cn")
        Provisioner(vault, ledger, events.key_created(vault)).provide(["2016-03"], vault.clock())
        ahead.provision(vault)
        assert generations.current(vault, ledger, "2016-03") is not None
        assert generations.current(vault, ledger, "2016-04") is None


def test_what_a_crash_left_unsigned_is_signed(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    with installation.opened() as vault:
        with monkeypatch.context() as crash:
            crash.setattr(Checkpoints, "publish", _dies)
            with pytest.raises(Unavailable):
                events.record(vault, "vault.tested", {})
        signed = vault.checkpoints.read(vault.events)
        assert signed is not None
        assert signed.size == installation.size("events") - 1
        assert bodies.checkpoints(vault, Steps())["signed"] == 1
        signed = vault.checkpoints.read(vault.events)
        assert signed is not None
        assert signed.size == installation.size("events")
        assert bodies.checkpoints(vault, Steps())["signed"] == 0


def _dies(*_: object) -> str:
    raise Unavailable("it died here")
