"""Evidence bundles: a stranger checks them, and finds whatever was done to them."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from reports.bundle.make import Issued
from reports.bundle.scope import Scope
from tests.support import bundles, standalone
from tests.support.bundles import Files, named, packed, resigned, unpacked
from tests.support.decisions import decision
from tests.support.vault import RECORDS, Installation
from vault.context import Vault
from vault.core.note import VerifierKey


class Site(NamedTuple):
    """A vault, open, and bundles of its ledger "cn": all of it in full, and some of it masked."""

    installation: Installation
    vault: Vault
    full: Issued
    masked: Issued


@pytest.fixture(scope="module")
def site(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("bundles")
    with built.copied(folder / "home") as copy, copy.opened() as vault:
        full = bundles.make(vault, folder / "full.zip")
        masked = bundles.make(vault, folder / "masked.zip", Scope("positions", positions=(3, 4, 90)), full=False)
        yield Site(copy, vault, full, masked)


@pytest.fixture
def files(site: Site) -> Files:
    """The files of the full bundle."""
    return unpacked(site.full.path)


def found(files: Files, path: Path, *options: str) -> str:
    """What the verifier says of these files."""
    return standalone.verdict(packed(files, path / "x.zip"), *options)


def test_a_stranger_checks_it_in_an_empty_directory(site: Site, tmp_path: Path) -> None:
    """Nothing of ours can be imported, and the verifier is the one that came along."""
    with zipfile.ZipFile(site.full.path) as archive:
        archive.extractall(tmp_path / "unpacked")
    with standalone.bare_python(tmp_path / "bare") as python:
        code, said = standalone.run([*python, "verify.py"], "--key", site.full.fingerprint, where=tmp_path / "unpacked")
        assert (code, said["verdict"], said["findings"]) == (0, "OK", [])
        assert said["bundle"]["records"]["full"] == RECORDS["cn"]
        packed_ = [*python, str(tmp_path / "unpacked" / "verify.py"), str(site.masked.path)]
        code, said = standalone.run(packed_, where=tmp_path)
        assert (code, said["bundle"]["records"]["masked"]) == (0, 3)
        assert any("cannot be compared" in note for note in said["notes"])
        assert any("compare this" in note for note in said["notes"])


def test_it_holds_exactly_what_was_sent(site: Site, files: Files) -> None:
    for row in bundles.lines(files, named(files, "records.jsonl"))[:20]:
        assert json.loads(row["record"]) == decision(row["seq"])


def test_a_masked_bundle_holds_no_prompt_and_no_opening(site: Site) -> None:
    everything = b"".join(unpacked(site.masked.path).values())
    sent = decision(3)
    for secret in (sent["prompt"], sent["response"], sent["customer_ref"]):
        assert f'"{secret}"'.encode() not in everything
    assert b'"opening"' not in unpacked(site.masked.path)[named(unpacked(site.masked.path), "records.jsonl")]


def test_the_same_files_make_the_same_bytes(site: Site) -> None:
    with zipfile.ZipFile(site.full.path) as archive:
        members = archive.infolist()
    assert len({one.date_time for one in members}) == 1
    assert [one.filename for one in members][-2:] == ["manifest.json", "manifest.note"]
    assert {one.external_attr >> 16 for one in members} == {0o100600}


def _changed(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] if content else b"x"


def test_a_changed_file_is_found_whichever_it_is(site: Site, files: Files, tmp_path: Path) -> None:
    for name in files:
        assert found({**files, name: _changed(files[name])}, tmp_path) == "MODIFIED", name


def test_a_removed_file_is_missed_whichever_it_is(site: Site, files: Files, tmp_path: Path) -> None:
    for name in files:
        without = {other: content for other, content in files.items() if other != name}
        assert found(without, tmp_path) == "MISSING", name


def test_files_that_are_swapped_are_found(site: Site, files: Files, tmp_path: Path) -> None:
    names = list(files)
    for one, two in itertools.pairwise(names):
        assert found({**files, one: files[two], two: files[one]}, tmp_path) in ("MODIFIED", "MISSING"), (one, two)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_files_that_are_there_twice_or_too_many_are_found(site: Site, files: Files, tmp_path: Path) -> None:
    for name in (*files, "another.txt"):
        path = packed(files, tmp_path / "x.zip")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, files.get(name, b"x"))
        assert standalone.verdict(path) == "MODIFIED", name


def test_flipped_bits_are_never_ok(site: Site, files: Files, tmp_path: Path) -> None:
    """Of the members' contents, and of the zip itself: where that is OK, every content is what it was."""
    drawn = random.Random(5)
    names = [name for name in files if files[name]]
    for _ in range(25):
        name = drawn.choice(names)
        content = bytearray(files[name])
        content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
        assert found({**files, name: bytes(content)}, tmp_path) != "OK", name
    raw, path = site.full.path.read_bytes(), tmp_path / "raw.zip"
    for _ in range(25):
        damaged = bytearray(raw)
        damaged[drawn.randrange(len(raw))] ^= 1 << drawn.randrange(8)
        path.write_bytes(damaged)
        if standalone.verdict(path) == "OK":
            assert unpacked(path) == files
    for end in (0, 1, 22, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:end])
        assert standalone.verdict(path) != "OK"


