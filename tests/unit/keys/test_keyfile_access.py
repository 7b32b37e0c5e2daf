"""Who gets into a key directory and who is kept out: passphrases, recovery files, processes, memory."""

from __future__ import annotations

import copy
import io
import resource
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.keydirectory import CHEAP, PASSPHRASE, SECRET, Clock, destroy, generation, reopen
from tests.unit.keys.provider_contract import run_in_child
from vault.core.errors import Denied, KeyUnavailable, UsageError
from vault.keys import memory
from vault.keys.keyfile import KeyDirectory
from vault.keys.provider import KeyState


def test_a_wrong_passphrase_is_denied(keys: KeyDirectory, path: Path) -> None:
    with pytest.raises(Denied):
        reopen(path, b"wrong horse")


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
    (tmp_path / "recovery").chmod(0o644)  # a stick's file system may know no modes
    for passphrase in (b"second", b"third"):
        opened = KeyDirectory.open_with_recovery(path, tmp_path / "recovery", passphrase, clock=Clock(), cost=CHEAP)
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


def test_a_revoked_or_foreign_recovery_file_opens_nothing(keys: KeyDirectory, path: Path, tmp_path: Path) -> None:
    file, foreign = io.BytesIO(), io.BytesIO()
    keys.export_recovery(file, "Custodian")
    with KeyDirectory.create(tmp_path / "other", PASSPHRASE, clock=Clock(), cost=CHEAP) as other:
        other.export_recovery(foreign, "Custodian")
    keys.revoke_recovery("Custodian")
    assert keys.custodians == ()
    with pytest.raises(UsageError):
        keys.revoke_recovery("Custodian")
    for content, error in ((file, KeyUnavailable), (foreign, UsageError)):
        content.seek(0)
        with pytest.raises(error):
            KeyDirectory.open_with_recovery(path, content, b"new", clock=Clock(), cost=CHEAP)


def test_a_planted_recovery_slot_is_not_given_the_next_root(keys: KeyDirectory, path: Path, tmp_path: Path) -> None:
    planted = io.BytesIO()
    with KeyDirectory.create(tmp_path / "mine", PASSPHRASE, clock=Clock(), cost=CHEAP) as mine:
        mine.export_recovery(planted, "Intruder")
    (slot,) = generation(tmp_path / "mine").glob("recovery-*.slot")
    shutil.copy(slot, generation(path))
    keys.create_key("a")
    destroy(keys, "a")
    assert list(generation(path).glob("recovery-*.slot")) == []


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
    def off() -> bool:
        memory.forbid_core_dumps()
        return resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)

    assert run_in_child(off)
