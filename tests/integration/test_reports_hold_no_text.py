"""Reports outlive the shredding that they report on, so none of them carries text: neither pages nor attachments."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.deflated import Deflated
from reports.kind import Collected, Wanted
from reports.kinds import kind_of
from reports.period import period_of
from service import wiring
from tests.support.decisions import decision
from tests.support.vault import RECORDS, Installation
from vault import ledgers
from vault.context import Vault

KINDS = ("access", "completeness", "cost", "evidence", "integrity", "retention", "threshold")


@pytest.fixture(scope="module")
def vault(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with built.copied(tmp_path_factory.mktemp("text") / "home") as copy, copy.opened() as opened:
        yield opened


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a document, with where it stands."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from strings(one, f"{path}.{name}")
    elif isinstance(value, list):
        for one in value:
            yield from strings(one, path)
    elif isinstance(value, str):
        yield path, value


def secrets() -> set[bytes]:
    """What producers wrote in words: prompts, answers, reasons, who the customer is."""
    found = set()
    for number in range(1, RECORDS["cn"] + 1):
        document = decision(number)
        for part in ("prompt", "response", "customer_ref"):
            found |= {text.encode() for _, text in strings(document.get(part))}
        found |= {str(document["decision"][name]).encode() for name in ("reason", "explanation")
                  if document["decision"].get(name)}  # fmt: skip
    return {one for one in found if len(one) > 4}


def everything(collected: Collected) -> bytes:
    parts = [repr(collected.model).encode(), repr(collected.pages).encode(), repr(dict(collected.facts)).encode()]
    parts += [collected.words.encode(), repr(dict(collected.document)).encode()]
    for one in collected.attachments:
        source = one.source
        if isinstance(source, Deflated):
            parts.append(zlib.decompress(source.path.read_bytes()))
        else:
            parts.append(source.read_bytes() if isinstance(source, Path) else source)
    return b"\n".join(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_carries_what_was_written(vault: Vault, kind: str, tmp_path: Path) -> None:
    ledger = ledgers.get(vault, "cn")
    book = wiring.rule_book(vault)
    period = period_of(book, ledger.genesis.jurisdictions, None, None)
    listed = tmp_path / "movements.csv"
    listed.write_text("transaction_id,amount,currency,moved_at\ntxn-7,1.00,CNY,2026-01-02T00:00:00Z\n")
    workdir = tmp_path / "work"
    workdir.mkdir()
    wanted = Wanted(
        None if kind == "access" else ledger, book, period, "yearly audit", options={"movements": listed, "grace": 7}
    )
    collected = kind_of(kind).collect(vault, wanted, workdir, f"{kind}-1", lambda _name, _done, _total: None)
    held = everything(collected)
    assert [one for one in secrets() if one in held] == []
    assert b"dec-7" in held or kind in ("access", "integrity", "retention")
