"""Every way in which a store like this is known to have failed in public, tried on this one.

Each test bears the name of the failure. One vault is made for all: two ledgers with anchors in the events, then another
key that signs, then records under it. Whatever is done to it is undone. Neighbours try the same things from more sides.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from reasonvault_client import errors as client_errors
from reasonvault_client import note as client_note
from reasonvault_client import receipts as client_receipts

from retention import destroying, disposal
from service import rotation
from tests.support.acting import happened
from tests.support.board import Board, standing
from tests.support.decisions import decision, decisions, spelled
from tests.support.tampering import Crime, Found, forked, missing, modified
from tests.support.vault import PASSPHRASE, Installation
from vault import anchoring, intake, ledgers, proving, reading, rotating
from vault.checkpoints import Checkpoints
from vault.core import note, receipt
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked, Modified, RefusedInput, Unavailable, VaultError
from vault.core.proof import Proof
from vault.core.signer import Signer
from vault.core.tree import Frontier, leaf_hash
from vault.db.store import HeadRow
from vault.keys.keyfile import KeyDirectory
from vault.verdict import Depth, Verdict

FIRST, SECOND, LAST = 182, 202, 205
"""Sizes of "cn": at its first anchor, at its second, and at the end."""
ANCHORS = (10, 11, 12)
"""Positions of the anchors in the events: the first of "cn" and "sg", and the second of "cn"."""


class Kept(NamedTuple):
    """What a producer took home, from before the key was rotated: its record and receipt."""

    raw: bytes
    receipt: bytes


@pytest.fixture(scope="module")
def site(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The vault of this module; see ``crime``."""
    folder = tmp_path_factory.mktemp("failures")
    with built.copied(folder / "home") as copy:
        with copy.opened() as vault:
            assert anchoring.anchor(vault) == 2
        shutil.copytree(copy.checkpoints("cn"), folder / "older")
        copy.ingest("cn", decisions(19, first=500))
        (folder / "kept.json").write_text(json.dumps(_take(copy, 600)))
        with copy.opened() as vault:
            assert anchoring.anchor(vault, every=0) == 1
        environment = mock.patch.dict("os.environ", copy.environment())
        with environment, rotation.opened(copy.home, PASSPHRASE) as (vault, keeper):
            rotating.begin(vault, keeper)
            rotating.finish(vault, keeper)
        copy.ingest("cn", decisions(3, first=700))
        copy.remember()
        yield copy


def _take(site: Installation, first: int) -> tuple[str, str]:
    raw = spelled(decision(first))
    with site.opened() as vault:
        (batch,) = intake.ingest(vault, ledgers.get(vault, "cn"), [(1, raw)], "psp-1", processes=1)
        ((result, leaf, proof),) = batch.receipts()
        return raw.decode(), receipt.issue(leaf, result.opening, proof).decode()


@pytest.fixture
def kept(site: Installation) -> Kept:
    return Kept(*(text.encode() for text in json.loads((site.home.parent / "kept.json").read_text())))


def published(site: Installation) -> tuple[list[client_note.Verifier], str]:
    """Return the keys of "cn" as a producer's own code reads them, and the ledger's origin."""
    shown = json.loads(site.run("checkpoint", "keys", "cn", "--json").stdout)
    return [client_note.parse_verifier(row["verifier"]) for row in shown], f"reasonvault.local/{site.ledger('cn')}"


def another_tree(first: int, last: int) -> set[Found]:
    """Return what is expected where an anchor tells of another tree of "cn"."""
    return {Found(Verdict.FORKED, "cn", first, last)}


