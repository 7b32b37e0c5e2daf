"""Who may do what to a disposal, and what must be true when its keys die."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.core import canonical
from vault.core import disposal as rules
from vault.core.governance import Approval, ApproverKey, Disposal, DisposalState, Governance

TENANT = str(UUID(int=1))
LEDGER = UUID(int=2)
MANIFEST = bytes(range(32))
PLAN = 100
OFFICER = frozenset({"officer"})
HOUR = 3600 * 1_000_000
NOW = 1_900_000_000 * 1_000_000
KEYS = {name: Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number, name in enumerate("abcd")}

PLANNED = Disposal(
    id="d-1",
    kind="expiry",
    ledger=str(LEDGER),
    manifest=canonical.b64(MANIFEST),
    selection="s",
    count=9,
    groups=("2026-10.0",),
    due=1,
    requested_by="r",
    seq=PLAN,
    planned_at=NOW,
    cooling_off=60,
)


def public(person: str) -> bytes:
    return KEYS[person].public_key().public_bytes_raw()


def approval(person: str, key: str | None = None, made: Disposal = PLANNED) -> Approval:
    """What a person signs, with their own key unless another is named."""
    key = key or person
    signature = KEYS[key].sign(rules.signed_bytes(made, TENANT, person))
    return Approval(person, PLAN + 1, canonical.b64(signature), canonical.b64(public(key)))


def world(*people: str, seq: int = PLAN - 1) -> Governance:
    """A vault in which these people registered a key of their own."""
    return Governance(approvers={one: ApproverKey(one, public(one), seq) for one in people})


def approved(*approvals: Approval) -> Disposal:
    return replace(PLANNED, approvals=approvals)


def intended(made: Disposal, not_before: int = NOW // 1_000_000) -> Disposal:
    return replace(made, state="intended", intended_at=NOW, not_before=not_before)


BOTH = approved(approval("a"), approval("b"))


def test_officers_the_passphrases_holder_and_the_worker_plan() -> None:
    assert rules.why_no_plan(OFFICER, trusted=False) is None
    assert rules.why_no_plan((), trusted=True) is None
    assert rules.why_no_plan({"auditor"}, trusted=False) == "only a compliance officer plans a disposal"


def test_an_approver_is_an_officer_with_a_key_from_before_the_plan_who_did_not_plan_it() -> None:
    key = ApproverKey("a", public("a"), PLAN - 1)
    assert rules.why_no_approval(PLANNED, "a", OFFICER, key) is None
    assert rules.why_no_approval(PLANNED, "a", {"auditor"}, key) is not None
    assert rules.why_no_approval(PLANNED, "r", OFFICER, replace(key, person="r")) is not None
    assert rules.why_no_approval(PLANNED, "a", OFFICER, None) is not None
    assert rules.why_no_approval(PLANNED, "a", OFFICER, replace(key, seq=PLAN + 1)) is not None
    assert rules.why_no_approval(approved(approval("a")), "a", OFFICER, key) is not None
    for state in ("intended", "destroying", "done", "cancelled"):
        assert rules.why_no_approval(replace(PLANNED, state=state), "a", OFFICER, key) is not None


def test_a_key_is_one_persons() -> None:
    assert rules.why_no_key(world("a"), "b", OFFICER, public("b")) is None
    assert rules.why_no_key(world("a"), "b", OFFICER, public("a")) is not None
    assert rules.why_no_key(world("a"), "a", OFFICER, public("a")) == "this key is registered already"
    assert rules.why_no_key(world(), "a", (), public("a")) is not None
    assert rules.why_no_removal(world("a"), "a", OFFICER) is None
    assert rules.why_no_removal(world("a"), "b", OFFICER) is not None
    assert rules.why_no_removal(world("a"), "a", ()) is not None


def test_two_signatures_of_two_people_make_it_whole() -> None:
    assert rules.why_no_intent(world("a", "b"), {}, BOTH, TENANT) is None
    assert rules.why_no_intent(world("a", "b"), {}, approved(approval("a")), TENANT) is not None
    assert rules.why_no_intent(world("a", "b"), {}, replace(BOTH, state="cancelled"), TENANT) is not None


@pytest.mark.parametrize(
    ("governance", "made"),
    [
        (world("a", "b"), approved(approval("a"), approval("a"))),
        (world("a", "b"), approved(approval("a"), approval("b", key="a"))),
        (world("a"), BOTH),
        (world("a", "b", seq=PLAN), BOTH),
        (world("a", "b", seq=PLAN + 5), BOTH),
        (world("a", "b"), replace(BOTH, requested_by="a")),
        (world("a", "b"), replace(BOTH, count=10)),
        (world("a", "b"), replace(BOTH, manifest=canonical.b64(bytes(32)))),
        (world("a", "b"), replace(BOTH, id="d-2")),
        (world("a", "b"), replace(BOTH, ledger=str(UUID(int=3)))),
        (world("a", "b"), replace(BOTH, kind="early")),
        (world("a", "b"), replace(BOTH, due=2)),
        (world("a", "b"), replace(BOTH, due=0)),
        (world("a", "b"), replace(BOTH, seq=PLAN + 1)),
        (world("a", "b"), replace(BOTH, cooling_off=0)),
        (Governance(approvers={one: ApproverKey(one, public("a"), 1) for one in "ab"}), BOTH),
    ],
    ids=[
        "one person twice",
        "one key for two",
        "a key removed",
        "keys as late as the plan",
        "keys later",
        "the requester's own",
        "another count",
        "another manifest",
        "another disposal",
        "another ledger",
        "another kind",
        "another date",
        "no date",
        "another plan",
        "another cooling-off",
        "one key registered by two",
    ],
)
def test_what_does_not_count_as_two_approvals(governance: Governance, made: Disposal) -> None:
    assert rules.why_no_intent(governance, {}, made, TENANT) is not None
    why = rules.why_no_destruction(governance, {}, intended(made), TENANT, MANIFEST, NOW + HOUR)
    assert "approval" in str(why) or "manifest" in str(why)


def test_a_signature_is_over_this_tenants_disposal_and_this_person() -> None:
    made = approval("a")
    assert rules.is_signed(PLANNED, TENANT, "a", public("a"), made.signature)
    assert not rules.is_signed(PLANNED, str(UUID(int=9)), "a", public("a"), made.signature)
    assert not rules.is_signed(PLANNED, TENANT, "b", public("a"), made.signature)
    assert not rules.is_signed(PLANNED, TENANT, "a", public("a"), made.signature[:-2])
    assert not rules.is_signed(replace(PLANNED, manifest="edited"), TENANT, "a", public("a"), made.signature)
    assert not rules.is_signed(PLANNED, TENANT, "a", b"short", made.signature)


def test_keys_die_when_cooling_off_is_over_and_the_manifest_is_the_same() -> None:
    world_, made = world("a", "b"), intended(BOTH, NOW // 1_000_000 + 70)
    assert rules.why_no_destruction(world_, {}, made, TENANT, MANIFEST, NOW + 70_000_000) is None
    assert "cooling-off lasts until" in str(rules.why_not_now(made, NOW + 69_999_999))
    assert "manifest" in str(rules.why_no_destruction(world_, {}, made, TENANT, bytes(32), NOW + HOUR))
    for state in ("planned", "destroying", "done", "cancelled"):
        assert rules.why_not_now(replace(made, state=state), NOW + HOUR) is not None


def test_a_clock_that_goes_back_shortens_no_cooling_off() -> None:
    # Set back before the intent: it counts from the plan. Set back after it: nothing happens until it is over.
    assert rules.cooling_off_ends(PLANNED, NOW - 100 * HOUR) == NOW // 1_000_000 + 60
    assert rules.cooling_off_ends(PLANNED, NOW + 1) == NOW // 1_000_000 + 61
    assert rules.why_not_now(intended(BOTH, not_before=0), NOW - 1) is not None


def test_an_intent_that_names_less_than_was_planned_and_signed_shortens_no_cooling_off() -> None:
    made = intended(BOTH, not_before=NOW // 1_000_000 + 1)
    assert rules.cooled_at(made) == NOW + 60_000_000
    assert "cooling-off lasts until" in str(rules.why_not_now(made, NOW + 59_999_999))
    assert rules.why_not_now(made, NOW + 60_000_000) is None


def test_nothing_dies_before_the_last_of_it_is_due() -> None:
    made = replace(intended(BOTH), due=NOW // 1_000_000 + 100)
    assert "is due at" in str(rules.why_not_now(made, NOW + 99_999_999))
    assert rules.why_not_now(made, NOW + 100_000_000) is None


@dataclass(frozen=True)
class _Account:
    roles: frozenset[str]
    disabled: bool


@pytest.mark.parametrize(
    "account",
    [_Account(OFFICER, disabled=True), _Account(frozenset({"auditor"}), disabled=False)],
    ids=["disabled", "no officer any more"],
)
def test_who_is_no_officer_any_more_has_not_approved(account: _Account) -> None:
    governance, made = world("a", "b"), intended(BOTH)
    fine = {"a": _Account(OFFICER, disabled=False)}  # "b" comes by an identity provider
    assert rules.why_no_destruction(governance, fine, made, TENANT, MANIFEST, NOW + HOUR) is None
    for person in "ab":
        why = rules.why_no_destruction(governance, {person: account}, made, TENANT, MANIFEST, NOW + HOUR)
        assert "does not count any more" in str(why)
        assert rules.why_no_intent(governance, {person: account}, BOTH, TENANT) is not None


def test_whoever_cancels_keeps_everything_until_the_keys_die() -> None:
    assert rules.why_no_cancel(PLANNED, OFFICER, trusted=False) is None
    assert rules.why_no_cancel(intended(PLANNED), (), trusted=True) is None
    assert rules.why_no_cancel(PLANNED, {"auditor"}, trusted=False) is not None
    assert rules.why_no_cancel(replace(PLANNED, state="destroying"), OFFICER, trusted=True) is not None


def test_what_came_since_the_look_makes_it_stale() -> None:
    told = Governance()
    assert not rules.is_stale(told, 0)
    told.take("record.dated", "worker", {"ledger": "l", "seq": 4, "trigger": "relationship_ended"}, 7, NOW)
    assert rules.is_stale(told, 7)
    assert not rules.is_stale(told, 8)
    assert not rules.is_stale(told.copy(), 8)


def test_what_is_planned_and_not_ended_is_unfinished() -> None:
    states: tuple[DisposalState, ...] = ("planned", "intended", "destroying", "done", "cancelled")
    every: dict[str, Disposal] = {state: replace(PLANNED, id=state, state=state) for state in states}
    told = Governance(disposals=every)
    assert [one.id for one in rules.unfinished(told, LEDGER)] == ["planned", "intended", "destroying"]
    assert rules.unfinished(told, UUID(int=3)) == []
