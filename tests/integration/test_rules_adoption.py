"""Rule books in force: two officers, the same bytes, and every writer follows without being restarted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from retention import adoption, books
from retention.effective import Effective
from retention.history import History
from service import wiring
from service.accounts import Accounts
from tests.support.acting import happened, hire, keyed, last
from tests.support.books import book
from tests.support.decisions import decision, decisions, spelled
from tests.support.vault import Installation
from vault import intake, ledgers, people, rulebooks
from vault.context import Actor, Vault
from vault.core import canonical, leaf, packing
from vault.core.errors import Denied, Forked, Missing, Modified, UsageError
from vault.core.leaf import RecordLeaf
from vault.db import groups, store
from vault.db.engine import transact
from vault.sealers import Sealers
from vault.settlement import Entry, Settlement
from vault.surveying import Opened, survey

LONGER = book("2027-01", {"PROD-3Y": {"minimum": "P7Y"}})
SHORTER = book("2028-01")


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    books._read.clear()
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def olga(vault: Vault) -> Actor:
    return hire(vault, "olga", "officer")


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


def adopted(vault: Vault, content: bytes, first: Actor, second: Actor) -> adoption.Step:
    adoption.propose(vault.acting(first), content)
    return adoption.adopt(vault.acting(second), content)


def leaf_at(vault: Vault, ledger: ledgers.Ledger, seq: int) -> RecordLeaf:
    stored = transact(vault.engine, lambda connection: store.fetch_leaf(connection, ledger.id, seq))
    assert stored is not None
    found = leaf.parse(packing.unpack(stored))
    assert isinstance(found, RecordLeaf)
    return found


def taken(vault: Vault, number: int) -> RecordLeaf:
    """Take one record into "cn" and return its leaf."""
    ledger = ledgers.get(vault, "cn")
    ((result,),) = [batch.results for batch in intake.ingest(vault, ledger, decisions(1, number), "psp-1")]
    assert result.seq is not None
    return leaf_at(vault, ledger, result.seq)


def test_a_book_comes_into_force_when_a_second_officer_adopts_the_same_bytes(
    vault: Vault, olga: Actor, olaf: Actor
) -> None:
    old = taken(vault, 901)
    proposed = adoption.propose(vault.acting(olga), LONGER)
    assert (proposed.done, last(vault, "rules.proposed").seq) == ("proposed", proposed.event)
    assert taken(vault, 902).rulebook == old.rulebook
    step = adoption.adopt(vault.acting(olaf), LONGER)
    told = last(vault, "rules.adopted")
    assert told.facts | {"break_glass": 0} == {
        "rulebook": canonical.b64(step.book.digest),
        "version": "2027-01",
        "proposal": proposed.event,
        "break_glass": 0,
    }
    new = taken(vault, 903)
    assert new.rulebook == canonical.b64(step.book.digest)
    assert str(new.keep_until)[:4] == str(int(str(old.keep_until)[:4]) + 4)
    assert wiring.rule_book(vault).version == "2027-01"
    # Sealed details of events live by it too.
    assert last(vault, "record.opened").rulebook == old.rulebook
    happening = people.add(vault, "nobody", ("auditor",), "Zm9ybXMgbm90aGluZyBidXQgdGhlIGxlbmd0aCBpdCA")
    assert last(vault, "user.added").rulebook == new.rulebook
    assert happening.added > told.seq


def test_nobody_adopts_a_book_alone(vault: Vault, olga: Actor, olaf: Actor) -> None:
    with pytest.raises(UsageError, match="nobody has proposed"):
        adoption.adopt(vault.acting(olga), LONGER)
    adoption.propose(vault.acting(olga), LONGER)
    with pytest.raises(Denied, match="nobody adopts the rule book that they proposed"):
        adoption.adopt(vault.acting(olga), LONGER)
    with pytest.raises(Denied, match="nobody adopts the rule book that they proposed"):
        adoption.propose_or_adopt(vault.acting(olga), LONGER)
    with pytest.raises(UsageError, match="proposed already"):
        adoption.propose(vault.acting(olaf), LONGER)
    assert [one.facts["code"] for one in happened(vault, "access.denied")] == [
        "unfit",
        "four_eyes",
        "four_eyes",
        "unfit",
    ]
    assert happened(vault, "rules.adopted") == []


def test_two_logins_of_one_person_are_one_person(vault: Vault, olga: Actor) -> None:
    adoption.propose(vault.acting(olga), LONGER)
    again = people.add(vault, "olga", ("officer", "auditor"), "Zm9ybXMgbm90aGluZyBidXQgdGhlIGxlbmd0aCBpdCA")
    twin = Actor(again.id, break_glass=False, roles=again.roles, generation=again.generation)
    with pytest.raises(Denied, match="nobody adopts"):
        adoption.adopt(vault.acting(twin), LONGER)


def test_neither_the_passphrase_nor_another_role_makes_a_second_person(vault: Vault, olga: Actor) -> None:
    anna = hire(vault, "anna", "auditor")
    with pytest.raises(Denied, match="only a compliance officer"):
        adoption.propose(vault, LONGER)
    adoption.propose(vault.acting(olga), LONGER)
    for actor in (vault.actor, anna, replace(olga, generation=1)):
        with pytest.raises(Denied, match="only a compliance officer"):
            adoption.adopt(vault.acting(actor), LONGER)
    people.disable(vault, "olga")
    with pytest.raises(Denied, match="only a compliance officer"):
        adoption.adopt(vault.acting(olga), LONGER)
    assert happened(vault, "rules.adopted") == []


def test_other_bytes_are_another_proposal(vault: Vault, olga: Actor, olaf: Actor) -> None:
    adoption.propose(vault.acting(olga), LONGER)
    with pytest.raises(UsageError, match="nobody has proposed"):
        adoption.adopt(vault.acting(olaf), LONGER + b"# and a comment\n")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (book("x", {"PROD-3Y": {"minimum": "P35M"}}), "keeps P3Y"),
        (book("x", {"PROD-3Y": {"applies": "optional"}}), "keeps P3Y"),
        (book("x", without=["CN-ECOM-31", "CN-AML-34", "CN-CSL-23", "CN-PIPL-56"], without_codes=["CN"]), "CN is not"),
        (book("x", without=["SG-PSN-5Y", "SG-CDSA-36", "SG-PDPA-25"], without_codes=["SG"]), "SG is not"),
        (book("2026-11"), "with version 2026-11 was in force"),
        (b"schema = 1", "rule book"),
        (b"#" * (adoption.MAX_BYTES + 1), "larger"),
    ],
    ids=["floor", "floor-optional", "no-china", "no-singapore", "version", "schema", "size"],
)
def test_a_book_that_no_vault_may_have_is_not_proposed(vault: Vault, olga: Actor, content: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        adoption.propose(vault.acting(olga), content)
    assert happened(vault, "rules.proposed") == []


def test_a_version_names_one_book_for_ever(vault: Vault, olga: Actor, olaf: Actor) -> None:
    adoption.propose(vault.acting(olga), LONGER)
    other = book("2027-01", {"PROD-3Y": {"minimum": "P8Y"}})
    adoption.propose(vault.acting(olga), other)
    adoption.adopt(vault.acting(olaf), LONGER)
    with pytest.raises(UsageError, match="with version 2027-01 was in force"):
        adoption.adopt(vault.acting(olaf), other)


def test_a_book_comes_into_force_once(vault: Vault, olga: Actor, olaf: Actor) -> None:
    adopted(vault, LONGER, olga, olaf)
    with pytest.raises(UsageError, match="is in force"):
        adoption.propose(vault.acting(olga), LONGER)
    adopted(vault, SHORTER, olga, olaf)
    with pytest.raises(UsageError, match="was in force before"):
        adoption.propose(vault.acting(olga), LONGER)


def test_another_process_follows_without_being_restarted(
    installation: Installation, vault: Vault, olga: Actor, olaf: Actor
) -> None:
    """A service's committer: open all the while, it learns from the events."""
    with installation.opened() as committer:
        ledger = ledgers.get(committer, "cn")
        sealers = Sealers(committer, ledger)
        settlement = Settlement(committer, ledger, sealers)
        key = keyed(vault, "psp-9", "cn").id

        def settle(number: int) -> RecordLeaf:
            (answers,) = settlement.settle([Entry(1, spelled(decision(number)), key, "psp-1")])
            result = answers[0].result  # type: ignore[union-attr]
            assert result.seq is not None
            return leaf_at(vault, ledger, result.seq)

        old = settle(901)
        step = adopted(vault, LONGER, olga, olaf)
        new = settle(904)
        assert old.rulebook != new.rulebook == canonical.b64(step.book.digest)
        assert new.rules == old.rules
        assert int(str(new.keep_until)[:4]) == int(str(old.keep_until)[:4]) + 4


