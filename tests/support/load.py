"""Clients that send without rest until told to stop, and remember what they were promised.

    load = Load(url, "payments", ledger_id)
    load.start(load.one_by_one, key, 1000)      threads over plain HTTP ...
    load.start_process(key, folder)             ... and a payment service of its own with reasonvault_client in it
    load.wait_for(200)                          until so many receipts are held
    load.finish()                               each ends the record at hand, however often it has to be sent

    python -m tests.support.load URL LEDGER KEY FOLDER

What a client may be told while things die is a closed list (``_MAY_SAY``); every other answer is a fault, and
``finish`` raises it. A record is repeated until it has its receipt, so whatever was sent is promised in the end.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
from reasonvault_client import Backoff, Client
from reasonvault_client.errors import Unavailable

from tests.support.decisions import decision, spelled
from tests.support.postgres import ROOT

PATIENCE: Final = 60
"""Seconds that anything is waited for; nothing takes that long unless it never comes."""
_PAUSE: Final = 0.05
_MAY_SAY: Final = {"unavailable", "unknown-outcome"}
_BATCH: Final = 25
_PENDING: Final = 60


@dataclass(frozen=True)
class Promise:
    """A record and the receipt that somebody holds for it."""

    raw: bytes
    receipt: bytes = field(repr=False)

    @property
    def id(self) -> str:
        return str(json.loads(self.raw)["id"])


class Load:
    """The clients of one ledger."""

    def __init__(self, url: str, ledger: str, place: UUID) -> None:
        self.url = url
        self.ledger = ledger
        self.place = place
        self.held: list[Promise] = []
        self.spooled: set[int] = set()
        self.opened: list[tuple[int, str]] = []
        """Position of the access event, and the record's id, of every record that was shown."""
        self.conflicts = 0
        self.faults: list[str] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, act: Callable[..., None], *arguments: Any) -> None:
        """Run one of the clients below in a thread."""

        def run() -> None:
            try:
                with httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE) as client:
                    act(client, *arguments)
            except Exception as error:
                with self._changed:
                    self.faults.append(f"{act.__name__}: {type(error).__name__}: {error}")
                    self._changed.notify_all()

        thread = threading.Thread(target=run, name=act.__name__)
        self._threads.append(thread)
        thread.start()

    def start_process(self, key: str, folder: Path) -> None:
        """Start a process that logs by ``reasonvault_client``, some records in mode sync and some in mode spool."""
        command = [sys.executable, "-m", "tests.support.load", self.url, self.ledger, key, str(folder)]
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}", "PATH": ""}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)
        self._processes.append(process)

        def listen() -> None:
            assert process.stdout is not None
            with process.stdout as lines:
                for line in lines:
                    said = json.loads(line)
                    if "receipt" in said:
                        self._hold(spelled(decision(said["sync"])), said["receipt"].encode())
                    else:
                        self.spooled.add(said["spooled"])

        thread = threading.Thread(target=listen, name="listen")
        self._threads.append(thread)
        thread.start()

    def wait_for(self, promises: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Return once so many receipts are held; look after something else ``meanwhile``, again and again."""
        end = time.monotonic() + PATIENCE
        reached = False
        while not reached and time.monotonic() < end:
            meanwhile()
            with self._changed:
                reached = self._changed.wait_for(lambda: bool(self.faults) or len(self.held) >= promises, 0.2)
        assert not self.faults, self.faults
        assert reached, f"{len(self.held)} of {promises} receipts"

    def finish(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Have everybody end what they have at hand, and raise what went wrong."""
        self._stop.set()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()  # tells it
        end = time.monotonic() + 2 * PATIENCE
        for thread in self._threads:
            while thread.is_alive() and time.monotonic() < end:
                meanwhile()
                thread.join(0.2)
            assert not thread.is_alive(), f"{thread.name} does not end; {self.faults}"
        for process in self._processes:
            assert process.wait(PATIENCE) == 0
        assert not self.faults, self.faults

    def abandon(self) -> None:
        """End everybody at once, whatever they do, unless they have ended."""
        self._stop.set()
        self.faults.append("abandoned")
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(2 * PATIENCE)

    def one_by_one(self, client: httpx.Client, key: str, first: int) -> None:
        """Append single records. Now and then one is sent again, and one with other bytes."""
        for number in count(first):
            if self._stop.is_set():
                return
            raw = spelled(decision(number))
            receipt = self._insist(client, key, raw)
            self._hold(raw, receipt)
            if number % 7 == 0:
                again = self._insist(client, key, raw, fresh=False)
                assert json.loads(again)["leaf"] == json.loads(receipt)["leaf"], "the same record has two leaves"
            if number % 5 == 0:
                self._conflict(client, key, spelled(decision(number, prompt="another one")))

    def in_batches(self, client: httpx.Client, key: str, first: int) -> None:
        """Append streams of records; lines without an answer are sent again."""
        numbers = count(first)
        while not self._stop.is_set():
            missing = {number: spelled(decision(number)) for number in islice(numbers, _BATCH)}
            while missing:
                sent = list(missing)
                for line in self._batch(client, key, [missing[number] for number in sent]):
                    if line["status"] in (200, 201):
                        number = sent[line["line"] - 1]
                        self._hold(missing.pop(number), json.dumps(line["receipt"]).encode())
                    else:
                        self._require_known(line["problem"])
                if missing:
                    self._pause()

    def reader(self, client: httpx.Client, token: str, seed: int) -> None:
        """Open records that somebody holds a receipt for."""
        dice = random.Random(seed)
        self.wait_for(1)
        while not self._stop.is_set():
            promise = dice.choice(self.held)
            answer = self._ask(client, "GET", f"/v1/ledgers/{self.ledger}/records/{promise.id}", token)
            if answer is None:
                continue
            assert answer.status_code == 200, answer.text
            assert promise.raw in answer.content, "what was shown is not what was sent"
            self.opened.append((answer.json()["access_event"], promise.id))

    def _insist(self, client: httpx.Client, key: str, raw: bytes, *, fresh: bool = True) -> bytes:
        """Send a record until it has its receipt, and return that."""
        while True:
            answer = self._ask(client, "POST", f"/v1/ledgers/{self.ledger}/records", key, raw)
            if answer is not None:
                assert answer.status_code in ((200, 201) if fresh else (200,)), answer.text
                return answer.content

    def _conflict(self, client: httpx.Client, key: str, raw: bytes) -> None:
        answer = None
        while answer is None:
            answer = self._ask(client, "POST", f"/v1/ledgers/{self.ledger}/records", key, raw)
        assert answer.status_code == 409, answer.text
        with self._changed:
            self.conflicts += 1

    def _ask(
        self, client: httpx.Client, method: str, path: str, token: str, raw: bytes | None = None
    ) -> httpx.Response | None:
        """Return the answer, or None, after a while, where there is none that says anything."""
        headers = {"Authorization": f"Bearer {token}"} | ({"Content-Type": "application/json"} if raw else {})
        try:
            answer = client.request(method, path, content=raw, headers=headers)
        except httpx.TransportError:
            self._pause()
            return None
        if answer.status_code < 500:
            return answer
        self._require_known(answer.json())
        self._pause()
        return None

    def _batch(self, client: httpx.Client, key: str, records: list[bytes]) -> Iterator[dict[str, Any]]:
        """Yield the lines of an answer that arrived whole."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        path = f"/v1/ledgers/{self.ledger}/records/batch"
        rest = b""
        try:
            with client.stream("POST", path, content=b"\n".join(records), headers=headers) as answer:
                if answer.status_code != 200:
                    self._require_known(json.loads(answer.read()))
                    return
                for chunk in answer.iter_bytes():
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from map(json.loads, whole)
        except httpx.TransportError:
            return

    def _require_known(self, problem: dict[str, Any]) -> None:
        kind = problem["type"].rpartition(":")[2]
        assert kind in _MAY_SAY, problem
        if "abandoned" in self.faults:
            raise AssertionError("abandoned")

    def _pause(self) -> None:
        if "abandoned" in self.faults:
            raise AssertionError("abandoned")
        time.sleep(_PAUSE)

    def _hold(self, raw: bytes, receipt: bytes) -> None:
        with self._changed:
            self.held.append(Promise(raw, receipt))
            self._changed.notify_all()


class Logging:
    """A payment service: two threads that log, one in mode sync and one in mode spool, and say what they were told."""

    def __init__(self, url: str, ledger: str, key: str, folder: Path) -> None:
        self._client = Client(url, ledger, key, spool=folder / "spool", backoff=Backoff(0.02, 0.2), deadline=PATIENCE)
        self._stop = threading.Event()
        self._speaking = threading.Lock()

    def run(self) -> int:
        """Log until standard input is closed; then deliver what is spooled. Returns 0 if everything arrived."""
        threads = [threading.Thread(target=self._sync), threading.Thread(target=self._spool)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self._stop.set()
        for thread in threads:
            thread.join()
        self._client.drain(PATIENCE)
        counters = self._client.counters()
        self._client.close()
        return 0 if (counters.pending, counters.parked, counters.lost, counters.bad_receipts) == (0, 0, 0, 0) else 1

    def _sync(self) -> None:
        for number in count(SYNC_FIRST):
            if self._stop.is_set():
                return
            receipt = None
            while receipt is None:
                try:
                    receipt = self._client.log(spelled(decision(number)))
                except Unavailable:
                    time.sleep(_PAUSE)
            self._say({"sync": number, "receipt": receipt.data.decode()})

    def _spool(self) -> None:
        for number in count(SPOOL_FIRST):
            while self._client.counters().pending > _PENDING and not self._stop.is_set():
                time.sleep(_PAUSE)
            if self._stop.is_set():
                return
            self._client.log(spelled(decision(number)), mode="spool")
            self._say({"spooled": number})

    def _say(self, what: dict[str, Any]) -> None:
        with self._speaking:
            print(json.dumps(what), flush=True)


SYNC_FIRST: Final = 1_000_000
SPOOL_FIRST: Final = 2_000_000


def spool_receipts(folder: Path) -> list[Promise]:
    """Return what the process of a folder holds for the records that it spooled; one delivered twice is there twice."""
    lines = (folder / "spool.receipts.jsonl").read_bytes().splitlines()
    told = [json.loads(line) for line in lines]
    return [
        Promise(spelled(decision(int(one["id"].removeprefix("dec-")))), json.dumps(one["receipt"]).encode())
        for one in told
    ]


if __name__ == "__main__":
    sys.exit(Logging(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])).run())
