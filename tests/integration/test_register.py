"""The register: nobody is let in because of a row. What a database's owner forges, hides or takes back is FORKED."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support.acting import VERIFIER, asked, granted, hire, keyed, last, recorded, refused
from tests.support.tampering import Crime
from tests.support.vault import Installation
from vault import events, grants, ledgers, producers, reading
from vault.context import Actor, Vault
from vault.core import canonical
from vault.core.errors import Denied, EvidenceError, Forked, Missing, Modified
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.standing import ProducerKey, Standing
from vault.db.store import SealedRow
from vault.events import Event, Ruling
from vault.opening import Opener
from vault.recordline import RecordLine
from vault.register import _take as take_event

SECRET = "rvk_aaaaaaaaaa_" + "A" * 43


class Town:
    """A vault with an auditor, an officer, a grant that waits, one that holds, one that is revoked, and a producer."""

    def __init__(self, installation: Installation, vault: Vault) -> None:
        self.installation = installation
        self.anna, self.olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
        self.waiting = asked(vault, self.anna, ["cn"])
        self.revoked = granted(vault, self.anna, self.olaf, ["cn"])
        grants.revoke(vault.acting(self.olaf), self.revoked.id)
        self.key = keyed(vault, "psp-1", "cn")
        self.ended = keyed(vault, "psp-1", "cn")
        producers.revoke(vault, self.ended.id)
        self.crime = Crime.against(installation)

    def seq(self, name: str) -> int:
        """Return where the newest event of a name stands."""
        for seq, data in reversed(list(enumerate(self.crime.leaves("events")))):
            if f'"event":"{name}"'.encode() in data:
                return seq
        raise AssertionError(name)


@pytest.fixture
def town(installation: Installation) -> Town:
    with installation.opened() as vault:
        return Town(installation, vault)


@pytest.fixture
def nothing_opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody may get as far as opening a record."""
    opened: list[object] = []
    open_ = Opener.open

    def spy(self: Opener, place: RecordLeaf | EventLeaf, row: SealedRow) -> bytes:
        if isinstance(place, RecordLeaf):
            opened.append(place)
        return open_(self, place, row)

    monkeypatch.setattr(Opener, "open", spy)
    yield
    assert not opened


def _forge_approval(town: Town) -> None:
    """A well-formed approval, linked to the leaf before it, with the head moved as the vault would move it."""
    facts = {"grant": town.waiting.id, "request": town.waiting.request, "break_glass": 0}
    town.crime.append("events", town.seq("grant.approved"), facts=facts, actor=town.olaf.name)


def _forge_producer(town: Town) -> None:
    facts = {
        "producer": "psp-9",
        "key": "aaaaaaaaaa",
        "digest": VERIFIER,
        "ledgers": [str(town.crime.uuid("cn"))],
        "break_glass": 1,
    }
    town.crime.append("events", town.seq("producer.added"), facts=facts)


def _forge_without_head(town: Town) -> None:
    leaves = town.crime.leaves("events")
    facts = {"grant": town.waiting.id, "request": town.waiting.request, "break_glass": 0}
    document = json.loads(leaves[town.seq("grant.approved")]) | {"facts": facts, "seq": len(leaves)}
    town.crime.insert_leaf("events", len(leaves), canonical.encode(document))


def _edit_revocation(town: Town) -> None:
    """The revoked grant's revocation becomes one of another grant; everything after it is made to agree."""

    def change(document: dict[str, Any]) -> None:
        document["facts"] |= {"grant": town.waiting.id}

    town.crime.rewrite("events", town.seq("grant.revoked"), change)


def _edit_revocation_alone(town: Town) -> None:
    seq = town.seq("grant.revoked")
    document = json.loads(town.crime.leaves("events")[seq])
    town.crime.put_leaf("events", seq, canonical.encode(document | {"event": "grants.listed"}))


def _delete_revocation(town: Town) -> None:
    seq = town.seq("grant.revoked")
    town.crime.delete("events", seq, seq + 1)


def _swap_events(town: Town) -> None:
    leaves, seq = town.crime.leaves("events"), town.seq("grant.revoked")
    town.crime.put_leaf("events", seq, leaves[seq - 1])
    town.crime.put_leaf("events", seq - 1, leaves[seq])


def _rewind(town: Town) -> None:
    """The head goes back to before the revocation, the leaves after it are gone."""
    seq = town.seq("grant.revoked")
    leaves = town.crime.leaves("events")
    town.crime.delete("events", seq, len(leaves))
    town.crime.set_head("events", leaves[:seq])


def _no_head(town: Town) -> None:
    town.crime.sql("DELETE FROM vault.head WHERE ledger_id = %s", town.crime.uuid("events"))


