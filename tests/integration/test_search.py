"""Search: what a grant lets one find, by every term; leaves and facets, never content; each search an event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.acting import granted, happened, hire, last, stored
from tests.support.decisions import decision, spelled
from tests.support.vault import RECORDS, Installation, prepare
from vault import grants, ledgers, search, trace
from vault.context import Actor, Vault
from vault.core import leaf
from vault.core.errors import Denied, Modified, UsageError
from vault.core.leaf import RecordLeaf
from vault.core.tree import leaf_hash
from vault.register import Register
from vault.search import Page, Wanted

CN = RECORDS["cn"]


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


def _find(vault: Vault, who: Actor, grant: str | None = None, ledger: str = "cn", **terms: Any) -> Page:
    return search.search(vault.acting(who), ledgers.get(vault, ledger), Wanted(**{"limit": 500, **terms}), grant)


def _ids(page: Page) -> list[str]:
    return [row.facets.record_id for row in page.rows]


def _instant(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000_000


def test_every_term_finds_what_it_names(vault: Vault, anna: Actor, olaf: Actor) -> None:
    granted(vault, anna, olaf, ["cn"])
    everything = _find(vault, anna)
    assert sorted(_ids(everything)) == sorted(f"dec-{n}" for n in range(1, CN + 1))
    assert [row.facets.occurred_at for row in everything.rows] == sorted(r.facets.occurred_at for r in everything.rows)
    expected: dict[str, tuple[dict[str, Any], set[int]]] = {
        "record": ({"record": "dec-77"}, {77}),
        "conversation": ({"conversation": "conv-40"}, {80, 81}),
        "transaction": ({"transaction": "txn-5"}, {5}),
        "customer": ({"customer": "cus-3"}, {n for n in range(1, CN + 1) if n % 7 == 3}),
        "model": ({"model": "qwen-max-2"}, {n for n in range(1, CN + 1) if n % 5 == 2}),
        "api": ({"api": "payment_intelligence"}, set(range(1, CN + 1))),
        "another api": ({"api": "human_review"}, set()),
        "outcome": ({"outcome": "accepted"}, set(range(1, CN + 1))),
        "another outcome": ({"outcome": "rejected"}, set()),
        "two terms": ({"customer": "cus-3", "model": "qwen-max-2"}, {n for n in range(CN + 1) if n % 35 == 17}),
        "nothing": ({"conversation": "conv-nowhere"}, set()),
        "no id": ({"record": "dec-0"}, set()),
    }
    for name, (terms, numbers) in expected.items():
        assert set(_ids(_find(vault, anna, **terms))) == {f"dec-{n}" for n in numbers}, name
    start, end = _instant("2026-01-05T00:00:00Z"), _instant("2026-01-06T00:00:00Z")
    assert set(_ids(_find(vault, anna, start=start, end=end))) == {f"dec-{n}" for n in range(1, CN + 1) if n % 28 == 4}


def test_what_is_found_is_the_leaf_and_its_facets(vault: Vault, anna: Actor, olaf: Actor) -> None:
    granted(vault, anna, olaf, ["cn"], fields="masked")
    (found,) = _find(vault, anna, record="dec-9").rows
    told = leaf.parse(found.leaf)
    assert isinstance(told, RecordLeaf)
    assert (found.seq, told.seq, found.leaf_hash) == (9, 9, leaf_hash(found.leaf))
    assert (found.api, found.outcome, found.facets.record_class) == ("payment_intelligence", "accepted", "payment")


def test_pages_follow_each_other_without_a_gap(vault: Vault, anna: Actor, olaf: Actor) -> None:
    granted(vault, anna, olaf, ["cn"])
    whole, seen, cursor, pages = _ids(_find(vault, anna)), [], None, 0
    while True:
        page = _find(vault, anna, limit=50, cursor=cursor)
        seen += _ids(page)
        pages += 1
        if page.cursor is None:
            break
        cursor = page.cursor
    assert (seen, pages) == (whole, 4)
    assert last(vault, "records.searched").facts["count"] == CN - 150


def test_a_grant_bounds_what_is_found(installation: Installation, vault: Vault, anna: Actor, olaf: Actor) -> None:
    installation.ingest("cn", [(1, spelled(decision(901, record_class="aml")))])
    start, end = _instant("2026-01-05T00:00:00Z"), _instant("2026-01-06T00:00:00Z")
    period = granted(vault, anna, olaf, ["cn"], start=start, end=end)
    classes = granted(vault, anna, olaf, ["cn"], classes=("aml",))
    assert set(_ids(_find(vault, anna, period.id))) == {f"dec-{n}" for n in range(1, CN + 1) if n % 28 == 4}
    assert _ids(_find(vault, anna, classes.id)) == ["dec-901"]
    # Terms only narrow: neither a wider period nor an id outside brings anything in.
    wide = {"start": start - 10**12, "end": end + 10**12}
    assert set(_ids(_find(vault, anna, period.id, **wide))) == {f"dec-{n}" for n in range(1, CN + 1) if n % 28 == 4}
    for terms in ({"record": "dec-1"}, {"conversation": "conv-0"}, {"customer": "cus-1", "start": 0, "end": start}):
        assert _ids(_find(vault, anna, period.id, **terms)) == []
    assert _ids(_find(vault, anna, classes.id, record="dec-4")) == []


def test_bounds_beyond_the_calendar_do_not_widen_a_grant(vault: Vault, anna: Actor, olaf: Actor) -> None:
    """9999-12-31T23:59:59-12:00 is an instant that no calendar of ours has, and so is 0001-01-01T00:00:00+12:00."""
    start, end = _instant("2026-01-05T00:00:00Z"), _instant("2026-01-06T00:00:00Z")
    granted(vault, anna, olaf, ["cn"], start=start, end=end)
    after, before = 253_402_300_799_000_000 + 43_200_000_000, -62_135_596_800_000_000 - 43_200_000_000
    assert _find(vault, anna, start=after).rows == []
    assert _find(vault, anna, end=before).rows == []
    assert set(_ids(_find(vault, anna, start=before, end=after))) == {
        f"dec-{n}" for n in range(1, CN + 1) if n % 28 == 4
    }


def test_without_a_grant_nothing_is_found(vault: Vault, anna: Actor, olaf: Actor) -> None:
    grant = granted(vault, anna, olaf, ["sg"])
    for who in (anna, olaf, hire(vault, "otto", "operator"), hire(vault, "alma", "auditor"), vault.actor):
        with pytest.raises(Denied):
            _find(vault, who)
    with pytest.raises(Denied):
        _find(vault, anna, grant.id)
    assert len(happened(vault, "access.denied")) == 6
    assert happened(vault, "records.searched") == []
    with pytest.raises(Denied) as unknown:
        search.search(vault.acting(anna), None, Wanted())
    with pytest.raises(Denied) as ungranted:
        _find(vault, anna)
    assert str(unknown.value) == str(ungranted.value)


def test_a_grant_that_ends_while_the_search_runs_shows_nothing(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the event another process revokes it."""
    grant = granted(vault, anna, olaf, ["cn"])
    look = Register.standing

    with installation.opened() as other:

        def then_revoke(self: Register) -> Any:
            found = look(self)
            if self is vault.register:
                monkeypatch.setattr(Register, "standing", look)
                grants.revoke(other.acting(olaf), grant.id)
            return found

        monkeypatch.setattr(Register, "standing", then_revoke)
        with pytest.raises(Denied):
            _find(vault, anna)
    assert happened(vault, "records.searched") == []