@pytest.mark.parametrize("processes", [1, 2])
def test_a_running_ingest_follows_from_one_batch_to_the_next(
    vault: Vault, olga: Actor, olaf: Actor, processes: int
) -> None:
    """With several processes, what was being sealed when the book came stays under the old one."""
    ledger = ledgers.get(vault, "cn")
    lines = decisions(8000, 1001)
    running = intake.ingest(vault, ledger, lines, "psp-1", processes=processes)
    first = next(running)
    step = adopted(vault, LONGER, olga, olaf)
    *_, final = running
    seqs = [batch.results[-1].seq for batch in (first, final)]
    old, new = (leaf_at(vault, ledger, seq) for seq in seqs if seq is not None)
    assert old.rulebook != new.rulebook == canonical.b64(step.book.digest)
    assert int(str(new.keep_until)[:4]) == int(str(old.keep_until)[:4]) + 4


def test_what_is_kept_is_lengthened_and_a_reduction_leaves_it(vault: Vault, olga: Actor, olaf: Actor) -> None:
    ledger = ledgers.get(vault, "cn")

    def years() -> set[int]:
        effective = Effective(vault, ledgers.get(vault, "cn"), History.read(vault))

        def judge(opened: Opened) -> int:
            effect = effective.of(opened.leaf, opened.facets, opened.record)
            assert effect.keep_until is not None
            assert isinstance(opened.leaf.keep_until, str)
            return int(leaf.instant(effect.keep_until)[:4]) - int(opened.leaf.keep_until[:4])

        known = transact(vault.engine, lambda connection: groups.listing(connection, ledger.id))
        names = sorted(group.name for group in known)
        return {one for _, _, one in survey(vault, ledger.id, names, judge, processes=1)}

    assert years() == {0}
    adopted(vault, LONGER, olga, olaf)
    assert years() == {4}
    adopted(vault, SHORTER, olga, olaf)
    assert years() == {4}
    history = History.read(vault)
    assert [one.version for one in books.chain(vault, [told.digest for told in history.books])] == [
        "2026-11",
        "2027-01",
        "2028-01",
    ]
    assert [one.by for one in history.books[1:]] == [olaf.name, olaf.name]


