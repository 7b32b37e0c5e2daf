"""Verification while the vault is in use: what is being written must look neither missing nor forged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from tests.support.decisions import decisions
from tests.support.vault import Installation
from vault import ledgers
from vault.db import store
from vault.db.store import LedgerRow
from vault.verdict import Depth, worst


@pytest.fixture
def around_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None], Callable[[], None]], None]:
    """Return what has work done just before and just after the next verification takes its snapshot.

    Verification has read all checkpoints by then; listing the ledgers is its first query.
    """

    def arrange(before: Callable[[], None], after: Callable[[], None]) -> None:
        real = store.ledgers

        def patched(connection: Connection) -> list[LedgerRow]:
            monkeypatch.setattr(store, "ledgers", real)
            before()
            rows = real(connection)
            after()
            return rows

        monkeypatch.setattr(store, "ledgers", patched)

    return arrange


@pytest.mark.parametrize("commits_before", [0, 1, 2])
@pytest.mark.parametrize("commits_after", [0, 1, 2])
def test_appends_around_the_snapshot(
    installation: Installation,
    around_the_snapshot: Callable[[Callable[[], None], Callable[[], None]], None],
    commits_before: int,
    commits_after: int,
) -> None:
    done: list[int] = []

    def commit(times: int) -> None:
        for _ in range(times):
            done.append(500 + 10 * len(done))
            installation.ingest("cn", [*decisions(5, first=done[-1]), (1, b"{}")])

    around_the_snapshot(lambda: commit(commits_before), lambda: commit(commits_after))
    reports = installation.audit(Depth.ENVELOPES)
    assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
    assert len(done) == commits_before + commits_after
    (cn,) = (report for report in reports if report.name == "cn")
    assert (cn.entries, cn.size, cn.unsealed) == (182 + 5 * commits_before, 182, 5 * commits_before)


@pytest.mark.parametrize("early", [True, False])
def test_a_ledger_made_around_the_snapshot(
    installation: Installation,
    around_the_snapshot: Callable[[Callable[[], None], Callable[[], None]], None],
    early: bool,
) -> None:
    def make() -> None:
        with installation.opened() as vault:
            ledgers.create(vault, "late", ("HK",), ())

    def nothing() -> None:
        pass

    around_the_snapshot(make if early else nothing, nothing if early else make)
    reports = installation.audit()
    assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
    assert ("late" in {report.name for report in reports}) == early
