"""The worker: each due run once, whoever dies, and every run told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from service import wiring
from service import worker as working
from service.jobs.catalogue import Catalogue, Job, WorkerSettings
from service.jobs.schedule import Schedule
from tests.support.vault import PASSPHRASE, Installation
from vault import jobs, trace
from vault.context import Vault
from vault.core.errors import Forked, Unavailable, VaultError
from vault.db import jobs as rows
from vault.db.engine import transact
from vault.jobs import Counts, Steps

ROOT = Path(__file__).parents[2]
SUPPORT = "tests.support.worker"
MORNING = datetime(2026, 3, 10, 3, 0, tzinfo=UTC)


@pytest.fixture
def place(bare: Installation, tmp_path: Path) -> Iterator[Installation]:
    with bare.copied(tmp_path / "home") as copy:
        yield copy


@pytest.fixture
def vault(place: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    with opened(place, monkeypatch) as made:
        yield made


@contextmanager
def opened(place: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    with ExitStack() as stack:
        with monkeypatch.context() as only:
            for name, value in place.environment().items():
                only.setenv(name, value)
            made = stack.enter_context(wiring.open_for_retention(place.home, PASSPHRASE, working.ACTOR))
        yield made


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Ask until something is so; the deadline is for a test that hangs."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)
    return found


def told(place: Installation) -> list[trace.Shown]:
    """Return the events of jobs, oldest first."""
    with place.opened() as vault:
        page = trace.page(vault, trace.Wanted(limit=500))
    return [one for one in reversed(page.shown) if one.leaf.event.startswith("job.")]


def words(events: list[trace.Shown]) -> list[tuple[str, str, str]]:
    return [(one.leaf.event, one.leaf.facts["job"], one.leaf.facts.get("outcome", "")) for one in events]


def stored(vault: Vault, name: str = "test.job") -> list[tuple[datetime, str | None, int]]:
    """Return (due, outcome, attempts) of a job's runs."""
    with vault.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT due, outcome, attempts FROM vault.job WHERE name = %s AND due > '1970-01-01' ORDER BY due", (name,)
        )
        return [(row[0], row[1], row[2]) for row in found]


class Process:
    """A worker of its own process."""

    def __init__(self, place: Installation, names: str, lease_seconds: float) -> None:
        self._running = subprocess.Popen(
            [sys.executable, "-m", SUPPORT, names, str(lease_seconds)],
            cwd=ROOT,
            env=os.environ | place.environment(),
            stderr=subprocess.DEVNULL,
        )
        self.pid = self._running.pid

    def kill(self) -> None:
        self._running.kill()
        self._running.wait()

    def stop(self) -> int:
        self._running.send_signal(signal.SIGTERM)
        return self._running.wait(60)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._running.poll() is None:
            self.kill()


def begun(place: Installation) -> list[tuple[str, int]]:
    """Return (job, pid) of every run that began."""
    file = place.home / "begun"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(name, int(pid)) for name, pid in map(str.split, lines)]


def outcomes(place: Installation) -> list[str]:
    with psycopg.connect(place.database.superuser_dsn) as connection:
        found = connection.execute("SELECT outcome FROM vault.job WHERE outcome IS NOT NULL").fetchall()
    return [row[0] for row in found]


def test_two_workers_do_each_job_once(place: Installation) -> None:
    names = ["a", "b", "c", "d"]
    with Process(place, ",".join(names), 60) as one, Process(place, ",".join(names), 60) as two:
        until(lambda: len(begun(place)) == 4)  # two places each, so each worker has two
        (place.home / "gate").touch()
        until(lambda: outcomes(place) == ["ok"] * 4)
        assert (one.stop(), two.stop()) == (0, 0)
        assert sorted(name for name, _ in begun(place)) == names
        assert {pid for _, pid in begun(place)} == {one.pid, two.pid}
    assert sorted(words(told(place))) == sorted(
        [("job.started", name, "") for name in names] + [("job.finished", name, "ok") for name in names]
    )


def test_another_worker_takes_over_from_one_that_was_killed(place: Installation) -> None:
    with Process(place, "a", 3) as one:
        until(lambda: begun(place) == [("a", one.pid)])
        one.kill()
        with Process(place, "a", 3) as two:
            until(lambda: begun(place) == [("a", one.pid), ("a", two.pid)])
            (place.home / "gate").touch()
            until(lambda: outcomes(place) == ["ok"])
            assert two.stop() == 0
    events = told(place)
    assert words(events) == [("job.started", "a", ""), ("job.started", "a", ""), ("job.finished", "a", "ok")]
    assert [one.leaf.facts["attempt"] for one in events[:2]] == [1, 2]
    assert len({one.leaf.facts["due"] for one in events}) == 1
    assert events[0].leaf.facts["worker"] != events[1].leaf.facts["worker"] == events[2].leaf.facts["worker"]


