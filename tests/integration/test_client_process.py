"""The client across the lives of processes: fork, exit, os._exit, SIGTERM, kill -9, and several at one spool."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from reasonvault_client import Backoff, Client

from tests.support.client_server import KEY, Exchange, FakeVault, running, unavailable, until

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import os, signal, sys, threading, time
from pathlib import Path
from reasonvault_client import Backoff, Client, Limits
from tests.support.client_server import KEY, record, until

URL, FOLDER = sys.argv[1], Path(sys.argv[2])

def client(**options):
    return Client(URL, "payments", KEY, **{"spool": FOLDER / "spool", "backoff": Backoff(0.001, 0.01), **options})

def say(word):
    print(word, flush=True)
"""


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with running() as started:
        yield started


def start(vault: FakeVault, folder: Path, script: str) -> subprocess.Popen[str]:
    """Start a payment service."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PREAMBLE + dedent(script), vault.url, str(folder)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(vault: FakeVault, folder: Path, script: str, expect: int = 0) -> str:
    """Run one to its end and return what it said."""
    with start(vault, folder, script) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == expect, err
    return out


def drained(vault: FakeVault, folder: Path) -> list[dict[str, Any]]:
    """Deliver what is left in the spool, and return what the vault holds."""
    options: dict[str, Any] = {"deliver": False, "backoff": Backoff(0.001, 0.01)}
    with Client(vault.url, "payments", KEY, spool=folder / "spool", **options) as client:
        client.drain()
        assert client.counters()[1:3] == (0, 0)
    return [json.loads(text) for text in vault.ledger.records]


def without_gaps(documents: list[dict[str, Any]]) -> bool:
    return sorted(document["producer_seq"] for document in documents) == list(range(1, len(documents) + 1))


def test_os_exit_loses_nothing_that_spool_returned_for(vault: FakeVault, tmp_path: Path) -> None:
    run(
        vault,
        tmp_path,
        """
        made = client(deliver=False)
        for number in range(5):
            made.log(record(number), mode="spool")
        os._exit(0)
        """,
    )
    assert vault.ledger.records == []
    assert [document["id"] for document in drained(vault, tmp_path)] == [f"dec-{number}" for number in range(5)]


def test_exit_flushes(vault: FakeVault, tmp_path: Path) -> None:
    """A script that nobody closes: its spool is delivered, and so is what best_effort left in memory."""
    run(
        vault,
        tmp_path,
        """
        spooling, memory = client(), client(spool=None, deliver=False)
        for number in range(5):
            spooling.log(record(number), mode="spool")
        memory.log(record("memory"), mode="best_effort")
        """,
    )
    assert len(vault.ledger.records) == 6
    assert not list((tmp_path / "spool").glob("*.parcel"))


def test_exit_does_not_wait_for_a_vault_that_is_away(vault: FakeVault, tmp_path: Path) -> None:
    vault.always = unavailable("3600")
    run(vault, tmp_path, "client().log(record(1), mode='spool')")
    assert len(list((tmp_path / "spool").glob("*.parcel"))) == 1


SERVICE = """
made = client(handle_sigterm=True, deliver=False, flush_timeout=5.0)
memory = client(spool=None, handle_sigterm=True, deliver=False)
made.log(record(1), mode="spool")
memory.log(record(2), mode="best_effort")
say("ready")
while True:
    time.sleep(0.1)
