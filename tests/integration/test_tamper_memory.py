"""The memory outside the database tampered with: checkpoints, announced heads, the anchor in ``vault.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.decisions import decisions
from tests.support.tampering import Crime, forked
from vault.checkpoints import Checkpoints
from vault.core import note
from vault.core.errors import Unavailable
from vault.verdict import Depth

SIZE = 182  # of "cn"
MALLORY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

Edit = Callable[[bytes], bytes]


def signed_by_mallory(text: bytes) -> bytes:
    """Return the note with its signature replaced by one of another key under the same name."""
    body = note.split_unverified(text)[0]
    origin = body.splitlines()[0].removeprefix("pending ")
    return note.sign(body, origin, MALLORY.sign, MALLORY.public_key().public_bytes_raw()).encode()


EDITS: dict[str, Edit] = {
    "emptied": lambda text: b"",
    "no text": lambda text: b"\xff\xfe" + text,
    "one byte": lambda text: text.replace(b"\n182", b"\n183", 1),
    "cut off": lambda text: text[:-10],
    "a line more": lambda text: text.replace(b"\n\n", b"\nextension\n\n", 1),
    "another key's": signed_by_mallory,
}


@pytest.mark.parametrize("name", ["cn", "events"])
def test_a_deleted_checkpoint(crime: Crime, name: str) -> None:
    (crime.place(name) / "checkpoint").unlink()
    crime.expect(Depth.LEAVES, forked(name, None))
    if name == "cn":
        crime.refused_append()
    else:
        crime.refused_reading()


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_checkpoint(crime: Crime, edit: str) -> None:
    path = crime.place("cn") / "checkpoint"
    path.write_bytes(EDITS[edit](path.read_bytes()))
    crime.expect(Depth.LEAVES, forked("cn", None))
    crime.refused_append()


def test_the_checkpoint_of_another_ledger(crime: Crime) -> None:
    (crime.place("cn") / "checkpoint").write_bytes((crime.place("sg") / "checkpoint").read_bytes())
    crime.expect(Depth.LEAVES, forked("cn", None))
    crime.refused_append()


def test_exchanged_checkpoint_directories(crime: Crime) -> None:
    cn, sg = crime.place("cn"), crime.place("sg")
    aside = cn.with_name("aside")
    for source, target in ((cn, aside), (sg, cn), (aside, sg)):
        source.rename(target)
    crime.expect(Depth.LEAVES, forked("cn", None) | forked("sg", None))


@pytest.mark.parametrize("edit", EDITS)
def test_edited_announcements(crime: Crime, edit: str) -> None:
    path = crime.place("cn") / "pending"
    before = path.read_bytes()
    path.write_bytes(EDITS[edit](before))
    assert path.read_bytes() != before
    crime.expect(Depth.LEAVES, forked("cn", None))
    crime.refused_append()


def test_the_announcements_of_another_ledger(crime: Crime) -> None:
    (crime.place("cn") / "pending").write_bytes((crime.place("sg") / "pending").read_bytes())
    crime.expect(Depth.LEAVES, forked("cn", None))


def test_lost_announcements_matter_only_while_something_is_unsealed(crime: Crime) -> None:
    (crime.place("cn") / "pending").unlink()
    crime.clean(Depth.LEAVES)
    crime.site.ingest("cn", decisions(3, first=500))
    crime.clean(Depth.LEAVES)
    _commit_unsealed(crime)
    (crime.place("cn") / "pending").unlink()
    crime.expect(Depth.LEAVES, forked("cn", SIZE + 3))
    crime.refused_append()


def test_without_announcements_the_checkpoint_still_tells_a_rewritten_history(crime: Crime) -> None:
    (crime.place("cn") / "pending").unlink()
    crime.rewrite("cn", 90, lambda leaf: leaf.update(keep_until="2026-12-01T00:00:00Z"))
    crime.expect(Depth.LEAVES, forked("cn", SIZE, None))
    crime.refused_append()


def test_announcements_forged_for_forged_entries(crime: Crime) -> None:
    """Whoever writes both the database and the home, but cannot sign, extends nothing."""
    crime.append("cn", 60, id_tag="A" * 22)
    (size, last_hash, frontier), *_ = crime.rows(
        "SELECT size, last_hash, frontier FROM vault.head WHERE ledger_id = %s", crime.uuid("cn")
    )
    path = crime.place("cn") / "pending"
    body = note.split_unverified(path.read_bytes())[0]
    forged = f"{body}{size} {bytes(last_hash).hex()} {bytes(frontier).hex()}\n\n"
    path.write_bytes(signed_by_mallory(forged.encode() + path.read_bytes().rpartition(b"\n\n")[2]))
    crime.expect(Depth.LEAVES, forked("cn", None))
    crime.refused_append()


def test_entries_committed_but_not_signed_are_counted_and_then_signed(crime: Crime) -> None:
    _commit_unsealed(crime)
    reports = {report.name: report for report in crime.clean(Depth.OPEN)}
    assert (reports["cn"].unsealed, reports["cn"].size, reports["sg"].unsealed) == (5, SIZE, 0)
    crime.site.ingest("cn", decisions(1, first=700))
    (sealed,) = (report for report in crime.clean(Depth.OPEN) if report.name == "cn")
    assert (sealed.unsealed, sealed.size) == (0, SIZE + 6)


def test_entries_committed_but_not_signed_are_guarded_all_the_same(crime: Crime) -> None:
    """An unsealed stretch must not pass as good, whatever is in it (systemd #15425)."""
    _commit_unsealed(crime)
    crime.rewrite("cn", SIZE + 2, lambda leaf: leaf.update(keep_until="2026-12-01T00:00:00Z"))
    crime.expect(Depth.LEAVES, forked("cn", SIZE))
    crime.refused_append()


def test_a_checkpoint_put_back_by_one_commit_is_made_good(crime: Crime) -> None:
    """The announcement still vouches for the head, so this loses nothing and proves nothing wrong."""
    path = crime.place("cn") / "checkpoint"
    before = path.read_bytes()
    crime.site.ingest("cn", decisions(5, first=500))
    path.write_bytes(before)
    (report,) = (report for report in crime.clean(Depth.LEAVES) if report.name == "cn")
    assert report.unsealed == 5
    crime.site.ingest("cn", decisions(1, first=700))
    (report,) = (report for report in crime.clean(Depth.LEAVES) if report.name == "cn")
    assert (report.unsealed, report.size) == (0, SIZE + 6)


def test_an_older_memory_put_back(crime: Crime) -> None:
    """A home restored from an older backup cannot vouch for what came after: appends stop until somebody looks."""
    before = {path: path.read_bytes() for path in crime.place("cn").iterdir()}
    for first in (500, 600):
        crime.site.ingest("cn", decisions(5, first=first))
    for path, content in before.items():
        path.write_bytes(content)
    crime.expect(Depth.LEAVES, forked("cn", SIZE))
    crime.refused_append()


def test_an_exchanged_anchor(crime: Crime) -> None:
    """With another public key in the home nothing verifies, and the genesis leaves still name the true one."""
    path = crime.site.home / "vault.json"
    _edit_json(path, signer=MALLORY.public_key().public_bytes_raw().hex())
    crime.expect(Depth.LEAVES, {one for name in ("cn", "sg", "events") for one in forked(name, None, 0)})


def test_an_anchor_that_names_another_events_ledger(crime: Crime) -> None:
    _edit_json(crime.site.home / "vault.json", events=str(crime.uuid("sg")))
    assert crime.site.run("verify").exit_code != 0


def _edit_json(path: Path, **changes: str) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _commit_unsealed(crime: Crime) -> None:
    """Commit five records and fail before their checkpoint is signed."""

    def fail(*_: object) -> str:
        raise Unavailable("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "publish", fail)
        with pytest.raises(Unavailable):
            crime.site.ingest("cn", decisions(5, first=600))
