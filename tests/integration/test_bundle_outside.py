"""What witnesses and authorities said, in a bundle; and the keys of a vault that changed its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

from reports.bundle.scope import Scope
from service import rotation
from tests.support import bundles, standalone
from tests.support.bundles import Files, named, packed, resigned, unpacked
from tests.support.outside import configure, go, stir, trusting
from tests.support.tsa import Authority
from tests.support.vault import PASSPHRASE, Installation
from tests.support.witness import Witness
from vault import rotating
from vault.context import Vault
from vault.core.errors import Unavailable


class Site(NamedTuple):
    vault: Vault
    witness: Witness
    authority: Authority
    files: Files


@pytest.fixture(scope="module")
def site(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A vault whose events a witness cosigned and an authority stamped, twice, and a bundle of it."""
    folder = tmp_path_factory.mktemp("outside")
    with (
        built.copied(folder / "home") as copy,
        copy.opened() as vault,
        Authority.opened(folder / "tsa") as authority,
        Witness.opened(trusting(vault)) as witness,
    ):
        configure(copy.home, [witness], [authority])
        for _ in range(2):
            stir(vault)
            assert go(vault, stamp=True).problems == ()
        made = bundles.make(vault, folder / "x.zip", Scope("positions", positions=(2, 9)))
        yield Site(vault, witness, authority, unpacked(made.path))


def check(files: Files, folder: Path, *options: str) -> Any:
    return standalone.check(packed(files, folder / "x.zip"), *options)


def test_times_from_outside_are_checked_and_told(site: Site, tmp_path: Path) -> None:
    report = check(site.files, tmp_path)
    assert report.verdict == "OK", report.findings
    said = "\n".join((*report.checks, *report.notes))
    for words in ("witness witness.example/w1", "time-stamp by CN=Example tsa", "all of these records existed at"):
        assert words in said
    assert [name for name in site.files if name.endswith(".tsr")]
    for name in (name for name in site.files if name.endswith(".tsr")):
        assert site.authority.verify(site.files[name], site.files[name.replace(".tsr", ".stamped")])


