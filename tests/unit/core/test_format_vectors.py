"""The worked example and the negative cases: what the code writes, what the page says, what the checker finds.

scripts/make_vectors.py writes both files with our code; scripts/check_formats.py recomputes them from FORMAT.md and
imports nothing of ours. After a change of the vectors, never of a format:

    PYTHONPATH=. python scripts/make_vectors.py
"""

from __future__ import annotations

import copy
import hmac
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
import zstandard

from vault.core import envelope, facets, leaf, packing, receipt
from vault.core.errors import Modified, VaultError
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.note import VerifierKey
from vault.core.record import API_CODES, FIDELITY_CODES, OUTCOME_CODES
from vault.keys.ring import EpochRow, Ring, group_ref

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors"
PAGE = (ROOT / "vault" / "core" / "FORMAT.md").read_text("utf-8")
CHECKER = ROOT / "scripts" / "check_formats.py"
EXAMPLE = json.loads((VECTORS / "example-v1.json").read_text("utf-8"))
NEGATIVE = json.loads((VECTORS / "negative-v1.json").read_text("utf-8"))

PROSE = {"source", "zstd", "what"}
"""Members of the example that say where a value comes from, and hold none."""


def title(case: dict[str, Any]) -> str:
    """How a negative case is called."""
    return f"{case['reader']}: {case['name']}"


def script(name: str) -> ModuleType:
    """Load a script, as the scripts are no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    """Run the checker as a stranger would; -I keeps this directory and our packages out of its reach."""
    command = [sys.executable, "-I", str(CHECKER), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# What the files hold


def test_the_code_writes_the_same_example() -> None:
    if ".".join(map(str, zstandard.ZSTD_VERSION)) != EXAMPLE["zstd"]:
        pytest.skip("another libzstd may spell other frames; that they still open is checked without writing them")
    assert script("make_vectors").example() == EXAMPLE


def test_the_code_writes_the_same_negative_cases() -> None:
    if ".".join(map(str, zstandard.ZSTD_VERSION)) != EXAMPLE["zstd"]:
        pytest.skip("another libzstd may spell other frames")
    made = script("make_vectors").negatives(EXAMPLE)
    assert [case["name"] for case in made["cases"]] == [case["name"] for case in NEGATIVE["cases"]]
    assert made == NEGATIVE


def test_the_page_alone_finds_the_same() -> None:
    ran = check()
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert [int(number) > 100 for number in re.findall(r"(\d+) values", ran.stdout)] == [True, True]


def test_the_checker_imports_nothing_of_ours() -> None:
    files = [CHECKER, *(ROOT / "scripts" / "formats").glob("*.py")]
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    imported = {line.split()[1].partition(".")[0] for line in lines if re.match(r"\s*(import|from) [a-z_]", line)}
    assert len(files) == 6
    assert imported - sys.stdlib_module_names == {"cryptography", "formats", "zstandard"}


# Damage to the example


def values(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of the example that holds something, containers too."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        if key not in PROSE:
            yield (*path, key)
            yield from values(value, (*path, key))


def damaged(value: Any) -> Iterator[Any]:
    """A value, wrong in different ways."""
    match value:
        case None:
            yield from (0, "", False)
        case bool():
            yield not value
            yield None
        case int() | float():
            yield value + 1
            yield None
        case str():
            for at in {0, len(value) // 2, len(value) - 1}:
                yield value[:at] + ("1" if value[at : at + 1] == "0" else "0") + value[at + 1 :]
        case list():
            yield value[:-1]
            yield [*value, value[-1] if value else "x"]
        case dict():
            yield {**value, "surprise": "x"}
            for key in value.keys() - PROSE:
                yield {name: kept for name, kept in value.items() if name != key}


def test_no_value_of_the_example_can_be_wrong_unnoticed() -> None:
    """Each damage ends in a fault or in an error, which the checker's main() counts as one."""
    checker = script("check_formats")
    unnoticed = []
    tried = 0
    for path in values(EXAMPLE):
        *way, last = path
        for wrong in damaged(_at(EXAMPLE, path)):
            document = copy.deepcopy(EXAMPLE)
            _at(document, tuple(way))[last] = wrong
            tried += 1
            try:
                if not any(fault for _, fault in checker.check_example(document)):
                    unnoticed.append((path, wrong))
            except Exception:  # noqa: S112 -- main() reports any error as a fault
                continue
    assert unnoticed == []
    assert tried > 500


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


