"""Grants: four eyes at every step, each step an event; reading under them shows what they say and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from tests.support.acting import CASE, HOUR, PURPOSE, asked, granted, happened, hire, last, later, stored
from tests.support.decisions import decision, spelled
from tests.support.vault import Installation
from vault import grants, ledgers, proving, reading
from vault.context import Actor, Vault
from vault.core import receipt
from vault.core.errors import Denied, Modified, Unknown, UsageError
from vault.core.masking import MASKED
from vault.reading import Reading

MARK = "planted-7f3a"
"""Part of every value that a masked grant must not show."""


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def anna(vault: Vault) -> Actor:
    return hire(vault, "anna", "auditor")


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


def _read(vault: Vault, who: Actor, record_id: str = "dec-3", ledger: str = "cn", **more: Any) -> Reading:
    return reading.read(vault.acting(who), ledgers.get(vault, ledger), record_id, "", **more)


def _instant(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000_000


def test_asked_approved_read_and_traced(vault: Vault, anna: Actor, olaf: Actor) -> None:
    grant = asked(vault, anna, ["cn"])
    with pytest.raises(Denied, match="no grant of yours"):
        _read(vault, anna)
    assert last(vault, "access.denied").facts["code"] == "grant"
    told = grants.approve(vault.acting(olaf), grant.id)
    assert (told.purpose, told.case, told.grant.approved_by) == (PURPOSE, CASE, olaf.name)
    found = _read(vault, anna)
    assert found.raw == spelled(decision(3))
    assert (found.grant, found.masked) == (grant.id, None)
    opened = last(vault, "record.opened")
    assert (opened.seq, opened.actor) == (found.access, anna.name)
    facts = {"grant": grant.id, "fields": "full", "seq": 3, "break_glass": 0}
    assert {key: opened.facts[key] for key in facts} == facts


def test_purpose_and_case_stand_nowhere_in_clear(installation: Installation, vault: Vault, anna: Actor) -> None:
    asked(vault, anna, ["cn"])
    (told,) = grants.listing(vault.acting(anna))
    assert (told.purpose, told.case) == (PURPOSE, CASE)
    everything = stored(installation)
    for text in (PURPOSE, CASE):
        assert text not in everything
        assert text.encode().hex() not in everything


def test_nobody_approves_their_own(vault: Vault) -> None:
    both = hire(vault, "bo", "auditor", "officer")
    grant = asked(vault, both, ["cn"])
    with pytest.raises(Denied, match="nobody approves their own"):
        grants.approve(vault.acting(both), grant.id)
    assert last(vault, "access.denied").facts["code"] == "four_eyes"
    with pytest.raises(Denied):
        _read(vault, both)


@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_who_is_no_officer_approves_nothing(vault: Vault, anna: Actor, role: str) -> None:
    grant = asked(vault, anna, ["cn"])
    other = hire(vault, "other", role)
    with pytest.raises(Unknown, match="there is no such grant"):
        grants.approve(vault.acting(other), grant.id)
    with pytest.raises(Unknown, match="there is no such grant"):
        grants.approve(vault.acting(other), "g-made-up")
    with pytest.raises(Denied, match="only a compliance officer"):
        grants.approve(vault.acting(anna), grant.id)
    assert happened(vault, "grant.approved") == []


def test_the_passphrase_is_no_second_person(vault: Vault, anna: Actor) -> None:
    grant = asked(vault, anna, ["cn"])
    assert vault.actor.break_glass
    with pytest.raises(Unknown):
        grants.approve(vault, grant.id)
    with pytest.raises(Denied, match="the role auditor"):
        asked(vault, vault.actor, ["cn"])


@pytest.mark.parametrize("role", ["officer", "operator"])
def test_who_is_no_auditor_reads_nothing_and_asks_for_nothing(vault: Vault, role: str) -> None:
    who = hire(vault, "who", role)
    with pytest.raises(Denied, match="the role auditor is missing"):
        _read(vault, who)
    with pytest.raises(Denied, match="the role auditor"):
        asked(vault, who, ["cn"])
    assert [told.facts["act"] for told in happened(vault, "access.denied")] == ["record.open", "grant.request"]
    assert happened(vault, "record.opened")[1:] == [], "but for the one that was built in"


def test_a_grant_is_the_one_it_was_given_tos(vault: Vault, anna: Actor, olaf: Actor) -> None:
    grant = granted(vault, anna, olaf, ["cn"])
    other = hire(vault, "alma", "auditor")
    for chosen in (None, grant.id):
        with pytest.raises(Denied):
            _read(vault, other, grant=chosen)
    assert grants.listing(vault.acting(other)) == []
    assert [one.grant.id for one in grants.listing(vault.acting(olaf))] == [grant.id]
    with pytest.raises(Unknown):
        grants.revoke(vault.acting(other), grant.id)


@pytest.mark.parametrize("by", ["auditor", "officer"])
def test_a_revoked_grant_opens_nothing(vault: Vault, anna: Actor, olaf: Actor, by: str) -> None:
    grant = granted(vault, anna, olaf, ["cn"])
    _read(vault, anna)
    revoked = grants.revoke(vault.acting(anna if by == "auditor" else olaf), grant.id).grant
    assert revoked.state(vault.clock()) == "revoked"
    with pytest.raises(Denied):
        _read(vault, anna)
    with pytest.raises(Denied, match="revoked already"):
        grants.revoke(vault.acting(olaf), grant.id)
    with pytest.raises(Denied, match="the grant is revoked"):
        grants.approve(vault.acting(olaf), grant.id)


def test_an_expired_grant_opens_nothing(vault: Vault, anna: Actor, olaf: Actor) -> None:
    grant = granted(vault, anna, olaf, ["cn"])
    waiting = asked(vault, anna, ["cn"])
    assert _read(later(vault, HOUR - 5_000_000), anna).grant == grant.id
    after = later(vault, HOUR + 1_000_000)
    with pytest.raises(Denied):
        _read(after, anna)
    with pytest.raises(Denied, match="the grant is expired"):
        grants.approve(after.acting(olaf), waiting.id)


def test_a_grant_is_for_its_ledgers_only(vault: Vault, anna: Actor, olaf: Actor) -> None:
    granted(vault, anna, olaf, ["sg"])
    assert _read(vault, anna, ledger="sg").seq == 3
    with pytest.raises(Denied, match="names this ledger"):
        _read(vault, anna)


def test_period_and_class_bound_what_is_opened(installation: Installation, vault: Vault) -> None:
    installation.ingest("cn", [(1, spelled(decision(900, record_class="aml", occurred_at="2026-01-04T00:00:00Z")))])
    anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    # dec-3 occurred at 2026-01-04T00:03:12.111Z, dec-4 a day later.
    start, end = _instant("2026-01-04T00:03:12Z"), _instant("2026-01-04T00:03:13Z")
    granted(vault, anna, olaf, ["cn"], start=start, end=end)
    assert _read(vault, anna).seq == 3
    for outside in ("dec-4", "dec-2", "dec-900"):
        with pytest.raises(Unknown):
            _read(vault, anna, outside)
    assert last(vault, "access.denied").facts["code"] == "scope"
    granted(vault, anna, olaf, ["cn"], classes=("aml",))
    assert _read(vault, anna, "dec-900").leaf.seq == installation.size("cn") - 1
    with pytest.raises(Unknown):
        _read(vault, anna, "dec-4")
    late = granted(vault, anna, olaf, ["cn"], start=end)
    with pytest.raises(Unknown):
        _read(vault, anna, grant=late.id)


def test_what_is_out_of_reach_looks_like_what_is_not_there(vault: Vault, anna: Actor, olaf: Actor) -> None:
    """Whichever way one asks: nobody learns which ids exist."""
    narrow = granted(vault, anna, olaf, ["cn"], classes=("aml",))
    for chosen in (None, narrow.id, "g-made-up"):
        answers = []
        for record_id in ("dec-3", "dec-99999"):
            with pytest.raises(Denied) as caught:
                _read(vault, anna, record_id, grant=chosen)
            answers.append((type(caught.value), str(caught.value)))
        assert answers[0] == answers[1], chosen


FACETS = {
    "occurred_at": "occurred_at = '2026-01-20T00:00:00Z'",
    "record_class": "record_class = 'aml'",
    "flags": "flags = flags + 1",
    "salt": "salt = decode(repeat('00', 16), 'hex')",
    "all of a neighbour's": "occurred_at = (SELECT occurred_at FROM vault.sealed o WHERE o.ledger_id = "
    "vault.sealed.ledger_id AND o.seq = 4)",
}


@pytest.mark.parametrize("edit", FACETS)
def test_nobody_edits_a_record_into_a_grant(installation: Installation, vault: Vault, edit: str) -> None:
    anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    granted(vault, anna, olaf, ["cn"], start=_instant("2026-01-19T00:00:00Z"))
    granted(vault, anna, olaf, ["cn"], classes=("aml",))
    with installation.tampering() as connection:
        changed = connection.execute(
            f"UPDATE vault.sealed SET {FACETS[edit]} WHERE ledger_id = %s AND seq = 3", [installation.ledger("cn")]
        )
        assert changed.rowcount == 1
    with pytest.raises(Modified, match="the facets"):
        _read(vault, anna)
    unsound = last(vault, "record.unsound")
    assert (unsound.actor, unsound.facts["seq"], unsound.facts["verdict"]) == (anna.name, 3, "modified")


def _planted() -> dict[str, Any]:
    return decision(
        901,
        conversation_id="conv-901",
        prompt=f"prompt {MARK}-prompt",
        response=f"response {MARK}-response",
        customer_ref=f"{MARK}-customer",
        source={
            "adapter": "native",
            "fidelity": "wire",
            "endpoint": f"https://{MARK}-endpoint.example",
            "call_id": f"{MARK}-call",
        },
        model={"requested": "qwen-max", "served": "qwen-max-1", "parameters": {"stop": f"{MARK}-parameter"}},
        decision={
            "action": "refund",
            "outcome": "accepted",
            "money_moved": True,
            "executed": {"amount": "12.50", "currency": "CNY"},
            "transaction_id": f"{MARK}-txn",
            "reason": f"{MARK}-reason",
            "explanation": f"{MARK}-explanation",
            "alternative": f"{MARK}-alternative",
        },
        extra={f"{MARK}-name": f"{MARK}-value"},
    )


def test_masked_stays_masked(installation: Installation, vault: Vault) -> None:
    raw = spelled(_planted())
    assert [one.code for one in installation.ingest("cn", [(1, raw)])] == [""]
    anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    granted(vault, anna, olaf, ["cn"], fields="masked")
    found = _read(vault, anna, "dec-901")
    assert found.raw == b""
    assert found.masked is not None
    shown = msgspec.json.encode(found.masked)
    assert MARK.encode() not in shown + found.receipt
    assert (found.masked["prompt"], found.masked["decision"]["action"]) == (MASKED, "refund")
    assert "opening" not in json.loads(found.receipt)
    ledger = ledgers.get(vault, "cn")
    keys = [vault.checkpoints.verifier(ledger.id)]
    receipt.verify(found.receipt, None, keys, vault.checkpoints.origin(ledger.id))
    assert MARK not in repr(found)
    assert last(vault, "record.opened").facts["fields"] == "masked"


def test_a_full_grant_is_taken_before_a_masked_one_unless_named(vault: Vault, anna: Actor, olaf: Actor) -> None:
    masked = granted(vault, anna, olaf, ["cn"], fields="masked")
    full = granted(vault, anna, olaf, ["cn"])
    assert _read(vault, anna).grant == full.id
    named = _read(vault, anna, grant=masked.id)
    assert (named.grant, named.raw) == (masked.id, b"")


def test_a_full_receipt_proves_the_bytes(vault: Vault, anna: Actor, olaf: Actor) -> None:
    granted(vault, anna, olaf, ["cn"])
    found, ledger = _read(vault, anna), ledgers.get(vault, "cn")
    keys, origin = [vault.checkpoints.verifier(ledger.id)], vault.checkpoints.origin(ledger.id)
    receipt.verify(found.receipt, found.raw, keys, origin)
    with pytest.raises(Modified):
        receipt.verify(found.receipt, found.raw + b" ", keys, origin)


def test_a_person_who_changed_meanwhile_has_no_grants(vault: Vault, anna: Actor, olaf: Actor) -> None:
    """The decision asks the events for the roles, not the login."""
    granted(vault, anna, olaf, ["cn"])
    hire(vault, "anna", "operator")
    with pytest.raises(Denied, match="the role auditor is missing"):
        _read(vault, anna)
    hire(vault, "olaf", "auditor")
    grant = asked(vault, hire(vault, "alma", "auditor"), ["cn"])
    with pytest.raises(Unknown):
        grants.approve(vault.acting(olaf), grant.id)


def test_once_a_policy_is_adopted_the_passphrase_reads_nothing(vault: Vault, anna: Actor, olaf: Actor) -> None:
    reading.read(vault, ledgers.get(vault, "cn"), "dec-3", "before")
    with pytest.raises(Denied, match="passphrase"):
        grants.require(vault.acting(olaf))
    grants.require(vault)
    grants.require(vault)
    assert len(happened(vault, "grants.required")) == 1
    for record_id in ("dec-3", "dec-99999"):
        with pytest.raises(Denied, match="a grant policy is adopted here"):
            reading.read(vault, ledgers.get(vault, "cn"), record_id, "after")
    with pytest.raises(Denied):
        reading.require_whole(vault, ledgers.get(vault, "cn"))
    granted(vault, anna, olaf, ["cn"])
    assert _read(vault, anna).seq == 3


def test_a_grant_that_is_revoked_while_a_record_is_looked_for_opens_nothing(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process revokes it after the entry was found and verified; the decision comes after that."""
    grant = granted(vault, anna, olaf, ["cn"])
    prove = proving.prove
    with installation.opened() as other:

        def then_revoke(*arguments: Any) -> Any:
            grants.revoke(other.acting(olaf), grant.id)
            return prove(*arguments)

        monkeypatch.setattr(proving, "prove", then_revoke)
        with pytest.raises(Denied, match="no grant of yours"):
            _read(vault, anna)
    assert [told.facts.get("grant") for told in happened(vault, "record.opened")] == [None]