def test_details_of_events_are_lengthened_too(vault: Vault, olga: Actor, olaf: Actor) -> None:
    told = last(vault, "record.opened")
    adopted(vault, LONGER, olga, olaf)
    found = ledgers.find(vault, "events")
    assert found is not None
    effect = Effective(vault, found, History.read(vault)).of(told)
    assert effect.keep_until is not None
    assert int(leaf.instant(effect.keep_until)[:4]) == int(str(told.keep_until)[:4]) + 4


def test_an_edited_or_missing_book_fails_closed(
    installation: Installation, vault: Vault, olga: Actor, olaf: Actor
) -> None:
    step = adopted(vault, LONGER, olga, olaf)
    books._read.clear()
    with installation.tampering() as connection:
        connection.execute("ALTER TABLE vault.rulebook DROP CONSTRAINT rulebook_digest_check")
        connection.execute(
            "UPDATE vault.rulebook SET content = %s WHERE digest = %s", [LONGER + b"#", step.book.digest]
        )
    for wanted, statement in ((Modified, None), (Missing, "DELETE FROM vault.rulebook")):
        if statement:
            with installation.tampering() as connection:
                connection.execute(statement)
        with pytest.raises(wanted):
            rulebooks.fetch(vault.engine, vault.events, step.book.digest)
        with pytest.raises(wanted):
            Effective(vault, ledgers.get(vault, "cn"), History.read(vault))
        with installation.opened() as other, pytest.raises(wanted):
            taken(other, 901)
        with pytest.raises(wanted):
            wiring.rule_book(vault)


