"""Spool, counter, key file and journal on a real file system."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from reasonvault_client import files, journal, parcel, parking, spoolkey
from reasonvault_client.counter import Counter, Held, State
from reasonvault_client.encoding import Body, encode
from reasonvault_client.errors import Misconfigured, SpoolBroken, SpoolFull
from reasonvault_client.numbering import Numbers
from reasonvault_client.spool import Entry, Limits, Spool
from reasonvault_client.spoolkey import SpoolKey

KEY = SpoolKey(bytes(32))


def spool_in(folder: Path, **options: Any) -> Spool:
    return Spool(folder / "spool", KEY, **options)


def body(number: int) -> Body:
    return encode({"id": str(number)}, number=True)


def held_numbers(spool: Spool) -> list[int]:
    found = []
    for name in spool.names():
        found += [json.loads(record)["producer_seq"] for _, record in sorted(spool.read(name).records.items())]
    return found


def test_a_spool_holds_what_was_put_in_order(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in range(5):
        spool.put(body(number))
    assert held_numbers(spool) == [1, 2, 3, 4, 5]
    assert spool.counter.peek()[:3] == (5, 5, 5)


def test_finishing_gives_room_back_and_no_number_again(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, limits=Limits(records=2))
    spool.put(body(1))
    spool.put(body(2))
    with pytest.raises(SpoolFull):
        spool.put(body(3))
    spool.finish(spool.names())
    assert spool.counter.peek()[2:4] == (0, 0)
    spool.put(body(3))
    assert held_numbers(spool) == [3]


def test_bytes_are_bounded_too(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, limits=Limits(bytes=1000))
    spool.put(Body(bytes(800)))
    with pytest.raises(SpoolFull):
        spool.put(Body(bytes(800)))
    spool.put(Body(bytes(10)))
    assert sum(path.stat().st_size for path in spool.folder.glob("*.parcel")) == spool.counter.peek().bytes


def test_a_group_takes_those_that_fit(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, limits=Limits(bytes=1000))
    entries = [Entry(Body(bytes(size))) for size in (300, 2000, 300)]
    for entry in entries:
        spool.queue(entry)
    spool.write(entries[0])
    assert [entry.done for entry in entries] == [True] * 3
    assert [type(entry.error) for entry in entries] == [type(None), SpoolFull, type(None)]
    assert [name.records for name in spool.names()] == [2]


def test_a_lost_counter_is_counted_again(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in range(3):
        spool.put(body(number))
    spool.counter.path.unlink()
    again = spool_in(tmp_path)
    again.put(body(3))
    assert held_numbers(again) == [1, 2, 3, 4]


def test_a_counter_that_is_older_than_the_spool_is_mended(tmp_path: Path) -> None:
    """As a power cut leaves it: the parcels are on disk, the counter's last writes are not."""
    spool = spool_in(tmp_path)
    spool.put(body(1))
    old = spool.counter.path.read_bytes()
    spool.put(body(2))
    spool.counter.path.write_bytes(old)
    again = spool_in(tmp_path)
    again.put(body(3))
    assert held_numbers(again) == [1, 2, 3]
    assert again.counter.peek().records == 3


class Killed(BaseException):
    """Stands for the end of a process."""


def test_a_process_that_stays_open_notices_that_another_one_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the rename and the counter: the number is given, and nobody has written that down."""
    stays, dies = spool_in(tmp_path), spool_in(tmp_path)
    real = Held.store

    def store(self: Held, state: State, *, synced: bool = False) -> None:
        if not state.dirty:
            raise Killed
        real(self, state, synced=synced)

    with monkeypatch.context() as patch:
        patch.setattr(Held, "store", store)
        with pytest.raises(Killed):
            dies.put(body(1))
    stays.put(body(2))
    assert held_numbers(stays) == [1, 2]
    assert stays.counter.peek()[:3] == (2, 2, 2)


def test_the_counter_is_on_disk_before_a_parcel_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut could take the number back, and it would be given again."""
    spool = spool_in(tmp_path)
    spool.put(body(1))
    done: list[str] = []
    fsync, unlink = os.fsync, os.unlink

    def noted_fsync(descriptor: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def noted_unlink(path: Path) -> None:
        done.append(f"unlink {Path(path).suffix}")
        unlink(path)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "unlink", noted_unlink)
    spool.finish(spool.names())
    assert done == ["sync spool.counter", "unlink .parcel"]