def test_the_search_is_told_with_its_range_and_its_terms_sealed(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor
) -> None:
    grant = granted(vault, anna, olaf, ["cn"])
    page = _find(vault, anna, customer="cus-3", conversation="conv-secret-term")
    told = last(vault, "records.searched")
    assert (told.seq, told.actor) == (page.access, anna.name)
    assert (told.facts["grant"], told.facts["count"], "first" in told.facts) == (grant.id, 0, False)
    assert trace.details(vault, [told.seq]) == {told.seq: {"customer": "cus-3", "conversation": "conv-secret-term"}}
    page = _find(vault, anna, customer="cus-3")
    told = last(vault, "records.searched")
    seqs = [row.seq for row in page.rows]
    assert [told.facts[key] for key in ("count", "first", "last")] == [len(seqs), min(seqs), max(seqs)]
    everything = stored(installation)
    for term in ("conv-secret-term", "cus-3"):
        assert term not in everything


def test_a_row_that_was_edited_is_no_finding(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor
) -> None:
    granted(vault, anna, olaf, ["cn"], classes=("aml",))
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.sealed SET record_class = 'aml' WHERE ledger_id = %s AND seq = 7", [installation.ledger("cn")]
        )
    with pytest.raises(Modified, match="the facets"):
        _find(vault, anna)
    assert happened(vault, "records.searched") == []


def test_another_tenants_ledger_is_none_of_ours(installation: Installation, vault: Vault, tmp_path: Path) -> None:
    other = prepare(tmp_path / "other", installation.database)
    other.initialise()
    with other.opened() as theirs:
        made = ledgers.create(theirs, "theirs", ("US",), ())
        assert ledgers.find(theirs, "cn") is None
    for name in ("theirs", str(made.id)):
        assert ledgers.find(vault, name) is None
        with pytest.raises(UsageError, match="no ledger is named"):
            ledgers.get(vault, name)
    anna = hire(vault, "anna", "auditor")
    with pytest.raises(Denied, match="no grant of yours"):
        search.search(vault.acting(anna), made, Wanted())


def test_terms_that_cannot_be(vault: Vault, anna: Actor, olaf: Actor) -> None:
    granted(vault, anna, olaf, ["cn"])
    wrong: list[dict[str, Any]] = [
        {"limit": 0},
        {"limit": 501},
        {"api": "api"},
        {"outcome": "ok"},
        {"flags": ("FLAG",)},
        {"flags": ("no_such_flag",)},
        {"cursor": "x"},
        {"cursor": "1.2.3"},
        {"cursor": "9" * 18 + ".1"},
        {"conversation": "a\0b"},
        {"customer": "\udcff"},
    ]
    for terms in wrong:
        with pytest.raises(UsageError):
            _find(vault, anna, **terms)
    assert _ids(_find(vault, anna, cursor="0.0", limit=1)) == ["dec-140"]


def test_entries_beyond_the_checkpoint_are_not_found(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor
) -> None:
    granted(vault, anna, olaf, ["cn"])
    kept = replace(vault, checkpoints=vault.checkpoints)
    before = len(_find(vault, anna).rows)
    path = installation.checkpoints("cn") / "checkpoint"
    old = path.read_text()
    installation.ingest("cn", [(1, spelled(decision(950)))])
    path.write_text(old)
    assert len(_find(kept, anna).rows) == before