def test_a_book_cannot_be_changed_by_the_application(vault: Vault, olga: Actor, installation: Installation) -> None:
    adoption.propose(vault.acting(olga), LONGER)
    with installation.tampering() as connection:
        connection.execute("ALTER TABLE vault.rulebook DROP CONSTRAINT rulebook_digest_check")
        connection.execute("UPDATE vault.rulebook SET content = %s", [SHORTER])
    with pytest.raises(Modified):
        adoption.propose_or_adopt(vault.acting(hire(vault, "olaf", "officer")), LONGER)


def test_a_newer_version_of_the_product_changes_nothing_by_itself(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, installation: Installation
) -> None:
    monkeypatch.setattr(books, "load_default", lambda: pytest.fail("the packaged book is for new vaults"))
    with installation.opened() as other:
        assert taken(other, 901).rulebook == canonical.b64(wiring.rule_book(vault).digest)


def test_a_rule_that_a_ledger_opted_into_goes_on(vault: Vault, olga: Actor, olaf: Actor) -> None:
    made = ledgers.create(vault, "aml", ("CN",), ("CN-AML-34",))
    newer = book("no-aml", without=["CN-AML-34"])
    step = adopted(vault, newer, olga, olaf)
    ((result,),) = [batch.results for batch in intake.ingest(vault, made, decisions(1, 901), "psp-1")]
    assert result.seq is not None
    found = leaf_at(vault, made, result.seq)
    assert (found.rulebook, found.rules) == (canonical.b64(step.book.digest), ("CN-AML-34", "PROD-3Y", "SG-PDPA-25"))
    assert str(found.keep_until).startswith("2036-01")


def test_the_history_is_believed_only_where_the_chain_holds(
    installation: Installation, vault: Vault, olga: Actor, olaf: Actor
) -> None:
    adopted(vault, LONGER, olga, olaf)
    with installation.tampering() as connection:
        seq = last(vault, "rules.adopted").seq
        connection.execute("DELETE FROM vault.entry WHERE ledger_id = %s AND seq = %s", [vault.events, seq])
    with pytest.raises(Forked, match="not the tree that was signed"):
        History.read(vault)


def test_the_commands(installation: Installation, tmp_path: Path) -> None:
    word, file = tmp_path / "password", tmp_path / "book.toml"
    word.write_text("correct horse staple")
    file.write_bytes(LONGER)
    with installation.opened() as vault:
        accounts = Accounts(installation.home, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        for name in ("olga", "olaf"):
            accounts.add(vault, name, ("officer",), "correct horse staple")
    environment = installation.environment() | {"REASONVAULT_PASSWORD_FILE": str(word)}

    def run(*arguments: str) -> str:
        result = installation.run(*arguments, environment=environment)
        assert result.exit_code == 0, result.output
        return result.output

    assert "PROD-3Y        P3Y" in run("rules", "list")
    assert "unverified" in run("rules", "list", "--book", "2026-11")
    told = run("rules", "diff", str(file))
    assert "longer   PROD-3Y" in told
    assert "applies to all that is kept; 2 ledgers concerned" in told
    assert "proposed: rule book 2027-01" in run("rules", "adopt", str(file), "--user", "olga")
    again = installation.run("rules", "adopt", str(file), "--user", "olga", environment=environment)
    assert (again.exit_code, "nobody adopts" in again.output) == (4, True)
    assert "adopted: rule book 2027-01" in run("rules", "adopt", str(file), "--user", "olaf")
    assert "PROD-3Y        P7Y" in run("rules", "list")
    shown = run("rules", "show", "PROD-3Y")
    assert "A contract/product rule" in shown
    assert shown.count("decision_completed default verified") == 2
    assert "shorter  PROD-3Y" in run("rules", "diff", "2026-11")
    assert "PROD-3Y        P7Y" in run("ledger", "create", "hk", "--jurisdiction", "HK")
    assert installation.run("rules", "show", "NO-SUCH", environment=environment).exit_code == 2