def reseal(site: Installation, crime: Crime, name: str, key: str | None = None) -> None:
    """Sign what the database says now, as the vault would: with the current key, or with the one that is named."""
    leaves, ledger = crime.leaves(name), crime.uuid(name)
    frontier = Frontier()
    frontier.extend(leaf_hash(leaf) for leaf in leaves)
    with site.opened() as vault:
        names = {one.name: one for one in vault.checkpoints.signers()}
        using = vault.checkpoints
        if key is not None:
            thief = (Signer(key, names[key].public, "current"),)
            using = Checkpoints(site.home / "checkpoints", "reasonvault.local", lambda: thief, using._sign)
        (crime.place(name) / "pending").unlink(missing_ok=True)
        using._write(ledger, frontier.size, frontier.root())
        using.announce(ledger, HeadRow(frontier.size, leaf_hash(leaves[-1]), frontier.to_bytes()))


def test_immudb_2063_and_2091_a_value_edited_while_every_hash_stays_right(crime: Crime) -> None:
    """Only hashes were compared there. Here an edited envelope and an edited column are found beside whole leaves."""
    crime.edit("sealed", "cn", 60, "envelope = set_byte(envelope, 40, get_byte(envelope, 40) # 1)")
    crime.edit("sealed", "cn", 61, "model = 'another'")
    crime.clean(Depth.LEAVES)  # which hashes alone
    crime.expect(Depth.ENVELOPES, modified("cn", 60, 61))
    for record, exit_code in (("dec-60", 10), ("dec-61", 10)):
        shown = crime.site.run("show", record, "--ledger", "cn", "--purpose", "a test")
        assert (shown.exit_code, shown.stdout) == (exit_code, "")


@pytest.mark.parametrize("name", ["cn", "events"])
def test_aws_cli_7054_two_consecutive_digests_deleted(crime: Crime, name: str) -> None:
    """Entries, and the anchors that vouch for them."""
    first = 60 if name == "cn" else ANCHORS[0]
    crime.delete(name, first, first + 2)
    crime.expect(Depth.LEAVES, missing(name, first, first + 1))


def test_cve_2023_31438_a_tail_cut_off_and_continued(crime: Crime) -> None:
    """Every hash inside is right, and the length is the signed one."""
    leaves = crime.leaves("cn")
    crime.delete("cn", LAST - 5, LAST)
    crime.set_head("cn", leaves[: LAST - 5])
    for at in range(5):
        crime.append("cn", 60 + at, id_tag=f"{at}" * 21 + "A")
    crime.expect(Depth.LEAVES, forked("cn", LAST, None) | another_tree(FIRST, SECOND - 1))
    crime.refused_append()


@pytest.mark.parametrize("first", [90, 190], ids=["before all anchors", "between two"])
def test_cve_2023_31439_resealed_with_the_current_key(site: Installation, crime: Crime, first: int) -> None:
    """Whoever holds today's key rewrites yesterday, and signs head and checkpoint again. Anchors were signed then."""
    crime.rewrite("cn", first, lambda leaf: leaf.update(keep_until="2026-12-01T00:00:00Z"))
    reseal(site, crime, "cn")
    told = another_tree(0, FIRST - 1) if first < FIRST else another_tree(FIRST, SECOND - 1)
    (report,) = (one for one in crime.expect(Depth.LEAVES, told) if one.name == "cn")
    seqs = ANCHORS[:2] if first < FIRST else ANCHORS[2:]  # those of one transaction stand in the order of uuids
    (fault,) = report.faults
    assert fault.what in {f"event {seq} anchored another tree of these entries" for seq in seqs}


def test_cve_2023_31439_resealed_with_a_key_that_was_retired(site: Installation, crime: Crime) -> None:
    """A thief of the old key: no append, no verification, and no old note of more entries than it had signed."""
    crime.append("cn", 60, id_tag="A" * 22)
    reseal(site, crime, "cn", "checkpoint.1")
    crime.expect(Depth.LEAVES, forked("cn", None))
    crime.refused_append()
    with site.opened() as vault:
        text = (crime.place("cn") / "checkpoint").read_text()
        with pytest.raises(Modified, match=r"checkpoint\.1, which was retired when the ledger was smaller"):
            vault.checkpoints.open(crime.uuid("cn"), text)