"""


def test_sigterm_flushes_and_then_ends_the_process(vault: FakeVault, tmp_path: Path) -> None:
    script = SERVICE.replace("deliver=False, flush", "flush")
    with start(vault, tmp_path, script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    assert {json.loads(text)["id"] for text in vault.ledger.records} == {"dec-1", "dec-2"}


def test_sigterm_reaches_the_handler_that_was_there(vault: FakeVault, tmp_path: Path) -> None:
    script = 'signal.signal(signal.SIGTERM, lambda number, frame: (os.write(1, b"chained\\n"), sys.exit(7)))' + SERVICE
    with start(vault, tmp_path, script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 7, err
    assert out == "chained\n"
    assert b'"dec-2"' in b"".join(vault.ledger.records)


def test_signals_are_left_alone_unasked(vault: FakeVault, tmp_path: Path) -> None:
    out = run(vault, tmp_path, "made = client(); say(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)")
    assert out == "True\n"


def test_a_forked_child_has_its_own_connection_and_thread_and_shares_the_numbers(
    vault: FakeVault, tmp_path: Path
) -> None:
    """Forked while threads of the parent are in the middle of everything."""
    out = run(
        vault,
        tmp_path,
        """
        made = client(limits=Limits(records=10_000))
        made.log(record("sync-parent"))
        stop = threading.Event()
        counts = {}

        def work(name):
            number = 0
            while not stop.is_set():
                made.log(record(f"{name}-{number}"), mode="spool")
                number += 1
                time.sleep(0.002)
            counts[name] = number

        workers = [threading.Thread(target=work, args=(f"parent-{n}",)) for n in range(3)]
        for worker in workers:
            worker.start()
        children = []
        for child in range(6):
            pid = os.fork()
            if pid == 0:
                try:
                    made.log(record(f"sync-{child}"))
                    for number in range(10):
                        made.log(record(f"child-{child}-{number}"), mode="spool")
                    os._exit(0)
                except BaseException as error:
                    print(repr(error), file=sys.stderr, flush=True)
                    os._exit(3)
            children.append(pid)
            time.sleep(0.02)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        stop.set()
        for worker in workers:
            worker.join()
        assert codes == [0] * 6, codes
        made.drain(30)
        say(sum(counts.values()) + 1 + 6 * 11)
        """,
    )
    documents = drained(vault, tmp_path)
    assert len(documents) == int(out)
    assert len({document["id"] for document in documents}) == int(out)
    assert without_gaps(documents)


def test_a_child_delivers_when_its_parent_is_gone(vault: FakeVault, tmp_path: Path) -> None:
    """The delivery lock that the child inherited does not outlive the parent's use of it."""
    vault.always = unavailable()
    script = """
        made = client()
        made.log(record("parent"), mode="spool")
        until(lambda: made.trouble)
        pid = os.fork()
        if pid == 0:
            made.log(record("child"), mode="spool")
            say("child")
            until(lambda: not made.counters().pending)
            say(made.counters().sent)
            os._exit(0)
        os._exit(0)
        """
    with start(vault, tmp_path, script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "child\n"
        vault.always = None
        assert process.stdout.readline() == "2\n"
    assert without_gaps(drained(vault, tmp_path))


def test_several_processes_write_one_spool_and_one_delivers_at_a_time(vault: FakeVault, tmp_path: Path) -> None:
    busy, most = threading.Semaphore(), [0]

    def alone(exchange: Exchange) -> None:
        if exchange.request_made.path.endswith("/batch"):
            if busy.acquire(blocking=False):
                try:
                    exchange.serve()
                finally:
                    busy.release()
                return
            most[0] += 1
        exchange.serve()

    vault.always = alone
    script = """
        made = client()
        for number in range(40):
            made.log(record(f"{os.getpid()}-{number}"), mode="spool")
        made.close(20)
        """
    processes = [start(vault, tmp_path, script) for _ in range(4)]
    for process in processes:
        with process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    documents = drained(vault, tmp_path)
    assert len(documents) == 160
    assert without_gaps(documents)
    assert most == [0], "two processes delivered at once"


def test_killed_again_and_again_under_load(vault: FakeVault, tmp_path: Path) -> None:
    """Whatever it said was spooled is at the vault once, with numbers that have no gap."""
    said: list[str] = []
    for turn in range(6):
        script = f"""
            made = client()
            def work(worker):
                for number in range(10_000):
                    name = f"{turn}-{{worker}}-{{number}}"
                    made.log(record(name), mode="spool")
                    os.write(1, f"dec-{{name}}\\n".encode())
            for worker in range(3):
                threading.Thread(target=work, args=(worker,), daemon=True).start()
            time.sleep(60)
            """
        with start(vault, tmp_path, script) as process:
            assert process.stdout is not None
            for _ in range(20 + 17 * turn):
                said.append(process.stdout.readline().strip())
            os.kill(process.pid, signal.SIGKILL)
            said += process.stdout.read().split()
    documents = drained(vault, tmp_path)
    ids = [document["id"] for document in documents]
    assert set(said) <= set(ids)
    assert len(ids) == len(set(ids))
    assert len(ids) <= len(said) + 6 * 3
    assert without_gaps(documents)


def test_another_process_takes_over_delivery(vault: FakeVault, tmp_path: Path) -> None:
    hang = threading.Event()

    def stuck(exchange: Exchange) -> None:
        hang.wait(30)
        exchange.close_connection = True

    vault.script = [stuck]
    script = """
        made = client(timeout=30.0)
        made.log(record(os.getpid()), mode="spool")
        say("ready")
        time.sleep(60)
        """
    with start(vault, tmp_path, script) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        until(lambda: vault.posts)
        with start(vault, tmp_path, script) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "ready\n"
            os.kill(first.pid, signal.SIGKILL)
            until(lambda: len(vault.ledger.records) == 2)
            second.kill()
            hang.set()
    assert without_gaps(drained(vault, tmp_path))
