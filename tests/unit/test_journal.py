"""The journal of moved keys: what was synced comes back, a torn end does not matter, and nothing else passes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from uuid import UUID

import pytest

from vault import journal
from vault.core.errors import Modified, Unavailable
from vault.db.moving import Place
from vault.journal import Line
from vault.keys.ring import EpochRow, GroupRow

LEDGER = UUID(int=7)
GROUP = GroupRow(LEDGER, "held.0", f"group.{LEDGER}.held.0", b"i" * 61)
EPOCH = EpochRow(LEDGER, 5, "held.0", f"group.{LEDGER}.held.0", "w", "2026-01-01", b"e" * 61)


def place(seq: int) -> Place:
    return Place(seq, 5, bytes([seq]) * 60, -seq, None, 2**62)


def write(root: Path, *seqs: int, ledger: UUID = LEDGER) -> Path:
    with journal.held(root, ledger) as log:
        for seq in seqs:
            log.append([GROUP], [EPOCH], [place(seq)])
    return sorted((root / str(ledger)).glob("*.journal"))[-1]


def read(root: Path, ledger: UUID = LEDGER) -> list[Line]:
    with journal.held(root, ledger) as log:
        return list(log.read())


def test_comes_back(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    write(tmp_path, 3)
    assert read(tmp_path) == [GROUP, EPOCH, place(1), place(2), GROUP, EPOCH, place(3)]
    for path in tmp_path.rglob("*.journal"):
        assert path.stat().st_mode & 0o077 == 0
    assert tmp_path.joinpath(str(LEDGER)).stat().st_mode & 0o077 == 0


def test_nothing_moved_leaves_no_file(tmp_path: Path) -> None:
    with journal.held(tmp_path / "rewraps", LEDGER) as log:
        assert list(log.read()) == []
    assert not list(tmp_path.rglob("*.journal"))


def test_one_at_a_time(tmp_path: Path) -> None:
    with (
        journal.held(tmp_path, LEDGER),
        pytest.raises(Unavailable, match="somebody else"),
        journal.held(tmp_path, LEDGER),
    ):
        pass
    assert read(tmp_path) == []


def test_a_torn_end_is_passed_over(tmp_path: Path) -> None:
    """A run that was killed never says of its last lines that they are on the disk."""
    path = write(tmp_path, 1, 2)
    whole = path.read_bytes()
    last = whole.rindex(b"s ")
    batch = whole.rindex(b"\nr ", 0, last) + 1
    for end in range(batch, last):
        path.write_bytes(whole[:end])
        assert read(tmp_path)[-1] == place(1)
        path.write_bytes(whole[:end] + b"\0" * 20 + whole[end + 20 : last])  # pages reach the disk in any order
        assert read(tmp_path)[-1] == place(1)
    write(tmp_path, 3)
    assert [line.seq for line in read(tmp_path) if isinstance(line, Place)] == [1, 3]


@pytest.mark.parametrize("line", range(6))
def test_an_edit_is_found(tmp_path: Path, line: int) -> None:
    path = write(tmp_path, 1, 2)
    lines = path.read_bytes().splitlines(keepends=True)
    for edited in ([lines[line].replace(b" ", b" 1", 1)], [], [lines[line], lines[line]]):
        path.write_bytes(b"".join([*lines[:line], *edited, *lines[line + 1 :]]))
        with pytest.raises(Modified, match="not what was written"):
            read(tmp_path)


def test_files_are_bound_to_each_other(tmp_path: Path) -> None:
    first, second, third = write(tmp_path, 1), write(tmp_path, 2), write(tmp_path, 3)
    whole = first.read_bytes()
    first.write_bytes(whole[: whole.rindex(b"s ")])  # cut off cleanly
    with pytest.raises(Modified, match="not what was written"):
        read(tmp_path)
    first.write_bytes(whole)
    assert len(read(tmp_path)) == 9
    kept = second.read_bytes()
    second.unlink()
    with pytest.raises(Modified, match="is missing"):
        read(tmp_path)
    with pytest.raises(Modified, match="is missing"):
        write(tmp_path, 4)
    second.write_bytes(third.read_bytes())
    with pytest.raises(Modified, match="not what was written"):
        read(tmp_path)
    second.write_bytes(kept)
    assert len(read(tmp_path)) == 9


def test_files_are_bound_to_their_ledger(tmp_path: Path) -> None:
    other = UUID(int=8)
    path = write(tmp_path, 1, ledger=other)
    write(tmp_path, 1).write_bytes(path.read_bytes())
    with pytest.raises(Modified, match="not what was written"):
        read(tmp_path)


@pytest.mark.parametrize("failing", ["fsync", "write"])
def test_what_is_not_on_the_disk_is_not_written(tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with journal.held(tmp_path, LEDGER) as log:
        log.append([GROUP], [EPOCH], [place(1)])
        with monkeypatch.context() as patch:
            if failing == "fsync":
                patch.setattr(os, "fsync", fail)
            else:
                assert log._file is not None
                log._file.flush()
                os.close(log._file.fileno())
            with pytest.raises(Unavailable, match="nothing was moved"):
                log.append([GROUP], [EPOCH], [place(2)])
        log.append([GROUP], [EPOCH], [place(3)])
    assert [line for line in read(tmp_path) if not isinstance(line, Place)][-2:] == [GROUP, EPOCH]
    assert [line.seq for line in read(tmp_path) if isinstance(line, Place)][-1] == 3


def test_nothing_of_a_key_is_shown(tmp_path: Path) -> None:
    write(tmp_path, 1)
    shown = repr(read(tmp_path)[:2])
    assert "wrapped" not in shown
    assert "index_key" not in shown