def test_the_checker_names_the_value_that_differs(tmp_path: Path) -> None:
    document = copy.deepcopy(EXAMPLE)
    document["ledgers"][0]["entries"][1]["sealed"]["parts"][0]["header_hex"] += "00"
    file = tmp_path / "example-v1.json"
    file.write_text(json.dumps(document), "utf-8")
    ran = check(file)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "decisions-sg[1].sealed.parts[0].header_hex" in ran.stderr


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"ledgers": [{}]}'])
def test_the_checker_fails_on_a_file_that_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "example-v1.json"
    file.write_text(text, "utf-8")
    assert check(file).returncode == 1


def test_a_case_that_is_not_refused_fails_the_checker(tmp_path: Path) -> None:
    document = copy.deepcopy(NEGATIVE)
    document["cases"][0]["verdict"] = "refused"
    file = tmp_path / "negative-v1.json"
    file.write_text(json.dumps(document), "utf-8")
    ran = check(file)
    assert ran.returncode == 1
    assert "leaf: genesis" in ran.stderr


# The negative cases, read by our code

DIGEST_ONLY = "envelope: another digest"
"""The one envelope that is sound but for the digest beside it."""


def read_leaf(case: dict[str, Any]) -> None:
    leaf.parse(bytes.fromhex(case["leaf_hex"]))


def read_stored(case: dict[str, Any]) -> None:
    leaf.parse(packing.unpack(bytes.fromhex(case["stored_hex"])))


def read_facets(case: dict[str, Any]) -> None:
    said = case["fields"]
    codes = {"api": API_CODES, "outcome": OUTCOME_CODES, "fidelity": FIDELITY_CODES}
    columns = Facets(**(said | {name: known[said[name]] for name, known in codes.items()}))
    if facets.digest(columns, bytes.fromhex(case["salt_hex"])).hex() != case["digest_hex"]:
        raise Modified("the facets are others")


def read_envelope(case: dict[str, Any]) -> None:
    if envelope.part_digest(bytes.fromhex(case["envelope_hex"]), context_of(case)).hex() != case["digest_hex"]:
        raise Modified("the envelope is another")
    open_envelope(case)


def open_envelope(case: dict[str, Any]) -> None:
    stored, key, committed = (
        bytes.fromhex(case[name]) for name in ("envelope_hex", "record_key_hex", "key_commitment_hex")
    )
    plaintext = envelope.open_part(stored, key, committed, context_of(case))
    made = envelope.plaintext_commitment(envelope.opening(key), plaintext)
    if not hmac.compare_digest(made.hex(), case["plaintext_commitment_hex"]):
        raise Modified("the plaintext is another")


def context_of(case: dict[str, Any]) -> envelope.Context:
    return envelope.Context(**(case["header"] | {"ledger": UUID(case["header"]["ledger"])}))


class OpenProvider:
    """Hands out what it is given, as an epoch's key."""

    name = "test"

    def unwrap(self, ref: str, wrapped: bytes, context: bytes) -> bytes:
        return wrapped


def read_wrapped(case: dict[str, Any]) -> None:
    ledger, committed = UUID(case["ledger"]), bytes.fromhex(case["key_commitment_hex"])
    ring = Ring(OpenProvider(), clock=lambda: 0.0)  # type: ignore[arg-type]  # the one method that reading calls
    ref, key = group_ref(ledger, "open.0"), bytes.fromhex(case["epoch_key_hex"])
    epoch = EpochRow(ledger, int(case["epoch_id"]), "open.0", ref, "writer-1", "2026-01-05", key)
    found = ring.unwrap_record_key(epoch, bytes.fromhex(case["wrapped_hex"]), committed)
    if envelope.key_commitment(found) != committed:  # open_part begins with this
        raise Modified("the key is another")