def test_the_auditors_check_does_not_pass_when_a_value_was_edited(site: Site, files: Files, tmp_path: Path) -> None:
    """By a vault that lies, and signs the manifest anew: hashes fit, and what they commit to does not."""
    name = named(files, "records.jsonl")
    rows = bundles.lines(files, name)
    edits: list[dict[str, Any]] = [
        {"record": rows[4]["record"].replace("accepted", "rejected")},
        {"record": rows[4]["record"] + " "},
        {"opening": rows[5]["opening"]},
        {"facets": {**rows[4]["facets"], "money_moved": 1 - rows[4]["facets"]["money_moved"]}},
        {"salt": rows[5]["salt"]},
        {"state": "closed"},
        {"state": "masked"},
        {"state": "erased", "disposal": "d-1"},
    ]
    for edit in edits:
        changed = [*rows[:4], {**rows[4], **edit}, *rows[5:]]
        lying = resigned(site.vault, {**files, name: bundles.spelled(changed)})
        assert found(lying, tmp_path) == ("MISSING" if edit.get("state") == "erased" else "MODIFIED"), edit


def test_a_masked_record_must_agree_with_its_facets(site: Site, tmp_path: Path) -> None:
    files = unpacked(site.masked.path)
    name = named(files, "records.jsonl")
    rows = bundles.lines(files, name)
    forged: list[tuple[tuple[str, ...], Any]] = [
        (("decision", "outcome"), "failed"),
        (("decision",), {}),
        (("decision",), None),
        (("occurred_at",), "2026-01-03T08:00:00Z"),
        (("occurred_at",), None),
        (("confidence", "score"), 0.99),
        (("confidence",), None),
        (("timing", "ai_ms"), 3),
        (("id",), "dec-4,[masked]"),
        (("source", "fidelity"), "redacted"),
    ]
    for path, value in forged:
        changed = copy.deepcopy(rows)
        place = changed[0]["masked"]
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value
        lying = resigned(site.vault, {**files, name: bundles.spelled(changed)})
        assert found(lying, tmp_path) == "MODIFIED", path
    changed = copy.deepcopy(rows)
    changed[0]["masked"] |= {"source": "[masked]", "decision": {**rows[0]["masked"]["decision"], "outcome": "failed"}}
    assert found(resigned(site.vault, {**files, name: bundles.spelled(changed)}), tmp_path) == "MODIFIED"


def test_no_masked_record_takes_the_place_of_a_full_one(site: Site, files: Files, tmp_path: Path) -> None:
    """Nothing commits to masked text: a vault that lies would mask what it wants to change."""
    name = named(files, "records.jsonl")
    rows = bundles.lines(files, name)
    forged = json.loads(rows[4]["record"]) | {"response": "[masked]"}
    forged["decision"] = {**forged["decision"], "executed": {"amount": "1.00", "currency": "CNY"}}
    masked = {one: rows[4][one] for one in ("seq", "facets", "salt")} | {"state": "masked", "masked": forged}
    lying = resigned(site.vault, {**files, name: bundles.spelled([*rows[:4], masked, *rows[5:]])})
    assert found(lying, tmp_path) == "MODIFIED"


def test_a_record_that_was_taken_out_is_missed(site: Site, files: Files, tmp_path: Path) -> None:
    """With and without its leaf; the manifest is made again and signed."""
    name, place = named(files, "records.jsonl"), named(files, "leaves.jsonl")
    rows, leaves = files[name].splitlines(keepends=True), files[place].splitlines(keepends=True)

    def fewer(said: dict[str, Any]) -> None:
        said["ledgers"][0]["records"] -= 1

    without = {**files, name: b"".join(rows[:9] + rows[10:])}
    assert found(resigned(site.vault, without), tmp_path) == "MISSING"
    assert found(resigned(site.vault, without, fewer), tmp_path) == "MISSING"

    def fewer_leaves(said: dict[str, Any]) -> None:
        fewer(said)
        said["ledgers"][0]["leaves"] -= 1
        said["scope"] = {"kind": "positions"}

    nodes = bundles.leaf_hash(leaves[10].rstrip(b"\n"))
    without |= {place: b"".join(leaves[:10] + leaves[11:]), named(files, "nodes.bin"): nodes}
    report = standalone.check(packed(resigned(site.vault, without, fewer_leaves), tmp_path / "y.zip"))
    assert report.verdict == "MISSING"
    assert ("MISSING", "record 10: it was opened for this bundle, and is not in it") in report.findings