CRIMES: dict[str, Callable[[Town], None]] = {
    "an approval is forged": _forge_approval,
    "a producer is forged": _forge_producer,
    "a revocation is edited, the chain rewritten": _edit_revocation,
    "a revocation is edited": _edit_revocation_alone,
    "a revocation is deleted": _delete_revocation,
    "two events are swapped": _swap_events,
    "the head is rewound": _rewind,
    "there is no head": _no_head,
}


@pytest.mark.parametrize("crime", CRIMES)
@pytest.mark.usefixtures("nothing_opened")
def test_nobody_is_let_in_by_rows(town: Town, crime: str) -> None:
    CRIMES[crime](town)
    with town.installation.opened() as vault:
        with pytest.raises((Forked, Modified)):
            vault.register.standing()
        with pytest.raises((Forked, Modified)):
            producers.authenticate(vault.register.standing(), SECRET)
        with town.crime.nothing_is_signed("events"), pytest.raises(EvidenceError):
            reading.read(vault.acting(town.anna), ledgers.get(vault, "cn"), "dec-3", "")


@pytest.mark.parametrize("crime", CRIMES)
@pytest.mark.usefixtures("nothing_opened")
def test_a_process_that_knew_better_goes_on_knowing(town: Town, crime: str) -> None:
    """It read the ledger before the crime. What it lets in is what it read; what it commits is FORKED."""
    with town.installation.opened() as vault:
        before = vault.register.standing()
        CRIMES[crime](town)
        after = vault.register.standing()
        assert after.grants == before.grants
        assert after.producers == before.producers
        assert producers.authenticate(after, SECRET) == "unknown"
        cn = ledgers.get(vault, "cn")
        try:
            with pytest.raises(EvidenceError):
                reading.read(vault.acting(town.anna), cn, "dec-3", "")
        except Denied:  # an edit of the past only: the head is the one it wrote, and the grant is known to be revoked
            assert crime in ("a revocation is edited", "a revocation is deleted", "two events are swapped")


@pytest.mark.usefixtures("nothing_opened")
def test_a_row_that_no_head_counts_lets_nobody_in(town: Town) -> None:
    """An entry beyond the head is nobody's; the next commit finds its place taken."""
    _forge_without_head(town)
    with town.installation.opened() as vault:
        assert vault.register.standing().grants[town.waiting.id].approved_by is None
        with pytest.raises(EvidenceError):
            reading.read(vault.acting(town.anna), ledgers.get(vault, "cn"), "dec-3", "")


@pytest.mark.usefixtures("nothing_opened")
def test_an_older_dump_brings_no_grant_back(installation: Installation) -> None:
    with installation.opened() as vault:
        anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
        grant = granted(vault, anna, olaf, ["cn"])
        key, cn = keyed(vault, "psp-1", "cn"), ledgers.get(vault, "cn")
    with installation.dumped() as dump:
        with installation.opened() as vault:
            grants.revoke(vault.acting(olaf), grant.id)
            producers.revoke(vault, key.id)
        with replace(installation, database=dump).opened() as vault:
            with pytest.raises(Forked, match="behind its checkpoint"):
                vault.register.standing()
            with pytest.raises(Forked):
                reading.read(vault.acting(anna), cn, "dec-3", "")
            assert isinstance(refused(RecordLine(vault, cn, lambda _group: None), key), Forked)


def test_a_revocation_counts_for_the_other_process_at_once(town: Town) -> None:
    with town.installation.opened() as one, town.installation.opened() as two:
        grant = granted(one, town.anna, town.olaf, ["cn"])
        cn = ledgers.get(two, "cn")
        assert reading.read(two.acting(town.anna), cn, "dec-3", "").grant == grant.id
        grants.revoke(one.acting(town.olaf), grant.id)
        with pytest.raises(Denied):
            reading.read(two.acting(town.anna), cn, "dec-3", "")
        assert two.register.latest.grants[grant.id].revoked_by == town.olaf.name

        line = RecordLine(two, cn, lambda _group: None)
        producers.revoke(one, town.key.id)
        assert isinstance(refused(line, town.key), Denied)
        assert producers.authenticate(two.register.standing(), SECRET) == "unknown"


def test_a_decision_sees_what_another_process_committed_just_before(town: Town) -> None:
    """The look before it is old; what counts is what is read under the head's lock."""
    with town.installation.opened() as one, town.installation.opened() as two:
        grant = granted(one, town.anna, town.olaf, ["cn"])
        stale = two.register.standing()
        assert stale.grants[grant.id].state(two.clock()) == "approved"
        grants.revoke(one.acting(town.olaf), grant.id)
        seen: list[str] = []

        def decide(standing: Standing) -> Ruling[None]:
            seen.append(standing.grants[grant.id].state(two.clock()))
            return Ruling([Event("records.searched", {"count": 0})], None)

        events.rule(two, decide)
        assert seen == ["revoked"]