def test_a_witness_or_a_root_from_elsewhere_is_independent(site: Site, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(site.authority.root)

    def owned(said: dict[str, Any]) -> None:
        for one in (*said["witnesses"], *said["authorities"]):
            one["own"] = True

    files = resigned(site.vault, site.files, owned)
    assert any("proves nothing against them" in note for note in check(files, tmp_path).notes)
    given = ("--witness", site.witness.vkey, "--tsa-root", str(tmp_path / "root.pem"))
    report = check(files, tmp_path, *given)
    assert report.verdict == "OK"
    assert not any("proves nothing against them" in note for note in report.notes)


def test_times_by_whom_the_owner_runs_are_no_times_from_outside(site: Site, tmp_path: Path) -> None:
    def owned(said: dict[str, Any]) -> None:
        for one in (*said["witnesses"], *said["authorities"]):
            one["own"] = True

    report = check(resigned(site.vault, site.files, owned), tmp_path)
    assert report.verdict == "OK"
    assert not any("all of these records existed" in note for note in report.notes)


def test_cosignatures_and_stamps_of_something_else_are_found(site: Site, tmp_path: Path) -> None:
    """By a vault that lies, and signs the manifest anew."""
    notes = sorted(name for name in site.files if name.endswith(".note") and "outside" in name)
    stamps = sorted(name for name in site.files if name.endswith(".tsr"))
    first, last = notes[0], notes[-1]
    assert first != last
    own = site.files[first].decode().rpartition("\n")[0].rpartition("\n")[0] + "\n"
    line = site.files[last].decode().splitlines()[-1]
    cases: dict[str, Files] = {
        "another checkpoint's cosignature": {first: f"{own}{line}\n".encode()},
        "another checkpoint's stamp": {stamps[0]: site.files[stamps[-1]]},
        "another checkpoint under this name": {first: site.files[last]},
        "no stamp at all": {stamps[0]: b"\x30\x00"},
    }
    for what, changed in cases.items():
        assert check(resigned(site.vault, {**site.files, **changed}), tmp_path).verdict != "OK", what


def test_another_tree_under_a_witness_is_forked(site: Site, tmp_path: Path) -> None:
    """The vault signs another tree of a size that a witness saw; the bundle cannot show how it came to be."""
    name = next(name for name in site.files if "/consistency/" in name and str(site.vault.events) in name)
    content = site.files[name]
    for forged in (content[:-32] + bytes(32), content[32:], content + bytes(32)):
        assert check(resigned(site.vault, {**site.files, name: forged}), tmp_path).verdict == "FORKED"


def test_an_anchor_of_another_tree_is_forked(site: Site, tmp_path: Path) -> None:
    place = site.vault.events
    name = f"ledgers/{place}/leaves.jsonl"
    told = bundles.lines(site.files, name)
    assert [one for one in told if one.get("event") == "checkpoint.anchored"]
    size = next(one["facts"]["size"] for one in told if one.get("event") == "checkpoint.anchored")
    subject = bundles.manifest(site.files)["ledgers"][0]
    assert size <= subject["size"]
    verify = standalone.load()
    report = verify.Report()
    checker = verify.Verifier(verify.Bundle(None), None, report)
    head = verify.Head(subject["size"], verify.unb64(subject["root"]))
    entry = verify.Entry(subject["ledger"], subject["origin"], head, 0, 0, [])
    checker.heads[entry.ledger] = head
    facts = {"ledger": entry.ledger, "size": head.size, "root": verify.b64url(bytes(32))}
    for event in ("checkpoint.anchored", "records.opened"):
        report.counts.clear()
        checker.events = [verify.Leaf("event", 1, None, {"event": event, "facts": facts}, b"")]
        with report.checking("anchors"):
            checker.check_anchors(entry)
        assert report.verdict == "FORKED", event


def test_where_the_policy_says_to_wait_there_is_no_bundle(installation: Installation, tmp_path: Path) -> None:
    with installation.opened() as vault, Witness.opened(trusting(vault)) as witness:
        configure(installation.home, [witness], quorum=1, fail="closed")
        before = installation.size("events")
        with pytest.raises(Unavailable, match="policy of witnesses"):
            bundles.make(vault, tmp_path / "x.zip")
        assert installation.size("events") == before


def test_a_key_that_was_told_years_ago_leads_to_the_one_that_signs_now(
    installation: Installation, tmp_path: Path
) -> None:
    """While a key joins, both sign; a witness kept such a checkpoint, and so does the bundle."""

    def rotate(step: str) -> None:
        environment = mock.patch.dict("os.environ", installation.environment())
        with environment, rotation.opened(installation.home, PASSPHRASE) as (vault, keeper):
            {"begin": rotating.begin, "finish": rotating.finish}[step](vault, keeper)

    with installation.opened() as vault:
        old = bundles.make(vault, tmp_path / "old.zip", Scope("positions", positions=(2,))).fingerprint
        trusted = trusting(vault)
    rotate("begin")
    with Witness.opened(trusted) as witness:
        configure(installation.home, [witness])
        with installation.opened() as vault:
            stir(vault)
            assert go(vault).problems == ()
        rotate("finish")
        with installation.opened() as vault:
            made = bundles.make(vault, tmp_path / "new.zip", Scope("positions", positions=(2, 9)))
            assert made.fingerprint != old
            report = standalone.check(made.path, "--key", old)
            assert report.verdict == "OK", report.findings
            assert any("was retired since" in note for note in report.notes)
            assert standalone.verdict(made.path, "--key", made.fingerprint) == "OK"
            assert standalone.verdict(tmp_path / "old.zip", "--key", old) == "OK"
            files = unpacked(made.path)
            assert ["until" in one for one in bundles.manifest(files)["ledgers"][1]["keys"]] == [True, False]
            without = {name: content for name, content in files.items() if "/outside/" not in name}
            assert standalone.verdict(packed(without, tmp_path / "z.zip"), "--key", old) != "OK"
    assert json.loads(files["manifest.json"])["witnesses"]
    assert named(files, ".note")