def test_a_record_that_was_put_in_is_found(site: Site, tmp_path: Path) -> None:
    """One that nobody opened for this bundle: from another one of the same vault."""
    other = bundles.make(site.vault, tmp_path / "other.zip", Scope("positions", positions=(3, 4, 90, 91)), full=False)
    files, more = unpacked(site.masked.path), unpacked(other.path)
    for ending in ("records.jsonl", "leaves.jsonl", "nodes.bin"):
        files[named(files, ending)] = more[named(more, ending)]

    def count(said: dict[str, Any]) -> None:
        said["ledgers"][0] |= {"leaves": 5, "records": 4}

    assert found(resigned(site.vault, files, count), tmp_path) == "MODIFIED"


def test_a_second_history_is_forked(site: Site, files: Files, tmp_path: Path) -> None:
    """A leaf is exchanged, all behind it chained anew, and the tree signed with the vault's own key: sound in itself,
    and not what the events anchored."""
    place, note = named(files, "leaves.jsonl"), named(files, "/checkpoint")
    rows = bundles.lines(files, place)
    rows[7]["received_at"] = "2026-01-02T00:00:00.000Z"
    forged, root = bundles.rechained(rows)
    origin, size = bundles.manifest(files)["ledgers"][0]["origin"], len(rows)
    told = base64.b64encode(root).decode()
    ledger = site.installation.ledger("cn")
    signed = site.vault.checkpoints.attest(ledger, f"{origin}\n{size}\n{told}\n").encode()

    def change(said: dict[str, Any]) -> None:
        said["ledgers"][0]["root"] = told

    forked = resigned(site.vault, {**files, place: forged, note: signed}, change)
    assert found(forked, tmp_path) == "FORKED"


def test_leaves_that_are_not_what_was_signed_are_found(site: Site, files: Files, tmp_path: Path) -> None:
    place = named(files, "leaves.jsonl")
    rows = bundles.lines(files, place)
    swapped = [*rows[:5], rows[6], rows[5], *rows[7:]]
    edited = [*rows[:5], {**rows[5], "producer": "another"}, *rows[6:]]
    spaced = files[place].replace(b'"seq":5', b'"seq": 5')
    for content in (bundles.spelled(swapped), bundles.spelled(edited), spaced, files[place] * 2):
        assert found(resigned(site.vault, {**files, place: content}), tmp_path) == "MODIFIED"
    events = [name for name in files if name.endswith("leaves.jsonl")][1]
    told = bundles.lines(files, events)
    told[-1]["facts"]["count"] = 1
    assert found(resigned(site.vault, {**files, events: bundles.spelled(told)}), tmp_path) == "MODIFIED"


def test_hashes_too_many_or_too_few_are_found(site: Site, tmp_path: Path) -> None:
    files = unpacked(site.masked.path)
    name = named(files, "nodes.bin")
    for content in (files[name] + bytes(32), files[name][:-32], files[name][:-1], b"", bytes(len(files[name]))):
        assert found(resigned(site.vault, {**files, name: content}), tmp_path) == "MODIFIED"


def test_another_key_is_not_the_one_that_was_told(site: Site, files: Files, tmp_path: Path) -> None:
    stranger = Ed25519PrivateKey.generate()
    known = (
        standalone.load()
        .key_of(str(VerifierKey.from_public("a", stranger.public_key().public_bytes_raw())), 1)
        .fingerprint
    )
    assert found(files, tmp_path, "--key", site.full.fingerprint) == "OK"
    assert found(files, tmp_path, "--key", known) == "MODIFIED"
    assert found(files, tmp_path, "--key", known, "--key", site.full.fingerprint) == "OK"
    spelled = bundles.manifest(files)["ledgers"][0]["keys"][0]["key"]
    assert found(files, tmp_path, "--key", spelled) == "OK"


