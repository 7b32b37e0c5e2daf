"""The file of an import: the one that was approved, from its first byte to its last, however often it is read."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from retention import imports
from tests.support.acting import happened, hire, last
from tests.support.decisions import spelled
from tests.support.imports import approved, archive, kept_since, old, run_whole
from tests.support.vault import Installation
from vault import intake, lines
from vault.context import Actor, Vault
from vault.core.errors import Denied, UnknownOutcome, UsageError
from vault.core.flags import Flag
from vault.settling import Settler, Status

FLOOR = timedelta(days=3 * 365)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and batches of a hundred lines."""
    monkeypatch.setattr(imports, "_BLOCK", 100)
    monkeypatch.setattr(intake, "BATCH", 100)


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


@pytest.fixture
def anna(vault: Vault) -> Actor:
    return hire(vault, "anna", "officer")


def test_another_file_does_not_come_in(
    installation: Installation, vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path
) -> None:
    size, file = installation.size("cn"), archive(tmp_path, old(1001))
    name = approved(vault, olaf, anna, file)
    for other in (spelled(old(1002)) + b"\n", file.read_bytes() + b"\n", file.read_bytes()[:-1]):
        file.write_bytes(other)
        with pytest.raises(Denied, match="not the file that was approved"):
            run_whole(vault, name, file)
    assert installation.size("cn") == size


def test_an_interrupted_run_is_completed_by_running_it_again(
    installation: Installation,
    vault: Vault,
    olaf: Actor,
    anna: Actor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small: None,
) -> None:
    size, file = installation.size("cn"), archive(tmp_path, *(old(number) for number in range(1000, 1250)))
    name = approved(vault, olaf, anna, file)
    link, calls = Settler.link, []

    def broken(self: Settler, *arguments: Any) -> Any:
        calls.append(self)
        if len(calls) == 2:
            raise UnknownOutcome("the database went away")
        return link(self, *arguments)

    monkeypatch.setattr(Settler, "link", broken)
    with pytest.raises(UnknownOutcome):
        run_whole(vault, name, file)
    assert installation.size("cn") == size + 100
    assert not happened(vault, "import.done")
    going, results = run_whole(vault, name, file)
    assert [sum(one.status is status for one in results) for status in (Status.DUPLICATE, Status.ACCEPTED)] == [
        100,
        150,
    ]
    assert last(vault, "import.done").facts["count"] == 250 == going.kept
    assert (going.first, going.last) == (size, size + 249)
    assert all(flags & Flag.IMPORTED for _, flags, _ in kept_since(installation, size).values())


@pytest.mark.parametrize(
    ("change", "come_in"),
    [
        (lambda raw: raw.replace(b"dec-1230", b"dec-9999"), 200),
        (lambda raw: raw.replace(b"dec-1001", b"dec-9999"), 0),
        (lambda raw: raw[: raw.index(b"dec-1230")], 200),
        (lambda raw: raw + spelled(old(9000)) + b"\n", 200),
        (lambda raw: raw + b"\n", 200),
    ],
    ids=["late", "early", "cut", "longer", "blank"],
)
def test_a_file_that_changes_while_it_is_read_brings_nothing_in_that_was_not_approved(
    installation: Installation,
    vault: Vault,
    olaf: Actor,
    anna: Actor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small: None,
    change: Any,
    come_in: int,
) -> None:
    """Hashed first, and swapped before it is read again."""
    size, file = installation.size("cn"), archive(tmp_path, *(old(number) for number in range(1000, 1250)))
    name = approved(vault, olaf, anna, file)
    good, follow = file.read_bytes(), imports._Marks.follow

    def swapped(self: imports._Marks, path: Path) -> None:
        follow(self, path)
        path.write_bytes(change(good))

    monkeypatch.setattr(imports._Marks, "follow", swapped)
    with pytest.raises(UsageError, match="changed while it was read"):
        run_whole(vault, name, file)
    kept = kept_since(installation, size)
    assert len(kept) == come_in
    assert not kept.keys() & {"dec-9999", "dec-9000"}
    assert not happened(vault, "import.done")
    monkeypatch.setattr(imports._Marks, "follow", follow)
    file.write_bytes(good)
    assert run_whole(vault, name, file)[0].kept == 250


@pytest.mark.parametrize("lines_", [999, 1000, 1001])
@pytest.mark.parametrize("end", [b"", b"\n\n"], ids=["", "blanks"])
def test_a_file_of_any_length_is_followed_to_its_end(tmp_path: Path, lines_: int, end: bytes) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(b"{}\n" * lines_ + end)
    marks = imports._Marks()
    marks.follow(file)
    assert marks.whole == hashlib.sha256(file.read_bytes()).digest()
    assert len(marks.after) == -(-lines_ // 1000)
    assert sum(1 for _ in imports._unchanged(file, marks)) == lines_
    file.write_bytes(file.read_bytes() + b"{}\n")
    with pytest.raises(UsageError):
        list(imports._unchanged(file, marks))


def test_the_taste_of_a_stream_is_every_byte_of_it(tmp_path: Path) -> None:
    plain = b"".join(b'{"a": %d}\n\n' % number for number in range(5000)) + b"x" * (1 << 20) + b"yz\r\n \nend"
    file, hashed = tmp_path / "file.gz", hashlib.sha256()
    file.write_bytes(gzip.compress(plain))
    with lines.opened(file) as stream:
        assert sum(1 for _ in lines.numbered(stream, taste=hashed.update)) == 5002
    assert hashed.digest() == hashlib.sha256(plain).digest()
