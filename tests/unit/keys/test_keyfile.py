"""The key directory: the contract, and what is particular to files."""

from __future__ import annotations

import io
import os
import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.keydirectory import CHEAP, NOW, PASSPHRASE, SECRET, Clock, destroy, generation, reopen
from tests.unit.keys.provider_contract import ProviderContract, SignerContract, Subject
from vault.core.errors import KeyGone, KeyUnavailable, Modified, UsageError
from vault.keys import disk
from vault.keys.keyfile import KeyDirectory
from vault.keys.provider import KeyState
from vault.keys.sealedfile import FileKind, unseal


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


class TestKeyDirectory(ProviderContract, SignerContract):
    @pytest.fixture
    def subject(self, keys: KeyDirectory, path: Path) -> Subject:
        return Subject(keys, lambda: reopen(path), keys.disable, keys.enable)


def test_a_wrapped_secret_has_the_layout_it_documents(path: Path) -> None:
    fixed = KeyDirectory.create(path, PASSPHRASE, clock=Clock(), random=lambda n: b"\5" * n, cost=CHEAP)
    fixed.create_key("group.x")
    associated = b"reasonvault/keyfile/wrap/1\0" + b"\x07group.x" + b"context"
    nonce = b"\5" * 12
    expected = b"\1" + nonce + AESGCM(b"\5" * 32).encrypt(nonce, SECRET, associated)
    assert fixed.wrap("group.x", SECRET, b"context") == expected


def test_directories_are_0700_and_files_0600(keys: KeyDirectory, path: Path) -> None:
    keys.create_key("a")
    keys.export_recovery(io.BytesIO(), "Custodian")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in path.rglob("*") if p.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(p.stat().st_mode) for p in (path, generation(path))} == {0o700}


@pytest.mark.parametrize("name", ["manifest", "generation-*/passphrase.slot", "generation-*/a.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_open_to_others_is_refused_with_the_repair(keys: KeyDirectory, path: Path, name: str, mode: int) -> None:
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


def test_the_old_root_is_wiped_and_opens_nothing_of_the_new_generation(keys: KeyDirectory) -> None:
    for ref in ("doomed", "survivor"):
        keys.create_key(ref)
    before = keys._store.fresh()
    old_root = bytes(before.root)
    destroy(keys, "doomed")
    after = keys._store.fresh()
    raw = (generation(keys._store._layout.path) / "survivor.key").read_bytes()
    place = after.place(FileKind.WRAPPING_KEY, "survivor")
    assert len(unseal(after.root, place, raw)) == 32
    with pytest.raises(Modified):
        unseal(old_root, place, raw)
    assert before.root == bytes(32)


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


def test_a_missing_manifest_does_not_lift_the_time_limit(keys: KeyDirectory, path: Path, clock: Clock) -> None:
    keys.create_key("a")
    wrapped = keys.wrap("a", SECRET, b"c")
    (path / "manifest").unlink()
    clock.now = 300.0
    with pytest.raises(KeyUnavailable):
        keys.unwrap("a", wrapped, b"c")


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