def test_a_bundle_signed_anew_with_another_key_is_found(site: Site, files: Files, tmp_path: Path) -> None:
    """Whoever exchanges the key everywhere still has the genesis leaf against them; and everybody who knows the key."""
    thief = Ed25519PrivateKey.generate()
    public = thief.public_key().public_bytes_raw()
    said = bundles.manifest(files)
    for entry in said["ledgers"]:
        name = f"ledgers/{entry['ledger']}/checkpoint"
        text = files[name].decode().partition("\n\n")[0] + "\n"
        files = {**files, name: bundles.note_by(entry["origin"], text, thief).encode()}

    def exchange(said: dict[str, Any]) -> None:
        for entry in said["ledgers"]:
            entry["keys"] = [{"key": str(VerifierKey.from_public(entry["origin"], public))}]

    origin = said["ledgers"][1]["origin"]
    forged = bundles.remade(files, lambda text: bundles.note_by(origin, text, thief), exchange)
    assert found(forged, tmp_path) == "MODIFIED"
    assert found(forged, tmp_path, "--key", site.full.fingerprint) == "MODIFIED"


def test_a_manifest_of_another_bundle_does_not_fit(site: Site, files: Files, tmp_path: Path) -> None:
    other = unpacked(site.masked.path)
    mixed = {**files, "manifest.json": other["manifest.json"], "manifest.note": other["manifest.note"]}
    assert found(mixed, tmp_path) in ("MODIFIED", "MISSING")
    assert found({**files, "manifest.note": other["manifest.note"]}, tmp_path) == "MODIFIED"


def test_a_manifest_in_any_other_form_is_refused(site: Site, files: Files, tmp_path: Path) -> None:
    said = bundles.manifest(files)
    for name in said:
        for value in (None, [], "x", -1, {"a": [1]}):
            changed = resigned(site.vault, files, lambda found, name=name, value=value: found.update({name: value}))
            if name not in ("made_by", "tenant", "id", "witnesses", "authorities", "made_at") or value is None:
                verdict = found(changed, tmp_path)
                assert verdict != "OK" or name in ("witnesses", "authorities"), (name, value)
    doubled = files["manifest.json"].replace(b'"access":', b'"access": 1, "access":', 1)
    assert found({**files, "manifest.json": doubled}, tmp_path) == "MODIFIED"


def test_a_program_among_the_files_is_refused(site: Site, files: Files, tmp_path: Path) -> None:
    """Whoever unpacks it would have it beside verify.py; the manifest may name what the format has, and no more."""
    for name in ("zipfile.py", "cryptography/__init__.py", "ledgers/notes.txt", "trust/x.exe"):
        assert found(resigned(site.vault, {"README.txt": b"", name: b"x", **files}), tmp_path) == "MODIFIED", name


def test_each_masked_record_is_named_as_not_comparable(site: Site) -> None:
    report = standalone.check(site.masked.path)
    assert any("cannot be compared" in note and "(seq 3-4, 90)" in note for note in report.notes)
    assert report.about["masked"] == "3-4, 90"


def test_another_maker_than_the_access_event_says_is_found(site: Site, files: Files, tmp_path: Path) -> None:
    lying = resigned(site.vault, files, lambda said: said.update(made_by="p-somebody"))
    assert found(lying, tmp_path) == "MODIFIED"


def test_a_set_that_names_everything_ends(site: Site, files: Files, tmp_path: Path) -> None:
    """A made-up set of 2**53 positions, and an access event that names it, in a tree that fits."""
    ledger, events = (str(one["ledger"]) for one in bundles.manifest(files)["ledgers"])
    content = f"reasonvault selection/1\n{ledger}\n1-{2**53 - 2}\n".encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    place = f"ledgers/{events}/leaves.jsonl"
    told = bundles.lines(files, place)
    access = bundles.manifest(files)["access"]
    next(one for one in told if one["seq"] == access)["facts"]["selection"] = digest
    lying = {**files, place: bundles.spelled(told), f"ledgers/{ledger}/selections/{digest}.txt": content}
    report = standalone.check(packed(resigned(site.vault, lying), tmp_path / "x.zip"))
    assert report.verdict == "MODIFIED"
    assert report.counts["MISSING"] > 10_000


def test_in_a_directory_links_are_not_followed(site: Site, files: Files, tmp_path: Path) -> None:
    place = tmp_path / "unpacked"
    with zipfile.ZipFile(site.full.path) as archive:
        archive.extractall(place)
    (place / "notes of mine.txt").write_text("x")
    report = standalone.check(place)
    assert (report.verdict, [note for note in report.notes if "notes of mine" in note] != []) == ("OK", True)
    (tmp_path / "README.txt").write_bytes(files["README.txt"])
    (place / "README.txt").unlink()
    (place / "README.txt").symlink_to(tmp_path / "README.txt")
    assert standalone.verdict(place) == "MODIFIED"
