"""The trace: who did what, for whoever may know; looking at it is an event as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.acting import CASE, PURPOSE, asked, granted, happened, hire, last, recorded
from tests.support.vault import Installation
from vault import ledgers, reading, trace
from vault.context import Actor, Vault
from vault.core.errors import Denied, Unavailable, UsageError
from vault.trace import Wanted


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


def test_newest_first_page_by_page_and_complete(installation: Installation, vault: Vault) -> None:
    olaf = hire(vault, "olaf", "officer")
    for number in range(7):
        recorded(vault, olaf, "grants.listed", count=number)
    size, seen, before = installation.size("events"), [], None
    pages = 0
    while True:
        page = trace.page(vault.acting(olaf), Wanted(before=before, limit=5))
        seen += [one.seq for one in page.shown]
        pages += 1
        if page.before is None:
            break
        before = page.before
    assert seen == list(range(size - 1, 0, -1)), "all but the genesis leaf, and none of the looks at it"
    assert [told.facts["limit"] for told in happened(vault, "events.read")] == [5] * pages


def test_filters(installation: Installation, vault: Vault) -> None:
    olaf, anna = hire(vault, "olaf", "officer"), hire(vault, "anna", "auditor")
    grant = granted(vault, anna, olaf, ["cn"])
    reading.read(vault.acting(anna), ledgers.get(vault, "cn"), "dec-3", "")
    cn = str(installation.ledger("cn"))
    look = vault.acting(olaf)
    (opened, built) = trace.page(look, Wanted(event="record.opened")).shown
    assert (opened.leaf.actor, opened.leaf.facts["grant"]) == (anna.name, grant.id)
    assert built.leaf.facts["break_glass"] == 1
    names = {one.leaf.event for one in trace.page(look, Wanted(actor=anna.name)).shown}
    assert names == {"grant.requested", "record.opened"}
    facts = [one.leaf.facts for one in trace.page(look, Wanted(ledger=cn)).shown]
    assert all(one.get("ledger") == cn or cn in one["ledgers"] for one in facts)
    now = vault.clock()
    assert trace.page(look, Wanted(start=now + 60_000_000)).shown == []
    assert trace.page(look, Wanted(end=now - 3_600_000_000)).shown == []
    assert trace.page(look, Wanted(start=now - 3_600_000_000, end=now + 3_600_000_000)).shown
    assert trace.page(look, Wanted(event="no.such.event")).shown == []
    sealed = trace.details(vault, [told.seq for told in happened(vault, "events.read")])
    assert {"actor": anna.name} in sealed.values(), "what was looked for is sealed"


def test_details_are_for_officers_and_the_passphrase(vault: Vault) -> None:
    olaf, anna = hire(vault, "olaf", "officer"), hire(vault, "anna", "auditor")
    asked(vault, anna, ["cn"])
    wanted = Wanted(event="grant.requested")
    for who in (olaf, vault.actor):
        (shown,) = trace.page(vault.acting(who), wanted).shown
        assert shown.details == {"purpose": PURPOSE, "case": CASE}
    (shown,) = trace.page(vault.acting(anna), wanted).shown
    assert shown.details is None


@pytest.mark.parametrize("roles", [("operator",), ()])
def test_operators_and_strangers_see_no_trace(vault: Vault, roles: tuple[str, ...]) -> None:
    who = hire(vault, "otto", *roles) if roles else Actor("p-nobody", break_glass=False)
    with pytest.raises(Denied, match="see the trace"):
        trace.page(vault.acting(who), Wanted())
    assert last(vault, "access.denied").facts["act"] == "events.read"


def test_a_page_has_a_limit(vault: Vault) -> None:
    for limit in (0, 501):
        with pytest.raises(UsageError, match="a page has"):
            trace.page(vault, Wanted(limit=limit))


def test_details_that_were_damaged_are_left_out_and_the_rest_shown(installation: Installation, vault: Vault) -> None:
    anna = hire(vault, "anna", "auditor")
    first, second = asked(vault, anna, ["cn"]), asked(vault, anna, ["cn"])
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.sealed SET envelope = decode('00', 'hex') || substr(envelope, 2)"
            " WHERE ledger_id = %s AND seq = %s",
            [installation.ledger("events"), first.request],
        )
    shown = trace.page(vault, Wanted(event="grant.requested")).shown
    assert [(one.seq, one.details is None) for one in shown] == [(second.request, False), (first.request, True)]


def test_without_the_event_there_is_no_page(installation: Installation, vault: Vault) -> None:
    vault.register.standing()
    with installation.tampering() as connection:
        connection.execute("REVOKE INSERT ON vault.entry FROM reasonvault_app")
    with pytest.raises((Unavailable, UsageError)):
        trace.page(vault, Wanted())
