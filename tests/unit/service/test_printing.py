"""Where lines go: files are replaced, whatever is no file is written into."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.printing import LinesOut, refused_path
from vault.core.errors import UsageError


def test_a_file_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "refused.jsonl"
    path.write_text("old\n")
    path.chmod(0o644)
    with LinesOut(path, None) as out:
        out.raw("1")
    assert path.read_text() == "1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_line_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "refused.jsonl"
    path.write_text("old\n")
    with LinesOut(path, None) as out:
        assert not out.written
    assert not path.exists()


def test_a_pipe_is_written_into_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    path.chmod(0o666)
    before, read = path.stat(), []
    reader = threading.Thread(target=lambda: read.append(path.read_text()), daemon=True)
    reader.start()
    with LinesOut(path, None) as out:
        out.raw("1")
        out.raw("2")
    reader.join(10)
    after = path.stat()
    assert read == ["1\n2\n"]
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_a_pipe_that_nothing_is_written_into_stays(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with LinesOut(path, None):
        pass
    assert path.is_fifo()


@pytest.mark.parametrize("name", ["null", "full"])
def test_a_link_to_a_device_stays(tmp_path: Path, name: str) -> None:
    link = tmp_path / name
    link.symlink_to(f"/dev/{name}")  # the node itself is not risked here
    device = os.stat(f"/dev/{name}")
    with LinesOut(link, None) as out:
        if name == "null":
            out.raw("1")
    after = os.stat(f"/dev/{name}")
    assert link.is_symlink()
    assert (after.st_ino, after.st_mode, after.st_rdev) == (device.st_ino, device.st_mode, device.st_rdev)


def test_a_standard_stream_that_is_a_file_goes_on(tmp_path: Path) -> None:
    log, link = tmp_path / "log", tmp_path / "stderr"
    link.symlink_to("/proc/self/fd/2")
    program = (
        "import sys; from pathlib import Path; from service.printing import LinesOut\n"
        "print('before', file=sys.stderr, flush=True)\n"
        "with LinesOut(Path(sys.argv[1]), None) as out: out.raw('1')\n"
        "print('after', file=sys.stderr, flush=True)\n"
    )
    with log.open("w") as stream:
        subprocess.run([sys.executable, "-c", program, str(link)], check=True, stderr=stream, timeout=60)
    assert log.read_text() == "before\n1\nafter\n"
    assert link.is_symlink()


def test_a_directory_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"), LinesOut(tmp_path, None):
        pass


def test_outputs_are_different_files_or_devices(tmp_path: Path) -> None:
    null, file = Path("/dev/null"), tmp_path / "a.jsonl"
    assert refused_path(str(file), null, null) == null
    with pytest.raises(UsageError, match="different files"):
        refused_path(str(file), file, null)
