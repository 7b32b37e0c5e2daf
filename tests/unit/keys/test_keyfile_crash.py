"""Every file-system step of the key directory, broken in four ways.

    killed        the step does not happen (a write happens by half), and neither does anything after it
    killed late   the step happens, and nothing after it
    failed        the step does not happen and reports an I/O error; the process lives on
    failed late   the step happens and reports an I/O error all the same

What a power cut adds, names and bytes that were never synced, is held by the order of the steps, tested last.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vault.core.errors import Denied, KeyGone, KeyUnavailable
from vault.keys import disk
from vault.keys.keyfile import KeyDirectory
from vault.keys.provider import KeyState
from vault.keys.slots import Argon2Cost

CHEAP = Argon2Cost(memory_kib=8, passes=1, lanes=1)
PASSPHRASE = b"correct horse"
NOW = datetime(2029, 2, 1, tzinfo=UTC)
SECRET = bytes(range(32))
WAYS = ["killed", "killed late", "failed", "failed late"]
STEPS = {"open", "fchmod", "write", "fsync", "replace", "unlink", "rmdir", "mkdir"}


class Killed(BaseException):
    """The process is gone; no handler may catch it."""


class BreakingOs:
    """``os`` with one step broken. ``trace`` lists the steps with the names they touched."""

    def __init__(self, broken_step: int = -1, way: str = "killed") -> None:
        self.broken_step = broken_step
        self.way = way
        self.trace: list[tuple[str, str]] = []
        self.paths: dict[int, str] = {}

    @property
    def broke(self) -> bool:
        return 0 <= self.broken_step < len(self.trace)

    def __getattr__(self, name: str) -> object:
        real = getattr(os, name)
        return (lambda *args: self._step(name, real, args)) if name in STEPS else real

    def _step(self, name: str, real: Callable[..., object], args: tuple[object, ...]) -> object:
        if name == "open" and not isinstance(args[1], int):
            raise TypeError("open without flags")
        if name == "open" and not int(str(args[1])) & (os.O_WRONLY | os.O_CREAT):
            return self._opened(real(*args), args[0])
        if self.broke and self.way.startswith("killed"):
            raise Killed
        touched = args[-1] if name == "replace" else args[0]
        self.trace.append((name, self.paths.get(touched, "") if isinstance(touched, int) else str(touched)))
        now = len(self.trace) - 1 == self.broken_step
        if now and not self.way.endswith("late"):
            if name == "write":
                data = args[1]
                assert isinstance(data, memoryview)
                real(args[0], data[: len(data) // 2])
            raise self._end()
        result = real(*args)
        if now:
            raise self._end()
        return self._opened(result, args[0]) if name == "open" else result

    def _opened(self, descriptor: object, path: object) -> object:
        assert isinstance(descriptor, int)
        self.paths[descriptor] = str(path)
        return descriptor

    def _end(self) -> BaseException:
        return Killed() if self.way.startswith("killed") else OSError(errno.EIO, os.strerror(errno.EIO))


class Store:
    """A store with a doomed key, survivors and a recovery file; copied for every broken step."""

    def __init__(self, path: Path) -> None:
        self.original, self.path = path / "original", path / "keys"
        self.recovery = path / "recovery"
        with KeyDirectory.create(self.original, PASSPHRASE, clock=lambda: 0.0, cost=CHEAP) as keys:
            for ref in ("doomed", "survivor"):
                keys.create_key(ref)
            self.doomed = keys.wrap("doomed", SECRET, b"c")
            self.survivor = keys.wrap("survivor", SECRET, b"c")
            self.public = keys.create_signing_key("checkpoint")
            keys.export_recovery(self.recovery, "Custodian")
            keys.schedule_destroy("doomed", NOW)

    def fresh(self) -> KeyDirectory:
        if self.path.exists():
            shutil.rmtree(self.path)
        shutil.copytree(self.original, self.path)
        return self.open()

    def open(self, passphrase: bytes = PASSPHRASE) -> KeyDirectory:
        return KeyDirectory.open(self.path, passphrase, clock=lambda: 0.0)

    def generations(self) -> list[str]:
        return sorted(p.name for p in self.path.glob("generation-*"))

    def assert_survivors(self, keys: KeyDirectory) -> None:
        assert keys.unwrap("survivor", self.survivor, b"c") == SECRET
        Ed25519PublicKey.from_public_bytes(self.public).verify(keys.sign("checkpoint", b"m"), b"m")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def break_each_step(
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    prepare: Callable[[], KeyDirectory],
    work: Callable[[KeyDirectory], object],
) -> Iterator[KeyDirectory]:
    """Yields the instance after each broken run; a killed one is a corpse. Ends when a run is unbroken."""
    for step in count():
        keys, breaking = prepare(), BreakingOs(step, way)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "os", breaking)
            try:
                work(keys)
            except Killed:
                assert way.startswith("killed")
            except KeyUnavailable:
                assert way.startswith("failed")
        if not breaking.broke:
            assert step > 3
            return
        yield keys


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_destruction_loses_no_survivor_and_claims_nothing_early(
    store: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    seen: set[KeyState] = set()
    for broken in break_each_step(monkeypatch, way, store.fresh, lambda keys: keys.destroy_due(NOW)):
        keys = store.open() if way.startswith("killed") else broken
        store.assert_survivors(keys)
        state = keys.describe("doomed").state
        seen.add(state)
        if state is KeyState.DESTROYED:
            assert len(store.generations()) == 1
        else:
            assert state is KeyState.PENDING_DESTROY
            assert keys.destroy_due(NOW) == ["doomed"]
        assert keys.describe("doomed").state is KeyState.DESTROYED
        assert len(store.generations()) == 1
        assert not (set(store.generations()) & {p.name for p in store.original.iterdir()})
        with pytest.raises(KeyGone):
            keys.unwrap("doomed", store.doomed, b"c")
        store.assert_survivors(store.open())
        recovered = KeyDirectory.open_with_recovery(store.path, store.recovery, b"new", clock=lambda: 0.0, cost=CHEAP)
        store.assert_survivors(recovered)
    assert KeyState.PENDING_DESTROY in seen


@pytest.mark.parametrize("way", WAYS)
def test_a_destruction_broken_before_its_commit_point_can_be_cancelled(
    store: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    cancelled = []
    for broken in break_each_step(monkeypatch, way, store.fresh, lambda keys: keys.destroy_due(NOW)):
        keys = store.open() if way.startswith("killed") else broken
        try:
            keys.cancel_destroy("doomed")
        except KeyGone:
            cancelled.append(False)
        else:
            assert keys.unwrap("doomed", store.doomed, b"c") == SECRET
            assert keys.destroy_due(NOW) == []
            assert len(store.generations()) == 1
            cancelled.append(True)
        store.assert_survivors(keys)
    assert cancelled == sorted(cancelled, reverse=True)
    assert {True, False} == set(cancelled)


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_creation_of_a_key_can_be_repeated(store: Store, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    for broken in break_each_step(monkeypatch, way, store.fresh, lambda keys: keys.create_key("new")):
        keys = store.open() if way.startswith("killed") else broken
        assert keys.describe("new").state in (KeyState.UNKNOWN, KeyState.ENABLED)
        keys.create_key("new")
        wrapped = keys.wrap("new", SECRET, b"c")
        assert store.open().unwrap("new", wrapped, b"c") == SECRET
        store.assert_survivors(keys)


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_change_of_passphrase_leaves_the_old_or_the_new_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    opened_by: set[bytes] = set()
    for _ in break_each_step(monkeypatch, way, store.fresh, lambda keys: keys.change_passphrase(b"new", CHEAP)):
        works = []
        for passphrase in (PASSPHRASE, b"new"):
            try:
                store.assert_survivors(store.open(passphrase))
            except Denied:
                continue
            works.append(passphrase)
        assert len(works) == 1
        opened_by.update(works)
        keys = store.open(works[0])
        assert keys.destroy_due(NOW) == ["doomed"]
        assert len(store.generations()) == 1
    assert opened_by == {PASSPHRASE, b"new"}


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_export_lists_no_custodian_whose_file_does_not_work(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    file = tmp_path / "second"

    def prepare() -> KeyDirectory:
        file.unlink(missing_ok=True)
        return store.fresh()

    for _ in break_each_step(monkeypatch, way, prepare, lambda keys: keys.export_recovery(file, "Second")):
        keys = store.open()
        store.assert_survivors(keys)
        if "Second" in keys.custodians:
            store.assert_survivors(
                KeyDirectory.open_with_recovery(store.path, file, b"new", clock=lambda: 0.0, cost=CHEAP)
            )


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_first_start_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    path = tmp_path / "keys"
    for step in count():
        shutil.rmtree(path, ignore_errors=True)
        breaking = BreakingOs(step, way)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "os", breaking)
            with suppress(Killed, KeyUnavailable):
                KeyDirectory.create(path, PASSPHRASE, clock=lambda: 0.0, cost=CHEAP)
        if not breaking.broke:
            break
        if not (path / "manifest").exists():
            KeyDirectory.create(path, PASSPHRASE, clock=lambda: 0.0, cost=CHEAP)
        with KeyDirectory.open(path, PASSPHRASE, clock=lambda: 0.0) as keys:
            keys.create_key("a")
            keys.schedule_destroy("a", NOW)
            assert keys.destroy_due(NOW) == ["a"]
        assert len(list(path.glob("generation-*"))) == 1


def test_nothing_is_named_before_it_is_synced_nor_removed_before_the_new_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, watching = store.fresh(), BreakingOs()
    with monkeypatch.context() as patch:
        patch.setattr(disk, "os", watching)
        assert keys.destroy_due(NOW) == ["doomed"]
    trace, top, manifest = watching.trace, str(store.path), str(store.path / "manifest")
    (old,) = (p for p in store.original.glob("generation-*"))
    for at, (name, touched) in enumerate(trace):
        if name != "replace":
            continue
        beside = str(Path(touched).parent / f".{Path(touched).name}.tmp")
        assert trace[at - 1] == ("fsync", beside)
        if touched == manifest:
            assert trace[at + 1] == ("fsync", top)
    commits = [at for at, step in enumerate(trace) if step == ("replace", manifest)]
    (new,) = store.generations()
    last_new = max(at for at, (name, touched) in enumerate(trace) if name == "replace" and new in touched)
    assert trace[last_new + 1] == ("fsync", str(store.path / new))
    removals = [at for at, (name, _) in enumerate(trace) if name in ("unlink", "rmdir")]
    assert all(old.name in trace[at][1] for at in removals)
    # 0: the new generation is announced; 1: it is live; 2: the old one is gone; 3: the tombstones
    assert len(commits) == 4
    assert commits[0] < last_new < commits[1] < min(removals)
    assert max(removals) < commits[2] < commits[3]
    assert trace[max(removals) + 1] == ("fsync", top)