def test_cve_2023_31439_a_retirement_taken_back_in_the_home(site: Installation, crime: Crime) -> None:
    """The same thief also writes to the home. The events tell that the key was retired."""
    path = site.home / "vault.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in document.items() if name != "signers"} | {"version": 1}))
    for name in ("cn", "sg", "events"):
        reseal(site, crime, name, "checkpoint.1")
    faults = [fault.what for report in site.audit(Depth.LEAVES) for fault in report.faults]
    told = ["its checkpoint is signed with checkpoint.1 alone, which event 14 retired"] * 3
    assert sorted(faults) == [*told, "vault.json lets checkpoint.1 sign, which event 14 retired"]


def test_a_key_of_ones_own_listed_in_the_home(site: Installation, crime: Crime) -> None:
    path = site.home / "vault.json"
    document = json.loads(path.read_text())
    own = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
    document["signers"].append({"name": "checkpoint.3", "public": own.hex(), "state": "joining"})
    path.write_text(json.dumps(document))
    crime.expect(Depth.LEAVES, forked("events", None))
    document["signers"][-1]["state"] = "current"
    path.write_text(json.dumps(document))
    assert site.run("verify").exit_code == 2  # no rotation makes such a list


def test_systemd_15425_an_unsealed_stretch_passes_as_good(site: Installation, crime: Crime) -> None:
    """Entries behind the last checkpoint: those that this vault announced are counted, those of others are FORKED."""

    def fail(*_: object) -> str:
        raise Unavailable("the disk is full")

    with mock.patch.object(Checkpoints, "publish", fail), pytest.raises(Unavailable):
        site.ingest("cn", decisions(2, first=800))
    (report,) = (one for one in crime.clean(Depth.LEAVES) if one.name == "cn")
    assert (report.unsealed, report.size) == (2, LAST)
    crime.append("cn", 60, id_tag="A" * 22)
    crime.expect(Depth.LEAVES, forked("cn", LAST))
    crime.refused_append()


def test_ct_logs_2021_a_restored_backup_signs_a_second_history_of_the_same_sizes(
    site: Installation, crime: Crime
) -> None:
    """One ledger goes back as a whole, rows and checkpoints, and then grows as before. Only the events know."""
    with site.tampering() as connection:
        connection.execute("DELETE FROM vault.sealed WHERE ledger_id = %s AND seq >= %s", (crime.uuid("cn"), FIRST))
        connection.execute("DELETE FROM vault.entry WHERE ledger_id = %s AND seq >= %s", (crime.uuid("cn"), FIRST))
    crime.set_head("cn", crime.leaves("cn"))
    shutil.rmtree(crime.place("cn"))
    shutil.copytree(site.home.parent / "older", crime.place("cn"))
    reseal(site, crime, "cn")  # a restored backup from after the rotation has that signature
    crime.expect(Depth.LEAVES, forked("cn", FIRST))
    with site.opened() as vault, pytest.raises(Forked, match=f"is behind the one of size {SECOND} that event 12"):
        anchoring.anchor(vault, every=0)
    site.ingest("cn", decisions(SECOND - FIRST, first=900))
    crime.expect(Depth.LEAVES, another_tree(FIRST, SECOND - 1))
    with site.opened() as vault, pytest.raises(Forked, match=f"another tree than the one of size {SECOND}"):
        anchoring.anchor(vault, every=0)
    site.ingest("cn", decisions(1, first=950))
    crime.expect(Depth.LEAVES, another_tree(FIRST, SECOND - 1))