def test_a_child_lets_go_of_a_lock_that_came_with_it(tmp_path: Path) -> None:
    """Forked in a way that tells nobody beforehand: kept open, the lock would outlive the parent."""
    counter = Counter(tmp_path / "counter")
    with counter.locked():
        held = counter._descriptor
        assert held is not None
        child = os.fork()
        if child == 0:
            counter.after_fork_in_child()
            try:
                os.fstat(held)
            except OSError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with counter.locked():
        pass


def test_a_number_is_on_disk_before_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Numbers(Counter(tmp_path / "counter"))
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert json.loads(numbers.give(body(1)))["producer_seq"] == 1
    assert len(synced) == 1
    assert json.loads(numbers.give(body(1)))["producer_seq"] == 1
    assert json.loads(numbers.give(body(2)))["producer_seq"] == 2


def test_a_torn_slot_leaves_the_other_one(tmp_path: Path) -> None:
    counter = Counter(tmp_path / "counter")
    for number in range(1, 4):
        with counter.locked() as held:
            held.store(State(number, number, 0, 0, dirty=False))
    data = bytearray(counter.path.read_bytes())
    data[512 + 20] ^= 1
    counter.path.write_bytes(data)
    assert counter.peek().tickets == 2


def test_a_counter_damaged_on_both_sides_is_told(tmp_path: Path) -> None:
    (tmp_path / "counter").write_bytes(b"\x01" * 600)
    with pytest.raises(SpoolBroken, match="damaged"):
        Counter(tmp_path / "counter").peek()


def test_a_torn_write_goes_and_a_damaged_parcel_stays(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.put(body(1))
    (spool.folder / "writing").write_bytes(b"half a par")
    (path,) = spool.folder.glob("*.parcel")
    path.write_bytes(path.read_bytes()[:70])
    again = spool_in(tmp_path)
    assert not (spool.folder / "writing").exists()
    assert again.read(again.names()[0]).damaged == (0,)


@pytest.mark.parametrize("step", ["write_synced", "sync_folder"])
def test_what_could_not_be_made_durable_was_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    spool = spool_in(tmp_path)

    def fail(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(files, step, fail)
        with pytest.raises(SpoolBroken, match="not taken"):
            spool.put(body(1))
    assert spool.names() == []
    spool.put(body(2))
    assert held_numbers(spool) == [1]


def test_a_directory_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o755)
    (tmp_path / "spool").chmod(0o755)
    with pytest.raises(SpoolBroken, match="chmod 700"):
        spool_in(tmp_path)


def test_a_directory_without_a_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpoolBroken, match="cannot make"):
        spool_in(tmp_path / "missing")


