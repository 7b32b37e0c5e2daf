"""Standing: whatever people, producers and grants go through, what the events say of it is what happened."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from vault.core import canonical, leaf
from vault.core.errors import Modified
from vault.core.grant import Grant, Scope, why_no_approval, why_no_request, why_no_revocation
from vault.core.leaf import EventLeaf, microseconds
from vault.core.standing import LOCKED_AFTER, LOCKED_FOR, Standing, interesting

EVENTS = "7b0a4f39-0f86-4c1e-9d8a-52f0a3f1c2d4"
LEDGER = "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"
PEOPLE = ("p-anna", "p-olaf", "p-otto")
SECOND = 1_000_000
START = 1_800_000_000 * SECOND
DIGEST = canonical.b64(hashlib.sha256(b"secret").digest())


def _event(standing: Standing, name: str, actor: str, facts: dict[str, Any], now: int) -> bytes:
    """Let a standing take an event, and return its leaf."""
    seq, at = standing.size, leaf.instant_ms(now)
    fields = {"actor": actor, "at": at, "event": name, "facts": facts, "kind": "event", "ledger": EVENTS}
    spelled = leaf.at(*leaf.draft(fields), seq, bytes(32))
    standing.take(name, actor, facts, seq, at)
    standing.size += 1
    return spelled


def _reread(leaves: list[bytes]) -> Standing:
    standing = Standing(size=1)
    for data in leaves:
        told = leaf.parse(data)
        assert isinstance(told, EventLeaf)
        if interesting(told.event):
            standing.take(told.event, told.actor, told.facts, told.seq, told.at)
        standing.size += 1
    return standing


class Governance(RuleBasedStateMachine):
    """People ask, approve, revoke, log in and are locked out; a second book is kept beside the events."""

    grants = Bundle("grants")
    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.standing = Standing(size=1)  # after the genesis leaf
        self.leaves: list[bytes] = []
        self.approvers: dict[str, set[str]] = {}
        self.ended: set[str] = set()
        self.expiry: dict[str, int] = {}
        self.revoked_keys: set[str] = set()
        self.wrong: dict[str, list[int]] = {}

    def say(self, name: str, actor: str, **facts: Any) -> None:
        self.leaves.append(_event(self.standing, name, actor, facts, self.now))

    @initialize()
    def everybody_is_there(self) -> None:
        for person, roles in zip(PEOPLE, (["auditor", "officer"], ["officer"], ["auditor"]), strict=True):
            self.say("user.added", "local:root", person=person, roles=roles, verifier=DIGEST)

    def roles(self, person: str) -> frozenset[str]:
        account = self.standing.people[person]
        return frozenset() if account.disabled else account.roles

    @rule(seconds=st.sampled_from((1, 60, 899, 900, 901, 3600)))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(target=grants, person=st.sampled_from(PEOPLE), lasts=st.sampled_from((1, 600, 100_000)))
    def somebody_asks(self, person: str, lasts: int) -> str:
        scope = Scope((LEDGER,), None, None, (), "full")
        name = f"g-{len(self.leaves)}"
        if why_no_request(self.roles(person), scope, self.now + lasts * SECOND, self.now) is None:
            expires_at = self.now + lasts * SECOND
            self.say(
                "grant.requested",
                person,
                grant=name,
                auditor=person,
                ledgers=[LEDGER],
                classes=[],
                fields="full",
                expires_at=leaf.instant(expires_at // SECOND),
            )
            self.expiry[name] = expires_at
            self.approvers[name] = set()
        return name

    def find(self, name: str) -> Grant | None:
        return self.standing.grants.get(name)

    @rule(name=grants, person=st.sampled_from(PEOPLE))
    def somebody_approves(self, name: str, person: str) -> None:
        found = self.find(name)
        if found is not None and why_no_approval(found, person, self.roles(person), self.now) is None:
            self.say("grant.approved", person, grant=name, request=found.request)
            self.approvers[name].add(person)

    @rule(name=grants, person=st.sampled_from(PEOPLE))
    def somebody_revokes(self, name: str, person: str) -> None:
        found = self.find(name)
        if found is not None and why_no_revocation(found, person, self.roles(person)) is None:
            self.say("grant.revoked", person, grant=name)
            self.ended.add(name)

    @rule(person=st.sampled_from(PEOPLE))
    def a_password_is_wrong(self, person: str) -> None:
        self.say("login.failed", person, person=person, code="password")
        if not self.is_locked(person):
            self.wrong.setdefault(person, []).append(self.now)

    def is_locked(self, person: str) -> bool:
        recent = self.wrong.get(person, [])[-LOCKED_AFTER:]
        steady = len(recent) == LOCKED_AFTER and recent[-1] - recent[0] < LOCKED_FOR
        return steady and self.now < recent[-1] + LOCKED_FOR

    @rule(person=st.sampled_from(PEOPLE))
    def a_password_is_right(self, person: str) -> None:
        self.say("login.succeeded", person, person=person)
        self.wrong.pop(person, None)

    @rule(person=st.sampled_from(PEOPLE))
    def an_account_ends(self, person: str) -> None:
        self.say("user.disabled", "local:root", person=person)

    @rule(person=st.sampled_from(PEOPLE), roles=st.sampled_from((["auditor"], ["officer"], ["operator"])))
    def an_account_changes(self, person: str, roles: list[str]) -> None:
        self.say("user.added", "local:root", person=person, roles=roles, verifier=DIGEST)
        self.wrong.pop(person, None)

    @rule(target=keys)
    def a_producer_gets_a_key(self) -> str:
        key = f"key-{len(self.leaves)}"
        self.say("producer.added", "local:root", producer="psp", key=key, digest=DIGEST, ledgers=[LEDGER])
        return key

    @rule(key=consumes(keys))
    def a_key_is_revoked(self, key: str) -> None:
        self.say("producer.revoked", "local:root", producer="psp", key=key)
        self.revoked_keys.add(key)

    @rule()
    def something_else_happens(self) -> None:
        self.say("record.opened", "p-anna", ledger=LEDGER, seq=3)

    @precondition(lambda self: self.standing.size % 7 == 3)
    @rule()
    def a_copy_is_tried_on(self) -> None:
        before, copy = _reread(self.leaves), self.standing.copy()
        for name in list(copy.grants):
            copy.take("grant.revoked", "p-olaf", {"grant": name}, copy.size, leaf.instant_ms(self.now))
        copy.take("login.failed", "x", {"person": "p-anna"}, copy.size, leaf.instant_ms(self.now))
        copy.take("person.known", "x", {"person": "p-new"}, copy.size, leaf.instant_ms(self.now))
        assert self.standing == before

    @invariant()
    def what_was_lived_through_is_what_the_leaves_say(self) -> None:
        assert _reread(self.leaves) == self.standing

    @invariant()
    def only_what_somebody_else_approved_opens(self) -> None:
        for person in PEOPLE:
            held = self.standing.grants_of(person, self.now)
            for one in held:
                assert one.auditor == person
                assert self.approvers[one.id], "nobody approved it"
                assert person not in self.approvers[one.id], "approved by the one it was given to"
                assert one.id not in self.ended, "revoked"
                assert self.now < self.expiry[one.id], "expired"
            holding = {
                name
                for name, by in self.approvers.items()
                if by and name not in self.ended and self.now < self.expiry[name]
            }
            assert {one.id for one in held} == {
                name for name in holding if self.standing.grants[name].auditor == person
            }

    @invariant()
    def many_wrong_passwords_lock_an_account(self) -> None:
        for person in PEOPLE:
            until = self.standing.locked_until(person)
            assert (until is not None and self.now < until) == self.is_locked(person)

    @invariant()
    def revoked_keys_are_revoked(self) -> None:
        ended = {key for key, found in self.standing.producers.items() if found.revoked_at is not None}
        assert ended == self.revoked_keys


TestGovernance = Governance.TestCase
TestGovernance.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)

WHOLE: dict[str, dict[str, Any]] = {
    "producer.added": {"producer": "psp", "key": "k", "digest": DIGEST, "ledgers": [LEDGER]},
    "producer.revoked": {"producer": "psp", "key": "k"},
    "user.added": {"person": "p-1", "roles": ["auditor"], "verifier": DIGEST},
    "user.disabled": {"person": "p-1"},
    "person.known": {"person": "p-1"},
    "ledger.created": {"ledger": LEDGER, "genesis": DIGEST},
    "login.failed": {"person": "p-1", "code": "password"},
    "login.succeeded": {"person": "p-1"},
    "grant.requested": {
        "grant": "g-1",
        "auditor": "p-1",
        "ledgers": [LEDGER],
        "classes": [],
        "fields": "full",
        "expires_at": "2027-01-01T00:00:00Z",
    },
    "grant.approved": {"grant": "g-1"},
    "grant.revoked": {"grant": "g-1"},
}
_UNUSED = {("producer.revoked", "producer"), ("login.failed", "code")}
AT = "2026-11-25T01:00:00.000Z"


def _prepared() -> Standing:
    standing = Standing()
    for name in ("producer.added", "user.added", "grant.requested"):
        standing.take(name, "x", WHOLE[name], 0, AT)
    return standing


@pytest.mark.parametrize(
    ("event", "fact"),
    [(event, fact) for event, facts in WHOLE.items() for fact in facts if (event, fact) not in _UNUSED],
)
def test_an_event_without_one_of_its_facts_is_modified(event: str, fact: str) -> None:
    standing = _prepared()
    standing.take(event, "x", WHOLE[event], 1, AT)
    with pytest.raises(Modified, match=event):
        standing.take(event, "x", {key: value for key, value in WHOLE[event].items() if key != fact}, 2, AT)


@pytest.mark.parametrize(
    ("event", "facts"),
    [
        ("producer.added", {**WHOLE["producer.added"], "digest": "short"}),
        ("producer.added", {**WHOLE["producer.added"], "ledgers": 3}),
        ("producer.revoked", {"key": "never given"}),
        ("user.disabled", {"person": "p-unknown"}),
        ("grant.approved", {"grant": "g-unknown"}),
        ("grant.revoked", {"grant": "g-unknown"}),
        ("grant.requested", {**WHOLE["grant.requested"], "expires_at": "soon"}),
        ("grant.requested", {**WHOLE["grant.requested"], "start": 7}),
    ],
)
def test_an_event_whose_facts_cannot_be_is_modified(event: str, facts: dict[str, Any]) -> None:
    with pytest.raises(Modified):
        _prepared().take(event, "x", facts, 1, AT)


def test_only_these_events_count() -> None:
    assert all(interesting(event) for event in (*WHOLE, "grants.required"))
    assert not any(interesting(event) for event in ("record.opened", "access.denied", "grant.listed", "user", ""))


def test_names_that_are_made_up_fill_no_memory_and_push_nobody_out() -> None:
    standing = _prepared()
    for _ in range(LOCKED_AFTER):
        standing.take("login.failed", "p-1", WHOLE["login.failed"], 0, AT)
    for number in range(2, 10_100):
        standing.take("login.failed", "stranger", {"person": f"p-{number}", "code": "password"}, number, AT)
    assert set(standing.failures) == {"p-1"}
    assert standing.locked_until("p-1") is not None


def test_tries_on_a_locked_account_do_not_keep_it_locked() -> None:
    standing = _prepared()
    for _ in range(LOCKED_AFTER):
        standing.take("login.failed", "p-1", WHOLE["login.failed"], 0, AT)
    until = standing.locked_until("p-1")
    for code, at in (("password", "2026-11-25T01:10:00.000Z"), ("locked", "2026-11-25T01:15:00.001Z")):
        standing.take("login.failed", "p-1", {"person": "p-1", "code": code}, 9, at)
        assert standing.locked_until("p-1") == until
    standing.take("login.failed", "p-1", WHOLE["login.failed"], 10, "2026-11-25T01:15:00.001Z")
    assert standing.locked_until("p-1") is None
    assert len(standing.failures["p-1"]) == 1


def test_a_ledger_is_what_was_first_said_of_it() -> None:
    standing = Standing()
    standing.take("ledger.created", "x", WHOLE["ledger.created"], 1, AT)
    standing.take("ledger.created", "x", WHOLE["ledger.created"] | {"genesis": "another"}, 2, AT)
    assert standing.ledgers == {LEDGER: DIGEST}
    draft = standing.copy()
    draft.take("ledger.created", "x", {"ledger": "other", "genesis": DIGEST}, 3, AT)
    assert set(standing.ledgers) == {LEDGER}


def test_an_older_token_is_void_once_its_account_changes() -> None:
    standing = Standing()
    standing.take("user.added", "x", WHOLE["user.added"], 4, AT)
    first = standing.people["p-1"].generation
    standing.take("user.disabled", "x", WHOLE["user.disabled"], 9, AT)
    ended = standing.people["p-1"]
    standing.take("user.added", "x", WHOLE["user.added"], 12, AT)
    again = standing.people["p-1"]
    assert (first, ended.generation, ended.disabled, again.generation, again.disabled) == (4, 9, True, 12, False)


def test_full_grants_are_taken_before_masked_ones() -> None:
    standing = _prepared()
    masked = {**WHOLE["grant.requested"], "grant": "g-0", "fields": "masked"}
    standing.take("grant.requested", "p-1", masked, 1, AT)
    for name in ("g-0", "g-1"):
        standing.take("grant.approved", "p-2", {"grant": name}, 2, AT)
    assert [one.id for one in standing.grants_of("p-1", microseconds(AT))] == ["g-1", "g-0"]


def test_nothing_secret_shows_in_a_trace() -> None:
    standing = _prepared()
    assert DIGEST not in repr(standing.people["p-1"])
    assert repr(hashlib.sha256(b"secret").digest()) not in repr(standing.producers["k"])


def test_instants_are_read_to_the_millisecond() -> None:
    moment = datetime(2026, 11, 25, 1, 2, 3, 456_000, UTC)
    assert microseconds("2026-11-25T01:02:03.456Z") == round(moment.timestamp() * 1_000_000)