def test_catching_up_comes_to_the_same_as_reading_all(town: Town) -> None:
    with town.installation.opened() as one, town.installation.opened() as follower:
        follower.register.standing()
        for turn in range(6):
            grant = granted(one, town.anna, town.olaf, ["cn", "sg"][: 1 + turn % 2])
            if turn % 3 == 0:
                grants.revoke(one.acting(town.olaf), grant.id)
            recorded(one, town.anna, "login.failed", person=town.anna.name, code="password")
            if turn % 2:
                follower.register.standing()
        with town.installation.opened() as newcomer:
            assert follower.register.standing() == newcomer.register.standing()
            assert newcomer.register.standing() == one.register.standing()


def test_what_nobody_was_told_is_not_asked_for(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look costs no query while the checkpoint outside the database is the one of the last look."""
    with town.installation.opened() as vault:
        before = vault.register.standing()
        monkeypatch.setattr(vault.engine, "connect", lambda: pytest.fail("the database was asked"))
        assert vault.register.standing() is before


def test_a_checkpoint_of_somebody_else_is_not_believed(town: Town) -> None:
    path = town.installation.checkpoints("events") / "checkpoint"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], str(int(lines[1]) - 1), *lines[2:]]))
    with town.installation.opened() as vault, pytest.raises(Forked):
        vault.register.standing()


def test_a_group_decides_each_by_those_before_it(town: Town) -> None:
    """Two approvals in one transaction: the second hears that the first was there."""
    with town.installation.opened() as vault:
        olga = hire(vault, "olga", "officer")
        tickets = []
        for officer in (town.olaf, olga):
            acting = vault.acting(officer)

            def decide(standing: Standing, acting: Vault = acting) -> Ruling[str]:
                if standing.grants[town.waiting.id].approved_by is not None:
                    return events.refuse(Denied("the grant is approved"), Event("access.denied", {"act": "x"}))
                facts = {"grant": town.waiting.id, "request": town.waiting.request}
                return Ruling([Event("grant.approved", facts)], acting.actor.name)

            tickets.append(events.Ticket(acting, (), decide))
        events.commit(tickets)
        assert tickets[0].error is None
        assert isinstance(tickets[1].error, Denied)
        assert (tickets[0].outcome, tickets[1].seq) == (town.olaf.name, tickets[0].seq + 1)
        assert vault.register.standing().grants[town.waiting.id].approved_by == town.olaf.name


def test_one_who_cannot_decide_does_not_stop_the_others(town: Town) -> None:
    with town.installation.opened() as vault:

        def confused(_standing: Standing) -> Ruling[None]:
            raise Missing("there is no such thing")

        tickets = [
            events.Ticket(vault, [Event("grants.listed", {"count": 1})], None),
            events.Ticket(vault, (), confused),
            events.Ticket(vault, [Event("grants.listed", {"count": 2})], None),
        ]
        events.commit(tickets)
        assert [type(one.error) for one in tickets] == [type(None), Missing, type(None)]
        assert [told.facts["count"] for told in (last(vault, "grants.listed"),)] == [2]
        assert tickets[2].seq == tickets[0].seq + 1


def test_an_event_in_another_ones_place_is_not_taken(town: Town) -> None:
    """Even under a tree that hashes right: the leaf says where it belongs."""
    seq = town.seq("grant.approved")
    approval = town.crime.leaves("events")[seq]
    with town.installation.opened() as vault:
        standing = vault.register.standing()
        take_event(standing.copy(), approval, seq)
        with pytest.raises(Modified, match="not in its place"):
            take_event(standing.copy(), approval, seq + 1)


def test_a_key_is_compared_whole(town: Town) -> None:
    with town.installation.opened() as vault:
        _, secret = producers.add(vault, "psp-2", [ledgers.get(vault, "cn")], os.urandom)
        standing = vault.register.standing()
        assert isinstance(producers.authenticate(standing, secret), ProducerKey)
        for wrong in (
            secret[:-1] + ("A" if secret[-1] != "A" else "B"),
            secret + "A",
            secret.upper(),
            "",
            " " + secret,
        ):
            assert isinstance(producers.authenticate(standing, wrong), str)


def test_who_acts_is_told_with_every_event(town: Town) -> None:
    with town.installation.opened() as vault:
        recorded(vault, Actor("p-someone", break_glass=False), "grants.listed", count=0)
        told = last(vault, "grants.listed")
        assert (told.actor, told.facts["break_glass"]) == ("p-someone", 0)
        assert last(vault, "producer.added").facts["break_glass"] == 1
