"""The key directory: the contract, and what is particular to files."""

from __future__ import annotations

import copy
import io
import os
import shutil
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.keys.provider_contract import ProviderContract, Subject, run_in_child
from vault.core.errors import Denied, KeyGone, KeyUnavailable, Modified, UsageError
from vault.keys import disk, memory
from vault.keys.keyfile import KeyDirectory
from vault.keys.provider import KeyState
from vault.keys.slots import Argon2Cost

CHEAP = Argon2Cost(memory_kib=8, passes=1, lanes=1)
PASSPHRASE = b"correct horse"
NOW = datetime(2029, 2, 1, tzinfo=UTC)
SECRET = bytes(range(32))


class Clock:
    """Seconds that move when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keys(path: Path, clock: Clock) -> KeyDirectory:
    return KeyDirectory.create(path, PASSPHRASE, clock=clock, cost=CHEAP)


def reopen(path: Path, passphrase: bytes = PASSPHRASE) -> KeyDirectory:
    return KeyDirectory.open(path, passphrase, clock=Clock())


def generation(path: Path) -> Path:
    (found,) = path.glob("generation-*")
    return found


def destroy(keys: KeyDirectory, ref: str) -> None:
    keys.schedule_destroy(ref, NOW)
    assert keys.destroy_due(NOW) == [ref]


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


class TestKeyDirectory(ProviderContract):
    @pytest.fixture
    def subject(self, keys: KeyDirectory, path: Path) -> Subject:
        return Subject(keys, lambda: reopen(path), keys.disable, keys.enable)


def test_directories_are_0700_and_files_0600(keys: KeyDirectory, path: Path) -> None:
    keys.create_key("a")
    keys.export_recovery(io.BytesIO(), "Custodian")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in path.rglob("*") if p.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(p.stat().st_mode) for p in (path, generation(path))} == {0o700}


@pytest.mark.parametrize("name", ["manifest", "generation-*/passphrase.slot", "generation-*/a.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_open_to_others_is_refused_with_the_repair(
    keys: KeyDirectory, path: Path, name: str, mode: int
) -> None:
    keys.create_key("a")
    (file,) = path.glob(name)
    file.chmod(mode)
    with pytest.raises(KeyUnavailable, match=f"chmod 600 .*{file.name}"):
        reopen(path).wrap("a", SECRET, b"c")
    file.chmod(0o600)
    reopen(path).wrap("a", SECRET, b"c")


def test_a_directory_open_to_others_is_refused_with_the_repair(keys: KeyDirectory, path: Path) -> None:
    path.chmod(0o750)
    with pytest.raises(KeyUnavailable, match="chmod 700"):
        reopen(path)


def test_a_link_in_a_files_place_is_not_followed(keys: KeyDirectory, path: Path, tmp_path: Path) -> None:
    keys.create_key("a")
    file = generation(path) / "a.key"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyUnavailable):
        keys.wrap("a", SECRET, b"c")


def test_a_wrong_passphrase_is_denied(keys: KeyDirectory, path: Path) -> None:
    with pytest.raises(Denied):
        reopen(path, b"wrong horse")


def test_what_is_not_there_or_not_finished_is_unavailable(path: Path) -> None:
    with pytest.raises(KeyUnavailable):
        reopen(path)
    path.mkdir(mode=0o700)
    with pytest.raises(KeyUnavailable):
        reopen(path)


def test_creating_over_a_store_or_over_anything_else_is_refused(keys: KeyDirectory, path: Path) -> None:
    keys.create_key("a")
    with pytest.raises(UsageError):
        KeyDirectory.create(path, PASSPHRASE, clock=Clock(), cost=CHEAP)
    manifest = (path / "manifest").read_bytes()
    (path / "manifest").unlink()
    with pytest.raises(UsageError, match="restore the manifest"):
        KeyDirectory.create(path, PASSPHRASE, clock=Clock(), cost=CHEAP)
    disk.write_file(path / "manifest", manifest)
    reopen(path).wrap("a", SECRET, b"c")


def test_a_key_file_removed_by_hand_is_never_called_destroyed(keys: KeyDirectory, path: Path) -> None:
    keys.create_key("a")
    (generation(path) / "a.key").unlink()
    assert keys.describe("a").state is KeyState.UNKNOWN
    for use in (lambda: keys.wrap("a", SECRET, b"c"), lambda: keys.create_key("a")):
        with pytest.raises(KeyGone, match="missing"):
            use()


@pytest.mark.parametrize("fault", ["missing", "edited"])
def test_no_key_is_destroyed_while_a_survivor_cannot_be_carried_over(
    keys: KeyDirectory, path: Path, fault: str
) -> None:
    for ref in ("doomed", "survivor"):
        keys.create_key(ref)
    wrapped = keys.wrap("survivor", SECRET, b"c")
    file = generation(path) / "survivor.key"
    saved = file.read_bytes()
    file.unlink() if fault == "missing" else flip(file, -1)
    keys.schedule_destroy("doomed", NOW)
    with pytest.raises((KeyGone, Modified)):
        keys.destroy_due(NOW)
    assert keys.describe("doomed").state is KeyState.PENDING_DESTROY
    disk.write_file(file, saved)
    assert keys.destroy_due(NOW) == ["doomed"]
    assert keys.unwrap("survivor", wrapped, b"c") == SECRET


def test_a_lost_key_can_be_destroyed_properly(keys: KeyDirectory, path: Path) -> None:
    keys.create_key("a")
    lost = generation(path) / "a.key"
    copy_of_it = lost.read_bytes()
    lost.unlink()
    destroy(keys, "a")
    disk.write_file(generation(path) / "a.key", copy_of_it)
    assert reopen(path).describe("a").state is KeyState.DESTROYED
    with pytest.raises(KeyGone):
        reopen(path).wrap("a", SECRET, b"c")


def test_an_unknown_file_in_the_directory_stops_destruction(keys: KeyDirectory, path: Path) -> None:
    keys.create_key("a")
    shutil.copytree(generation(path), path / "generation-of-yesterday")
    keys.schedule_destroy("a", NOW)
    with pytest.raises(KeyUnavailable, match="generation-of-yesterday"):
        keys.destroy_due(NOW)
    assert keys.describe("a").state is KeyState.PENDING_DESTROY
    shutil.rmtree(path / "generation-of-yesterday")
    assert keys.destroy_due(NOW) == ["a"]


def test_key_files_cannot_be_swapped(keys: KeyDirectory, path: Path) -> None:
    for ref in ("a", "b"):
        keys.create_key(ref)
    one, other = (generation(path) / f"{ref}.key" for ref in ("a", "b"))
    raw = one.read_bytes()
    disk.write_file(one, other.read_bytes())
    disk.write_file(other, raw)
    for ref in ("a", "b"):
        with pytest.raises(Modified):
            keys.wrap(ref, SECRET, b"c")


def test_every_byte_of_a_key_file_and_of_the_manifest_counts(keys: KeyDirectory, path: Path) -> None:
    keys.create_key("a")
    for file in (generation(path) / "a.key", path / "manifest"):
        for at in range(file.stat().st_size):
            flip(file, at)
            with pytest.raises((Modified, KeyUnavailable)):  # the manifest's generation id names a directory
                reopen(path).wrap("a", SECRET, b"c")
            flip(file, at)
    reopen(path).wrap("a", SECRET, b"c")


def test_destruction_makes_a_new_root_and_leaves_nothing_of_the_old(keys: KeyDirectory, path: Path) -> None:
    for ref in ("doomed", "survivor"):
        keys.create_key(ref)
    wrapped = keys.wrap("survivor", SECRET, b"c")
    old = generation(path)
    before = {file.name: file.read_bytes() for file in old.iterdir()}
    destroy(keys, "doomed")
    assert not old.exists()
    assert sorted(p.name for p in path.iterdir()) == sorted(["lock", "manifest", generation(path).name])
    # Single files from the old generation are worthless in the new one.
    disk.write_file(generation(path) / "doomed.key", before["doomed.key"])
    with pytest.raises(KeyGone):
        reopen(path).unwrap("doomed", wrapped, b"c")
    assert reopen(path).unwrap("survivor", wrapped, b"c") == SECRET
    disk.write_file(generation(path) / "survivor.key", before["survivor.key"])
    with pytest.raises(Modified):
        reopen(path).unwrap("survivor", wrapped, b"c")
    disk.write_file(generation(path) / "passphrase.slot", before["passphrase.slot"])
    with pytest.raises(Modified):
        reopen(path)


def test_an_old_copy_of_everything_does_revive_a_key_and_an_open_store_notices(
    keys: KeyDirectory, path: Path, tmp_path: Path
) -> None:
    keys.create_key("a")
    wrapped = keys.wrap("a", SECRET, b"c")
    shutil.copytree(path, tmp_path / "copy")
    destroy(keys, "a")
    assert reopen(tmp_path / "copy").unwrap("a", wrapped, b"c") == SECRET  # why copies count as outstanding
    shutil.rmtree(path)
    (tmp_path / "copy").rename(path)
    with pytest.raises(Modified, match="back in time"):
        keys.describe("a")


def test_opened_keys_outlast_an_outage_until_their_time_limit(
    keys: KeyDirectory, path: Path, clock: Clock, tmp_path: Path
) -> None:
    keys.create_key("a")
    wrapped = keys.wrap("a", SECRET, b"c")
    path.rename(tmp_path / "unplugged")
    clock.now = 299.9
    assert keys.unwrap("a", wrapped, b"c") == SECRET
    with pytest.raises(KeyUnavailable):
        keys.describe("a")
    clock.now = 300.0
    with pytest.raises(KeyUnavailable):
        keys.unwrap("a", wrapped, b"c")
    (tmp_path / "unplugged").rename(path)
    assert keys.unwrap("a", wrapped, b"c") == SECRET


def test_a_missing_manifest_does_not_lift_the_time_limit(
    keys: KeyDirectory, path: Path, clock: Clock
) -> None:
    keys.create_key("a")
    wrapped = keys.wrap("a", SECRET, b"c")
    (path / "manifest").unlink()
    clock.now = 300.0
    with pytest.raises(KeyUnavailable):
        keys.unwrap("a", wrapped, b"c")


def test_changing_the_passphrase_shuts_out_the_old_one(keys: KeyDirectory, path: Path) -> None:
    keys.create_key("a")
    wrapped = keys.wrap("a", SECRET, b"c")
    other = reopen(path)
    keys.change_passphrase(b"new horse", CHEAP)
    assert keys.unwrap("a", wrapped, b"c") == reopen(path, b"new horse").unwrap("a", wrapped, b"c") == SECRET
    with pytest.raises(Denied):
        reopen(path)
    with pytest.raises(KeyUnavailable, match="start it again"):
        other.unwrap("a", wrapped, b"c")


def test_a_recovery_file_opens_the_store_and_sets_a_new_passphrase(
    keys: KeyDirectory, path: Path, tmp_path: Path
) -> None:
    keys.create_key("a")
    wrapped = keys.wrap("a", SECRET, b"c")
    keys.export_recovery(tmp_path / "recovery", "Custodian 托管人")
    assert keys.custodians == ("Custodian 托管人",)
    assert stat.S_IMODE((tmp_path / "recovery").stat().st_mode) == 0o600
    keys.create_key("b")
    destroy(keys, "b")  # the slot follows to the new root without the file
    for passphrase in (b"second", b"third"):
        opened = KeyDirectory.open_with_recovery(
            path, tmp_path / "recovery", passphrase, clock=Clock(), cost=CHEAP
        )
        assert opened.unwrap("a", wrapped, b"c") == SECRET
        assert reopen(path, passphrase).unwrap("a", wrapped, b"c") == SECRET
    for old in (PASSPHRASE, b"second"):
        with pytest.raises(Denied):
            reopen(path, old)


def test_a_recovery_file_is_never_overwritten_and_needs_a_printable_custodian(
    keys: KeyDirectory, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_bytes(b"precious")
    with pytest.raises(KeyUnavailable):
        keys.export_recovery(tmp_path / "taken", "Custodian")
    assert (tmp_path / "taken").read_bytes() == b"precious"
    for name in ("", " x", "a\nsecret 00", "x" * 201):
        with pytest.raises(UsageError):
            keys.export_recovery(io.BytesIO(), name)
    assert keys.custodians == ()


def test_a_revoked_or_foreign_recovery_file_opens_nothing(
    keys: KeyDirectory, path: Path, tmp_path: Path
) -> None:
    file, foreign = io.BytesIO(), io.BytesIO()
    keys.export_recovery(file, "Custodian")
    with KeyDirectory.create(tmp_path / "other", PASSPHRASE, clock=Clock(), cost=CHEAP) as other:
        other.export_recovery(foreign, "Custodian")
    keys.revoke_recovery("Custodian")
    assert keys.custodians == ()
    with pytest.raises(UsageError):
        keys.revoke_recovery("Custodian")
    for content in (file.getvalue(), foreign.getvalue()):
        with pytest.raises(KeyUnavailable):
            KeyDirectory.open_with_recovery(path, io.BytesIO(content), b"new", clock=Clock(), cost=CHEAP)


def test_a_planted_recovery_slot_is_not_given_the_next_root(
    keys: KeyDirectory, path: Path, tmp_path: Path
) -> None:
    planted = io.BytesIO()
    with KeyDirectory.create(tmp_path / "mine", PASSPHRASE, clock=Clock(), cost=CHEAP) as mine:
        mine.export_recovery(planted, "Intruder")
    (slot,) = generation(tmp_path / "mine").glob("recovery-*.slot")
    shutil.copy(slot, generation(path))
    keys.create_key("a")
    destroy(keys, "a")
    assert list(generation(path).glob("recovery-*.slot")) == []
    with pytest.raises(KeyUnavailable):
        KeyDirectory.open_with_recovery(
            path, io.BytesIO(planted.getvalue()), b"new", clock=Clock(), cost=CHEAP
        )


def test_closing_wipes_what_it_can_and_ends_every_use(keys: KeyDirectory) -> None:
    keys.create_key("a")
    wrapped = keys.wrap("a", SECRET, b"c")
    root = keys._store.fresh().root
    slot_key = keys._store._slot_key.key
    keys.close()
    assert root == slot_key == bytearray(32)
    uses: list[Callable[[], object]] = [
        lambda: keys.unwrap("a", wrapped, b"c"),
        lambda: keys.describe("a"),
        lambda: keys.create_key("b"),
        lambda: keys.custodians,
    ]
    for use in uses:
        with pytest.raises(KeyUnavailable, match="closed"):
            use()


def test_nothing_that_holds_keys_shows_or_copies_them(keys: KeyDirectory) -> None:
    keys.create_key("a")
    keys.wrap("a", SECRET, b"c")
    view, slot_key = keys._store.fresh(), keys._store._slot_key
    for holder in (keys, keys._store, view, slot_key):
        with pytest.raises(TypeError):
            copy.deepcopy(holder)
        shown = f"{holder!r}{holder}"
        assert repr(view.root) not in shown
        assert repr(slot_key.key) not in shown


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_processes_write_without_losing_a_key(keys: KeyDirectory, path: Path) -> None:
    def make(letter: str) -> bool:
        for number in range(10):
            keys.create_key(f"{letter}.{number}")
        return True

    child = threading.Thread(target=lambda: made.append(run_in_child(lambda: make("child"))))
    made: list[bool] = []
    child.start()
    mine = reopen(path)
    for number in range(10):
        mine.create_key(f"parent.{number}")
    child.join()
    assert made == [True]
    for letter in ("child", "parent"):
        for number in range(10):
            assert keys.describe(f"{letter}.{number}").state is KeyState.ENABLED


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_worker_forked_while_another_thread_writes_is_not_stuck(keys: KeyDirectory) -> None:
    keys.create_key("a")
    wrapped = keys.wrap("a", SECRET, b"c")
    keys.create_key("b")  # a commit, so the child has to open the key itself
    holding, done = threading.Event(), threading.Event()

    def write() -> None:
        with keys._store.writing():
            holding.set()
            done.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    holding.wait(30)
    try:
        assert run_in_child(lambda: keys.unwrap("a", wrapped, b"c") == SECRET)
    finally:
        done.set()
        writer.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_core_dumps_are_off_once_forbidden() -> None:
    import resource

    def off() -> bool:
        memory.forbid_core_dumps()
        return resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)

    assert run_in_child(off)


def test_a_full_or_failing_disk_changes_nothing(
    keys: KeyDirectory, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.create_key("a")
    wrapped = keys.wrap("a", SECRET, b"c")

    def full(descriptor: int, data: object) -> int:
        raise OSError(28, os.strerror(28))

    keys.schedule_destroy("a", NOW)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for use in (
            lambda: keys.create_key("b"),
            lambda: keys.destroy_due(NOW),
            lambda: keys.cancel_destroy("a"),
        ):
            with pytest.raises(KeyUnavailable, match="No space"):
                use()
    assert keys.describe("b").state is KeyState.UNKNOWN
    keys.cancel_destroy("a")
    assert keys.unwrap("a", wrapped, b"c") == SECRET