def test_a_report_needs_a_grant_for_the_whole_ledger(vault: Vault, anna: Actor, olaf: Actor) -> None:
    ledger = ledgers.get(vault, "cn")
    granted(vault, anna, olaf, ["cn"], classes=("payment",))
    with pytest.raises(Denied, match="without period and classes"):
        reading.require_whole(vault.acting(anna), ledger)
    granted(vault, anna, olaf, ["cn"], start=0)
    with pytest.raises(Denied):
        reading.require_whole(vault.acting(anna), ledger)
    granted(vault, anna, olaf, ["cn", "sg"])
    reading.require_whole(vault.acting(anna), ledger)
    assert {told.facts["code"] for told in happened(vault, "access.denied")} == {"scope"}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"purpose": " "}, "purpose"),
    ({"purpose": "two\nlines"}, "purpose"),
    ({"purpose": "x" * 501}, "purpose"),
    ({"case": ""}, "case"),
    ({"case": "\x1b[31m"}, "case"),
    ({"fields": "everything"}, "fields"),
    ({"classes": ("not a word",)}, "classes"),
    ({"classes": ("",)}, "classes"),
    ({"classes": tuple(f"c-{n}" for n in range(33))}, "classes"),
    ({"start": 2_000_000, "end": 2_000_000}, "ends before"),
    ({"expires_at": 0}, "expired already"),
    ({"start": -30_610_224_000_000_001}, "years 1000 to 9999"),
    ({"end": -62_135_596_800_000_000}, "years 1000 to 9999"),
    ({"expires_at": 253_402_300_800_000_000}, "years 1000 to 9999"),
    ({"expires_at": 4_102_444_800_000_000}, "366 days"),
]


def test_what_no_grant_can_say(vault: Vault, anna: Actor) -> None:
    for wrong, words in WRONG:
        with pytest.raises(UsageError, match=words):
            asked(vault, anna, ["cn"], **wrong)
    with pytest.raises(UsageError, match="ledgers"):
        asked(vault, anna, [])
    assert happened(vault, "grant.requested") == []
    oldest = asked(vault, anna, ["cn"], start=-30_610_224_000_000_000, end=253_402_300_799_000_000)
    assert vault.register.standing().grants[oldest.id].scope == oldest.scope


def test_people_of_a_provider_are_what_their_login_said(vault: Vault, olaf: Actor) -> None:
    auditor = Actor("p-aaaaaaaaaaaaaaaa", break_glass=False, roles=frozenset({"auditor"}))
    granted(vault, auditor, olaf, ["cn"])
    assert _read(vault, auditor).seq == 3
    with pytest.raises(Denied, match="the role auditor is missing"):
        _read(vault, replace(auditor, roles=frozenset()))