def test_threads_share_a_parcel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come while one writes go together into the next."""
    spool = spool_in(tmp_path)
    writing, go_on = threading.Event(), threading.Event()
    real = files.write_synced

    def slow(path: Path, data: bytes) -> None:
        if path.name == "writing" and not writing.is_set():
            writing.set()
            assert go_on.wait(20)
        real(path, data)

    monkeypatch.setattr(files, "write_synced", slow)
    threads = [threading.Thread(target=spool.put, args=(body(0),))]
    threads[0].start()
    assert writing.wait(20)
    threads += [threading.Thread(target=spool.put, args=(body(number),)) for number in range(1, 6)]
    for thread in threads[1:]:
        thread.start()
    while len(spool._waiting) < 5:
        pass
    go_on.set()
    for thread in threads:
        thread.join()
    assert [name.records for name in spool.names()] == [1, 5]
    assert held_numbers(spool) == list(range(1, 7))


def test_parking_twice_leaves_one_and_retry_puts_it_back(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.put(body(1))
    (name,) = spool.names()
    record = spool.read(name).records[0]
    for _ in range(2):
        parking.park(spool, name, 0, record, parking.Reason(why="refused", status=422, code="card_number"))
    assert spool.counter.peek().records == 2
    spool.finish([name])
    assert spool.counter.peek().records == 1
    (one,) = parking.parked(spool)
    assert (one.reason.why, one.reason.code, one.records) == ("refused", "card_number", 1)
    parking.retry(spool, name)
    assert parking.parked(spool) == []
    assert held_numbers(spool) == [1]
    assert [path.name for path in spool.parked_folder.iterdir()] == []
    with pytest.raises(SpoolBroken):
        parking.retry(spool, name)


class SpoolMachine(RuleBasedStateMachine):
    """Whatever is done in whatever order: numbers without gaps, counts that are true, and nothing vanishes."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory(prefix="reasonvault-")
        self.base = Path(self.folder.name)
        self.spool = spool_in(self.base, limits=Limits(records=6))
        self.given = 0
        self.gone: list[int] = []

    @rule()
    def put(self) -> None:
        try:
            self.spool.put(body(0))
        except SpoolFull:
            assert self.spool.counter.peek().records == 6
        else:
            self.given += 1

    @rule()
    def reopen(self) -> None:
        self.spool = spool_in(self.base, limits=Limits(records=6))

    @rule()
    def crash_in_the_lock(self) -> None:
        with self.spool.counter.locked() as held:
            held.store(held.state._replace(dirty=True, records=99))

    @precondition(lambda self: self.spool.names())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.spool.names()))
        self.gone.append(json.loads(self.spool.read(name).records[0])["producer_seq"])
        self.spool.finish([name])

    @precondition(lambda self: self.spool.names())
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.spool.names()))
        parking.park(self.spool, name, 0, self.spool.read(name).records[0], parking.Reason(why="refused"))
        self.spool.finish([name])

    @precondition(lambda self: self.spool.parked_names())
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        parking.retry(self.spool, data.draw(st.sampled_from(self.spool.parked_names())))

    @invariant()
    def nothing_is_missing(self) -> None:
        parked = []
        for name in self.spool.parked_names():
            opened = parcel.unpack((self.spool.parked_folder / str(name)).read_bytes(), name, KEY)
            parked += [json.loads(record)["producer_seq"] for record in opened.records.values()]
        assert sorted(held_numbers(self.spool) + parked + self.gone) == list(range(1, self.given + 1))

    @invariant()
    def counts_are_true(self) -> None:
        with self.spool.counter.locked() as held:
            state = self.spool.settled(held)
        found = [*self.spool.folder.glob("*.parcel"), *self.spool.parked_folder.glob("*.parcel")]
        assert (state.records, state.bytes) == (len(found), sum(path.stat().st_size for path in found))

    def teardown(self) -> None:
        self.folder.cleanup()


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_key_file_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "spool.key"
    first, second = (spoolkey.load(path, create=True) for _ in range(2))
    assert first.key_id == second.key_id
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        spoolkey.load(path, create=True)


@pytest.mark.parametrize("data", [b"", b"reasonvault-spool-key/1 \n", b"reasonvault-spool-key/1 AAAA\n", bytes(32)])
def test_what_is_no_key_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="not a spool key"):
        spoolkey.load(path, create=False)


def test_a_named_key_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot read"):
        spoolkey.load(tmp_path / "key", create=False)


def test_a_torn_line_of_the_journal_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    line = journal.Line(1, msgspec.Raw(b'{"receipt":"x"}'), "a")
    journal.append(path, [line])
    with path.open("ab") as file:
        file.write(b'{"ticket":2,"rec')
    journal.append(path, [line, line])
    read = path.read_bytes().split(b"\n")
    assert [json.loads(read[number])["ticket"] for number in (0, 2, 3)] == [1, 1, 1]
    assert path.stat().st_mode & 0o777 == 0o600
    assert "receipt" not in repr(line)


def test_of_two_that_create_a_file_the_first_wins(tmp_path: Path) -> None:
    assert files.create_once(tmp_path / "pin", b"first") == b"first"
    assert files.create_once(tmp_path / "pin", b"second") == b"first"
    assert os.listdir(tmp_path) == ["pin"]


@given(st.dictionaries(st.text(max_size=5).filter(lambda key: key != "producer_seq"), st.integers(-9, 9), max_size=4))
def test_a_number_is_spliced_in_without_touching_the_rest(document: dict[str, int]) -> None:
    made = encode(document, number=True)
    assert json.loads(made.data) == document
    numbered = made.numbered(7)
    assert json.loads(numbered) == {**document, "producer_seq": 7}
    assert numbered.startswith(made.data[:-1])


def test_a_number_that_is_null_makes_room_for_one() -> None:
    """null means absent; the key twice would be refused by the vault."""
    made = encode({"producer_seq": None, "id": "a"}, number=True)
    assert made.numbered(3) == b'{"id":"a","producer_seq":3}'
    assert encode({}, number=True).numbered(1) == b'{"producer_seq":1}'
    assert not encode({"producer_seq": 9}, number=True).wants_number
    assert not encode(b"{}", number=True).wants_number