def read_receipt(case: dict[str, Any]) -> None:
    keys = [VerifierKey.parse(key) for key in case["verifier_keys"]]
    receipt.verify(case["receipt"].encode(), case["record"].encode(), keys, case["origin"])


READERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "leaf": read_leaf,
    "stored leaf": read_stored,
    "facets": read_facets,
    "envelope": read_envelope,
    "wrapped key": read_wrapped,
    "receipt": read_receipt,
}


@pytest.mark.parametrize("case", NEGATIVE["cases"], ids=title)
def test_the_code_refuses_what_it_must(case: dict[str, Any]) -> None:
    """With an error of ours: no parser leaks another."""
    if case["verdict"] == "sound":
        READERS[case["reader"]](case)
        return
    with pytest.raises(VaultError):
        READERS[case["reader"]](case)


ENVELOPES = [case for case in NEGATIVE["cases"] if case["reader"] == "envelope" and title(case) != DIGEST_ONLY]


@pytest.mark.parametrize("case", ENVELOPES, ids=title)
def test_opening_does_not_lean_on_the_part_digest(case: dict[str, Any]) -> None:
    """Whoever opens one record compares no part digest, so opening must find the fault by itself."""
    if case["verdict"] == "sound":
        open_envelope(case)
        return
    with pytest.raises(VaultError):
        open_envelope(case)


def test_every_reader_has_sound_cases_and_enough_others() -> None:
    for reader in READERS:
        verdicts = [case["verdict"] for case in NEGATIVE["cases"] if case["reader"] == reader]
        assert verdicts.count("sound") >= 1
        assert verdicts.count("refused") >= 10
    names = {title(case) for case in NEGATIVE["cases"]}
    assert len(names) == len(NEGATIVE["cases"])


# The page


def test_the_walk_through_shows_the_example() -> None:
    """Section 9: rows with a place of the example and its value, shortened where long, and blocks with all of it."""
    text = PAGE.partition("## 9.")[2]
    rows = re.findall(r"^\| `([^`]+)` \| .* \| `([^`]*)` \|$", text, re.MULTILINE)
    blocks = re.findall(r"`([^`\n]+)`:\n\n```\n(.*?)\n```", text, re.DOTALL)
    assert len(rows) == text.count("\n| `") >= 30
    assert len(blocks) == text.count("```") / 2 == 2
    for place, shown in rows:
        start, ellipsis, end = shown.partition("…")
        value = named(place)
        whole = value if isinstance(value, str) else json.dumps(value)
        assert whole == shown or (ellipsis and whole.startswith(start) and whole.endswith(end)), place
        assert len(start) >= 32 or not ellipsis, place
    for place, shown in blocks:
        assert named(place).removesuffix("\n") == shown, place


def named(place: str) -> Any:
    """The value at a place such as ``decisions-sg[1].leaf``: a ledger, the number of an entry, its members."""
    name, *way = re.findall(r"[^.\[\]]+", place)
    steps = [int(step) if step.isdigit() else step for step in way]
    if isinstance(steps[0], int):
        steps.insert(0, "entries")
    return _at({ledger["name"]: ledger for ledger in EXAMPLE["ledgers"]}[name], tuple(steps))


def test_the_page_has_the_dictionaries_and_flags_of_the_code() -> None:
    for digest in EXAMPLE["dictionaries"].values():
        assert digest in PAGE
    bits = re.findall(r"^\| (\d+) \| [a-zA-Z]", PAGE.partition("| bit |")[2].partition("\n\n")[0], re.MULTILINE)
    assert [1 << int(bit) for bit in bits] == [flag.value for flag in Flag]