def test_a_worker_that_is_told_to_stop_leaves_its_run_to_the_next(place: Installation) -> None:
    with Process(place, "a", 600) as one:
        until(lambda: begun(place) == [("a", one.pid)])
        assert one.stop() == 0
    assert words(told(place)) == [("job.started", "a", ""), ("job.finished", "a", "stopped")]
    assert outcomes(place) == []
    (place.home / "gate").touch()
    with Process(place, "a", 600) as two:  # at once, though the lease was for ten minutes
        until(lambda: outcomes(place) == ["ok"])
        assert two.stop() == 0


class Clock:
    """Says what it is told to."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> int:
        return int(self.now.timestamp()) * 1_000_000


def daily(run: Callable[[Vault, Steps], Counts], *, clock_seconds: float = 1e12) -> Catalogue:
    job = Job("test.job", "a test's", Schedule("0 3 * * *"), True, run)
    return Catalogue({job.name: job}, WorkerSettings(60, 1, clock_seconds, 1))


def test_of_missed_runs_the_last_is_made_up_for(vault: Vault) -> None:
    clock = Clock(MORNING)
    timed = replace(vault, clock=clock)
    catalogue = daily(lambda _vault, _steps: {})
    working.Worker(timed, catalogue).sweep()
    assert stored(vault) == [(MORNING, "ok", 1)]
    clock.now += timedelta(hours=23, minutes=59)
    working.Worker(timed, catalogue).sweep()
    assert len(stored(vault)) == 1
    clock.now = MORNING + timedelta(days=4, hours=7)  # nobody worked for days
    again = working.Worker(timed, catalogue)
    again.sweep()
    again.sweep()
    assert stored(vault) == [(MORNING, "ok", 1), (MORNING + timedelta(days=4), "ok", 1)]


def test_a_failure_is_told_and_the_next_run_still_happens(place: Installation, vault: Vault) -> None:
    clock = Clock(MORNING)

    def fails(_vault: Vault, _steps: Steps) -> Counts:
        if clock.now == MORNING:
            raise ValueError("the record says 4111111111111111")
        if clock.now == MORNING + timedelta(days=1):
            raise Forked("two trees of the same size", "a-ledger", 7)
        return {"done": 3}

    worker = working.Worker(replace(vault, clock=clock), daily(fails))
    for _ in range(3):
        worker.sweep()
        clock.now += timedelta(days=1)
    assert [outcome for _, outcome, _ in stored(vault)] == ["failed", "failed", "ok"]
    finished = [one for one in told(place) if one.leaf.event == "job.finished"]
    assert [one.leaf.facts.get("error") for one in finished] == ["ValueError", "Forked", None]
    assert finished[0].details is not None
    assert re.fullmatch(r"ValueError at test_worker\.py line \d+", finished[0].details["error"])
    assert finished[1].details == {"error": "two trees of the same size at ledger a-ledger seq 7"}
    assert (finished[2].leaf.facts["done"], finished[2].details) == (3, None)
    assert "4111111111111111" not in place.everything_stored()


def test_nothing_runs_while_the_clocks_disagree(vault: Vault) -> None:
    """A worker that lives in next year would plan what is not due."""
    ahead = Clock(datetime.now(UTC) + timedelta(seconds=400))
    catalogue = daily(lambda _vault, _steps: {}, clock_seconds=300)
    working.Worker(replace(vault, clock=ahead), catalogue).sweep()
    assert stored(vault) == []
    ahead.now = datetime.now(UTC)
    working.Worker(replace(vault, clock=ahead), catalogue).sweep()
    assert len(stored(vault)) == 1


def claim(vault: Vault, due: datetime, worker: str, seconds: float = 60) -> tuple[Any, Any]:
    return transact(
        vault.engine, lambda connection: rows.claim(connection, vault.events, "test.job", due, worker, seconds)
    )


def test_of_claims_at_the_same_time_one_wins(vault: Vault) -> None:
    """Also where their due times differ: two workers need not have the same schedule, or the same second."""
    together = threading.Barrier(8)
    won: list[str] = []

    def go(number: int) -> None:
        together.wait()
        mine, other = claim(vault, MORNING + timedelta(seconds=number % 3), f"w{number}")
        assert (mine is None) != (other is None)
        if mine is not None:
            won.append(mine.worker)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_claims_of_a_job_wait_for_each_other(vault: Vault) -> None:
    """So that none misses a run that another is about to commit."""
    first, _ = claim(vault, MORNING, "before")
    transact(vault.engine, lambda connection: rows.finish(connection, vault.events, first, "ok"))
    second: list[tuple[Any, Any]] = []
    late = threading.Thread(target=lambda: second.append(claim(vault, MORNING + timedelta(days=2), "second")))
    with vault.engine.begin() as connection:
        mine, _ = rows.claim(connection, vault.events, "test.job", MORNING + timedelta(days=1), "first", 60)
        assert mine is not None
        late.start()
        until(lambda: second or _waits(vault))
    late.join()
    ((taken, other),) = second
    assert (taken, other.worker) == (None, "first")


def _waits(vault: Vault) -> bool:
    with vault.engine.connect() as connection:
        return bool(
            connection.exec_driver_sql(
                "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
            ).scalar()
        )


def test_a_run_that_was_taken_over_is_no_longer_its_first_workers(vault: Vault) -> None:
    first, _ = claim(vault, MORNING, "first", seconds=0)
    second, _ = claim(vault, MORNING, "second")
    assert (first.attempts, second.attempts) == (1, 2)
    for change in (
        lambda connection: rows.renew(connection, vault.events, first, 60),
        lambda connection: rows.finish(connection, vault.events, first, "ok"),
        lambda connection: rows.release(connection, vault.events, first),
    ):
        assert transact(vault.engine, change) is False
    assert transact(vault.engine, lambda connection: rows.finish(connection, vault.events, second, "ok"))
    assert claim(vault, MORNING, "third")[0] is None
    assert claim(vault, MORNING - timedelta(days=1), "third")[0] is None  # overtaken by what is done


def test_who_slept_through_a_lease_stops_at_the_next_step(vault: Vault) -> None:
    """The machine was paused for longer than the lease: somebody else may be at it."""
    now = [0.0]

    def sleeps(_vault: Vault, steps: Steps) -> Counts:
        steps()
        now[0] += 61
        steps()
        raise AssertionError("it went on")

    done = jobs.attempt(
        vault, "test.job", MORNING, sleeps, lease_seconds=60, stopping=threading.Event(), monotonic=lambda: now[0]
    )
    assert done.ended is not None
    assert done.ended.outcome == "stopped"


def dies(_vault: Vault, _steps: Steps) -> Counts:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def test_a_run_that_dies_takes_nothing_along(vault: Vault) -> None:
    """Such as one that the system ends for its memory: the worker goes on, and the run is taken over."""
    timed = replace(vault, clock=Clock(MORNING))
    working.Worker(timed, daily(dies)).sweep()
    assert stored(vault) == [(MORNING, None, 1)]
    with vault.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE vault.job SET lease_until = now() - interval '1 second'")
    working.Worker(timed, daily(lambda _vault, _steps: {})).sweep()
    assert stored(vault) == [(MORNING, "ok", 2)]


def test_a_run_that_kills_its_workers_is_given_up(vault: Vault) -> None:
    for _ in range(jobs.MOST_ATTEMPTS):
        claim(vault, MORNING, "dies", seconds=0)
    working.Worker(replace(vault, clock=Clock(MORNING)), daily(dies)).sweep()
    assert [outcome for _, outcome, _ in stored(vault)] == ["failed"]


def test_a_run_is_refused_while_another_goes_on(vault: Vault) -> None:
    catalogue = daily(lambda _vault, _steps: {"x": 1})
    job = catalogue.job("test.job")
    claim(vault, MORNING, "busy")
    with pytest.raises(Unavailable, match="being run by worker busy"):
        working.run_now(vault, catalogue, job)
    with vault.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE vault.job SET lease_until = now() - interval '1 second'")
    assert working.run_now(vault, catalogue, job).counts == {"x": 1}


def test_an_interrupted_run_ends_after_the_step_at_hand(place: Installation, vault: Vault) -> None:
    def waits(_vault: Vault, steps: Steps) -> Counts:
        (place.home / "begun").touch()
        while True:
            steps()
            time.sleep(0.01)

    def interrupt() -> None:
        until((place.home / "begun").exists)
        os.kill(os.getpid(), signal.SIGINT)

    catalogue = daily(waits)
    threading.Thread(target=interrupt).start()
    with pytest.raises(VaultError, match="was stopped before its end"):
        working.run_now(vault, catalogue, catalogue.job("test.job"))
    assert [(outcome, attempts) for _, outcome, attempts in stored(vault)] == [(None, 0)]
    assert words(told(place))[-1] == ("job.finished", "test.job", "stopped")


def test_the_leases_row_cannot_be_written_by_the_service(place: Installation) -> None:
    with psycopg.connect(place.database.app_dsn) as connection:
        connection.execute("SET ROLE reasonvault_app")
        connection.execute("SELECT count(*) FROM vault.job")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE vault.job SET worker = 'x'")
