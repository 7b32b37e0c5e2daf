"""What is remembered of the events outside the database saves reading them, and convinces nobody of anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.vault import Installation
from vault import people, register
from vault.core.errors import Forked, Modified
from vault.core.standing import Standing
from vault.db import store


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "_WORTH", 1)


def _outside(installation: Installation) -> Path:
    return installation.checkpoints("events") / "standing"


def _standing(installation: Installation) -> Standing:
    with installation.opened() as vault:
        return vault.register.standing()


def _add(installation: Installation, name: str) -> None:
    with installation.opened() as vault:
        people.add(vault, name, ("auditor",), "A" * 43)


def test_the_next_process_goes_on_from_there(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    _add(installation, "anna")
    first = _standing(installation)
    assert first.people
    read: list[int] = []
    stream = store.stream_leaves

    def counted(*arguments: object) -> object:
        for row in stream(*arguments):  # type: ignore[arg-type]
            read.append(row[0])
            yield row

    monkeypatch.setattr(store, "stream_leaves", counted)
    assert _standing(installation) == first
    assert read == []
    _add(installation, "olaf")
    assert len(_standing(installation).people) == 2
    assert set(read) == {first.size}


@pytest.mark.parametrize("harm", ["edited", "another title", "nonsense", "gone"])
def test_what_we_did_not_sign_is_not_believed(installation: Installation, harm: str) -> None:
    _add(installation, "anna")
    true = _standing(installation)
    path = _outside(installation)
    text = path.read_text()
    if harm == "edited":
        path.write_text(text.replace(text.splitlines()[2][:40], "B" * 40))
    elif harm == "another title":
        path.write_bytes((installation.checkpoints("events") / "checkpoint").read_bytes())
    elif harm == "nonsense":
        path.write_bytes(b"\xff\n")
    else:
        path.unlink()
    assert _standing(installation) == true


def test_one_of_another_history_is_forgotten(installation: Installation, tmp_path: Path) -> None:
    """Signed by us, but not the beginning of this ledger: a home that was restored from the wrong copy."""
    with installation.copied(tmp_path / "other") as other:
        _add(other, "mallory")
        _standing(other)
        theirs = _outside(other).read_bytes()
    _add(installation, "anna")
    true = _standing(installation)
    _outside(installation).write_bytes(theirs)
    assert _standing(installation) == true
    assert len(true.people) == 1


def test_it_does_not_help_a_ledger_that_was_edited(installation: Installation) -> None:
    _add(installation, "anna")
    _standing(installation)
    _add(installation, "olaf")
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.entry SET leaf = (SELECT leaf FROM vault.entry WHERE ledger_id = %(l)s AND seq = 1)"
            " WHERE ledger_id = %(l)s AND seq = (SELECT size - 1 FROM vault.head WHERE ledger_id = %(l)s)",
            {"l": installation.ledger("events")},
        )
    with pytest.raises((Forked, Modified)):  # what stands there now is an event that the standing takes
        _standing(installation)
