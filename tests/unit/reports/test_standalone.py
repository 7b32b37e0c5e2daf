"""The auditor's verify.py against everybody's vectors: written from the format pages, it must agree with them."""

from __future__ import annotations

import ast
import base64
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtensionOID

from tests.support import standalone
from vault.core import note

VECTORS = Path(__file__).parents[2] / "vectors"
verify = standalone.load()
CODES = {"api": "APIS", "outcome": "OUTCOMES", "fidelity": "FIDELITIES"}


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def refuses(call: Any, *arguments: Any) -> bool:
    try:
        return call(*arguments) is False
    except verify.Bad:
        return True


def unb64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_it_imports_the_standard_library_and_cryptography_only() -> None:
    import sys

    tops = set()
    for node in ast.walk(ast.parse(standalone.FILE.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            tops |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            tops.add(str(node.module).partition(".")[0])
    assert tops - sys.stdlib_module_names == {"cryptography"}


def test_it_runs_on_python_3_9() -> None:
    ast.parse(standalone.FILE.read_text("utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("case", vectors("rfc6962-consistency")["cases"], ids=lambda case: case["name"])
def test_consistency_proofs(case: dict[str, Any]) -> None:
    old = verify.Head(case["size1"], unb64(case["root1"]))
    new = verify.Head(case["size2"], unb64(case["root2"]))
    proof = [unb64(one) for one in case["proof"] or ()]
    if any(len(one) != 32 for one in proof):
        pytest.skip("a bundle has no hash of another length")
    assert verify.is_beginning(old, new, b"".join(proof)) is not case["wantErr"]


@pytest.mark.parametrize("case", vectors("rfc6962-inclusion")["cases"], ids=lambda case: case["name"])
def test_one_leaf_and_its_nodes_are_an_inclusion_proof(case: dict[str, Any]) -> None:
    """A path goes up from the leaf; nodes.bin has the same hashes from left to right."""
    index, size, path = case["leafIdx"], case["treeSize"], [unb64(one) for one in case["proof"] or ()]
    root, hashed = unb64(case["root"]), unb64(case["leafHash"])
    if any(len(one) != 32 for one in (*path, root, hashed)) or index >= size:
        assert case["wantErr"]
        return
    asides, low, high = [], 0, size
    while high - low > 1:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        asides.append((middle, high) if index < middle else (low, middle))
        low, high = (low, middle) if index < middle else (middle, high)
    nodes = b"".join(path)
    if len(asides) == len(path):
        nodes = b"".join(one for _, one in sorted(zip(reversed(asides), path, strict=True)))
    try:
        same = verify.root_of(size, [index], hashed, nodes) == root
    except verify.Bad:
        same = False
    assert same is not case["wantErr"]


@pytest.mark.parametrize("case", vectors("signed-notes")["valid"], ids=lambda case: case["source"])
def test_signed_notes(case: dict[str, Any]) -> None:
    try:
        key = verify.key_of(case["vkey"], verify.ED25519)
    except verify.Bad:
        pytest.skip("a key of another type")
    text, lines = verify.split_note(case["note"].encode())
    assert verify.signed_by(text, lines, [key]) == [key]
    assert refuses(lambda: bool(verify.signed_by(text.replace(b"e", b"f", 1), lines, [key])))


@pytest.mark.parametrize("text", vectors("signed-notes")["bad_vkeys"])
def test_bad_keys_are_refused(text: str) -> None:
    assert refuses(verify.key_of, text, verify.ED25519)


@pytest.mark.parametrize("case", vectors("cosignature")["refused_vkeys"], ids=lambda case: case["name"])
def test_bad_keys_of_witnesses_are_refused(case: dict[str, Any]) -> None:
    assert refuses(verify.key_of, case["vkey"], verify.COSIGNATURE)


@pytest.mark.parametrize("case", vectors("cosignature")["cases"], ids=lambda case: case["name"])
def test_cosignatures(case: dict[str, Any]) -> None:
    keys = [verify.key_of(one, verify.COSIGNATURE) for one in case["keys"]]
    found, bad = {}, False
    try:
        text, lines = verify.split_note(case["note"].encode())
        for key in keys:
            for line in lines:
                if (line.name, line.key_id) == (key.name, key.id):
                    found[key.name] = verify.cosigned_at(key, line, text)
    except verify.Bad:
        bad = True
    assert bad is (case["verdict"] != "valid")
    assert bad or found == case["times"]


def test_a_retired_key_vouches_up_to_a_size() -> None:
    private, origin = Ed25519PrivateKey.generate(), "vault.example/3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"
    public = private.public_key().public_bytes_raw()
    root = base64.b64encode(bytes(32)).decode()
    signed = note.sign(f"{origin}\n7\n{root}\n", origin, private.sign, public).encode()
    for until, holds in ((None, True), (8, True), (7, True), (6, False), (0, False)):
        key = verify.key_of(str(note.VerifierKey.from_public(origin, public)), verify.ED25519, until)
        assert refuses(verify.open_checkpoint, signed, origin, [key]) is not holds
    assert refuses(verify.open_checkpoint, signed, origin, [])


@pytest.mark.parametrize(
    "text",
    [
        "o\n7\n{}\n",
        "{o}\n07\n{}\n",
        "{o}\n7\n{}\nmore\n",
        "{o}\n-7\n{}\n",
        "{o}\n7\n{}A\n",
        "{o}\n9223372036854775808\n{}\n",
    ],
)
def test_what_is_no_checkpoint_of_this_ledger(text: str) -> None:
    said = text.format(base64.b64encode(bytes(32)).decode(), o="origin")
    assert refuses(verify.checkpoint_of, said.encode(), "origin")


def of(reader: str) -> list[dict[str, Any]]:
    return [case for case in vectors("negative-v1")["cases"] if case["reader"] == reader]


@pytest.mark.parametrize("case", of("leaf"), ids=lambda case: case["name"])
def test_leaves(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["leaf_hex"])

    def read() -> None:
        ledger = json.loads(data)["ledger"] if case["verdict"] == "sound" else "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"
        verify.leaf_of(data, ledger)

    report = verify.Report()
    with report.checking("leaf"):
        read()
    assert (report.verdict == "OK") is (case["verdict"] == "sound"), report.findings


@pytest.mark.parametrize("case", of("facets"), ids=lambda case: case["name"])
def test_facets(case: dict[str, Any]) -> None:
    said = dict(case["fields"])
    for name, words in CODES.items():
        said[name] = verify.code(getattr(verify, words), said.get(name))
    said["money_moved"] = verify.as_number(said.get("money_moved"))
    said["below_threshold"] = 2 if said.get("below_threshold") is None else int(said["below_threshold"])
    said["ai_ms"] = -1 if said.get("ai_ms") is None else said["ai_ms"]
    report = verify.Report()
    with report.checking("facets"):
        salt = bytes.fromhex(case["salt_hex"])
        if len(salt) != 16 or verify.facets_digest(said, salt).hex() != case["digest_hex"]:
            raise verify.Bad("another digest")
    assert (report.verdict == "OK") is (case["verdict"] == "sound"), report.findings


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", "a//b", ".x", "a/.b", "a\\b", "C:x", "", "a/", "x\ny", "é"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    assert not verify.good_name(name)


def crafted(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_zips_are_refused_in_one_line(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    cases: dict[str, list[tuple[zipfile.ZipInfo | str, bytes]]] = {
        "slip": [("../../etc/x", b"x")],
        "absolute": [("/etc/x", b"x")],
        "twice": [("a", b"x"), ("a", b"y")],
        "case": [("manifest.json", b"x"), ("MANIFEST.json", b"y")],
        "link": [(link, b"/etc/passwd")],
        "folder": [("a/", b"")],
        "bomb": [("manifest.json", bytes(33 << 20))],
    }
    for name, members in cases.items():
        report = standalone.check(crafted(tmp_path / name, *members))
        assert report.verdict == "MODIFIED", name
        assert len(report.findings) == 1, name
        assert not report.checks, name
    (tmp_path / "none").write_bytes(b"no zip")
    (tmp_path / "empty").write_bytes(b"")
    for name in ("none", "empty"):
        assert standalone.verdict(tmp_path / name) == "MODIFIED"


def test_a_zip_that_unpacks_to_more_than_one_wants_is_refused(tmp_path: Path) -> None:
    import random

    noise = random.Random(1).randbytes(1 << 20)
    made = crafted(tmp_path / "big.zip", ("manifest.json", noise))
    assert "more than --most" in str(standalone.check(made, "--most", "0").findings)


def test_a_zip_that_is_something_else_as_well_is_refused(tmp_path: Path) -> None:
    made = crafted(tmp_path / "x.zip", ("manifest.json", b"{}"))
    made.write_bytes(b"#!/bin/sh\n" + made.read_bytes())
    assert "before the first" in str(standalone.check(made).findings)
    made = crafted(tmp_path / "y.zip", ("manifest.json", b"{}"))
    with zipfile.ZipFile(made, "a") as archive:
        archive.comment = b"a word"
    assert "comment" in str(standalone.check(made).findings)


def _patched(path: Path, at: int, new: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(new)] = new
    path.write_bytes(data)
    return path


def test_a_zip_that_two_programs_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    """By the headers before the files, by another directory, by names in extra fields, from gaps, from behind."""
    plain = crafted(tmp_path / "plain.zip", ("README.txt", b"x" * 99), ("verify.py", b"y" * 99)).read_bytes()
    directory, end = plain.index(b"PK\x01\x02"), plain.index(b"PK\x05\x06")
    hidden = crafted(tmp_path / "hidden.zip", ("records.jsonl", b"forged")).read_bytes()
    inside = hidden[: hidden.index(b"PK\x01\x02")]

    def moved(data: bytes, by: int) -> bytes:
        return data[:16] + (int.from_bytes(data[16:20], "little") + by).to_bytes(4, "little") + data[20:]

    named = zipfile.ZipInfo("README.txt")
    named.extra = b"\x75\x70\x0c\x00\x01\x00\x00\x00\x00other.x"
    remarked = zipfile.ZipInfo("README.txt")
    remarked.comment = b"another"
    cases = {
        "gap": plain[:directory] + inside + plain[directory:end] + moved(plain[end:], len(inside)),
        "behind": plain + b"more",
        "two directories": plain[:end] + plain[directory:end] + moved(plain[end:], end - directory),
        "another name": crafted(tmp_path / "1.zip", (named, b"x")).read_bytes(),
        "remark": crafted(tmp_path / "2.zip", (remarked, b"x")).read_bytes(),
        "size before": _patched(crafted(tmp_path / "3.zip", ("README.txt", b"x" * 9)), 22, b"\x08").read_bytes(),
        "digest before": _patched(crafted(tmp_path / "4.zip", ("README.txt", b"x" * 9)), 14, bytes(4)).read_bytes(),
        "told afterwards": _patched(crafted(tmp_path / "5.zip", ("README.txt", b"x")), 6, b"\x08").read_bytes(),
        "two disks": plain[: end + 4] + b"\x01" + plain[end + 5 :],
        "other number": plain[: end + 8] + b"\x01" + plain[end + 9 :],
    }
    for name, content in cases.items():
        (tmp_path / "x.zip").write_bytes(content)
        assert refuses(verify.Zip, str(tmp_path / "x.zip"), 1 << 20), name
    (tmp_path / "x.zip").write_bytes(plain)
    assert verify.Zip(str(tmp_path / "x.zip"), 1 << 20).names() == ["README.txt", "verify.py"]


@pytest.mark.parametrize("name", ["__future__", "argparse", "json", "zipfile", "cryptography", "sitecustomize"])
def test_what_lies_beside_it_is_not_imported(name: str, tmp_path: Path) -> None:
    """Whoever unpacks a bundle with a program in it must not run that program."""
    (tmp_path / "verify.py").write_bytes(standalone.FILE.read_bytes())
    (tmp_path / f"{name}.py").write_text("print('hijacked')\nraise SystemExit(0)\n")
    ran = subprocess.run([sys.executable, "verify.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, "hijacked" in ran.stdout, ran.stderr) == (11, False, "")


def test_whatever_a_library_raises_is_one_line() -> None:
    class Panic(BaseException):
        """As libraries in Rust raise it."""

    for error in (struct.error("x"), OSError("x"), x509.DuplicateExtension("x", ExtensionOID.KEY_USAGE),
                  x509.InvalidVersion("x", 5), MemoryError(), Panic()):  # fmt: skip
        report = verify.Report()
        with report.checking("it"):
            raise error
        assert (report.verdict, len(report.findings)) == ("MODIFIED", 1)


def test_only_a_time_that_the_owner_cannot_make_is_from_outside() -> None:
    """A witness that the vault's owner runs says any time, so also one before there was anything."""
    early, late = (verify.instant(f"20{year}-01-01T00:00:00Z") for year in (20, 26))
    verifier = verify.Verifier(None, None, verify.Report())
    verifier.outside = [(10, early, "witness", True), (10, late, "authority", False)]
    assert (verifier.outside_at(3), verifier.outside_at(3, True), verifier.outside_at(10)) == (late, early, None)


def test_the_vaults_own_key_is_no_independent_witness() -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    key = verify.Key("a/3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634", verify.ED25519, public)
    cosigner = verify.Key("witness.example/w", verify.COSIGNATURE, public)
    spelled = base64.b64encode(bytes([verify.COSIGNATURE]) + public).decode()
    verifier = verify.Verifier(None, verify.Options(frozenset(), (), (), 1), verify.Report())
    verifier.entries = [verify.Entry("", "", verify.Head(1, b""), 1, 1, [key])]
    verifier.manifest = {"witnesses": [{"key": f"{cosigner.name}+{cosigner.id.hex()}+{spelled}", "own": False}]}
    assert verifier.witnesses() == [(cosigner, True)]


def test_json_is_utf_8_alone() -> None:
    assert verify.parse(b'{"a":1}') == {"a": 1}
    for spelled in ('{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-32-le"), b'\xef\xbb\xbf{"a":1}'):
        assert refuses(verify.parse, spelled)


def test_many_certificates_cost_no_time() -> None:
    assert refuses(verify.certificates_in, b"-----BEGIN CERTIFICATE-----" * 37_000)


def test_files_that_overlap_are_refused(tmp_path: Path) -> None:
    made = crafted(tmp_path / "one.zip", ("a", b"x" * 100), ("b", b"y" * 100))
    data = bytearray(made.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = bytes(4)  # both members say that they begin at 0
    made.write_bytes(data)
    assert "overlap" in str(standalone.check(made).findings)


def test_what_a_hostile_file_says_moves_no_cursor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = crafted(tmp_path / "x.zip", ("a\x1b[2J\u202e", b"x"))
    assert verify.main([str(made)]) == 10
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed


def test_the_command_line_is_refused_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for given in ([str(tmp_path / "nothing")], [str(tmp_path), "--key", "abc"], [str(tmp_path), "--nonsense"]):
        with pytest.raises(SystemExit) as ended:
            verify.main(given)
        assert ended.value.code == 2
    capsys.readouterr()


def test_a_directory_without_a_bundle_is_missing_one(tmp_path: Path) -> None:
    assert standalone.verdict(tmp_path) == "MISSING"