def test_immudb_1723_retention_that_reports_success_and_frees_nothing(
    built: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that says yes and destroys nothing ends no disposal; the one that is done has freed what it says."""
    with built.copied(tmp_path / "home") as site, site.retaining() as vault:
        board = Board.of(vault)
        made = board.intended("sg")
        with monkeypatch.context() as patched:
            patched.setattr(KeyDirectory, "destroy_due", lambda _self, _now: [])
            with pytest.raises(VaultError):
                destroying.run(board.cooled, made.id)
        assert not happened(board.due, "key.destroyed", "disposal.done", "certificate.issued")
        assert disposal.find(board.due, made.id).state == "destroying"
        assert len(standing(site, board.due, "sg")) == 45
        assert destroying.run(board.cooled, made.id).entries == 45
        assert not standing(site, board.due, "sg")
        opened = site.run("show", "dec-3", "--ledger", "sg", "--purpose", "a test")
        assert (opened.exit_code, opened.stdout) == (6, "")


def test_immudb_audit_logger_reads_whose_audit_is_dropped_under_load(
    site: Installation, crime: Crime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of many reads at once is an event before its text is there; where none can be written nothing is read."""
    wanted = [f"dec-{number}" for number in range(1, 41)]
    with site.opened() as vault:
        cn = ledgers.get(vault, "cn")

        def read(record: str) -> int:
            return reading.read(vault, cn, record, "a test").access

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(read, wanted))
        assert len(set(told)) == len(wanted)
        by_seq = {event.seq: event.facts["seq"] for event in ledgers.history(vault, "record.opened")}
        assert [by_seq[seq] for seq in told] == list(range(1, 41))

        def full(*_: object) -> None:
            raise Unavailable("the disk is full")

        monkeypatch.setattr(Checkpoints, "announce", full)
        with ThreadPoolExecutor(8) as pool:
            refused = [pool.submit(read, record) for record in wanted]
        assert all(isinstance(one.exception(), Unavailable) for one in refused)


def test_immudb_py_33_a_proof_format_changed_without_a_version(site: Installation, kept: Kept) -> None:
    """Receipt, proof and checkpoint each begin with what they are; whatever else is refused, never guessed at."""
    document, trusted = json.loads(kept.receipt), published(site)
    client_receipts.check(kept.receipt, kept.raw, *trusted, "psp-1")
    proof = Proof.parse(document["proof"])
    assert proof.to_text() == document["proof"]
    text = document["proof"]
    for other in (
        text.replace("tlog-proof@v1", "tlog-proof@v2", 1),
        text.partition("\n")[2],
        text.replace("index ", "size 9\nindex ", 1),
    ):
        with pytest.raises(RefusedInput):
            Proof.parse(other)
        changed = json.dumps(document | {"proof": other}).encode()
        with pytest.raises(client_errors.BadReceipt):
            client_receipts.check(changed, kept.raw, *trusted, "psp-1")
    for other in (document | {"receipt": "reasonvault-receipt/2"}, document | {"more": "x"}):
        with pytest.raises(client_errors.BadReceipt):
            client_receipts.check(json.dumps(other).encode(), kept.raw, *trusted, "psp-1")
    body = note.split_unverified(proof.checkpoint)[0]
    with pytest.raises(RefusedInput):
        Checkpoint.parse(body + "extension\n")


def test_rekor_1517_a_rotated_key_orphans_old_proofs(site: Installation, crime: Crime, kept: Kept) -> None:
    """A receipt from before the rotation verifies as it was given, with the keys that are published."""
    shown = json.loads(site.run("checkpoint", "keys", "cn", "--json").stdout)
    assert [(row["key"], row["state"], row["size"]) for row in shown] == [
        ("checkpoint.1", "retired", SECOND),
        ("checkpoint.2", "current", None),
    ]
    keys, origin = published(site)
    client_receipts.check(kept.receipt, kept.raw, keys, origin, "psp-1")
    with pytest.raises(client_errors.BadReceipt):  # a list that lost the old key is what orphaned them there
        client_receipts.check(kept.receipt, kept.raw, keys[1:], origin, "psp-1")
    with site.opened() as vault:
        old = Proof.parse(json.loads(kept.receipt)["proof"])
        again = proving.prove(vault, crime.uuid("cn"), [60], old.checkpoint)
        assert again[60][1].checkpoint == old.checkpoint
