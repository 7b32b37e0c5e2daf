"""Requests of people: erasure restricts and waits; access exports what a grant lets out, and tells what it does not."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retention import requests
from retention.requests import Asked, Exported
from tests.support.acting import granted, happened, hire, last, recorded, stored
from tests.support.decisions import decision, spelled
from tests.support.holding import placed
from tests.support.vault import RECORDS, Installation
from vault import grants, ledgers, selections
from vault.context import Actor, Vault
from vault.core import canonical
from vault.core.errors import Denied, Modified, UsageError
from vault.core.masking import MASKED
from vault.core.selection import Selection
from vault.opening import Opener

OF_3 = [n for n in range(1, RECORDS["cn"] + 1) if n % 7 == 3]
REASON = "letter of 3 May, Frau Müller"


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def anna(vault: Vault) -> Actor:
    return hire(vault, "anna", "auditor")


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


def _erase(vault: Vault, customer: str = "cus-3", names: tuple[str, ...] = ("cn",)) -> Asked:
    into = [ledgers.get(vault, one) for one in names]
    return requests.request_erasure(vault, ledgers=into, customer=customer, reason=REASON, random=os.urandom)


def _export(vault: Vault, out: Path, customer: str = "cus-3", names: tuple[str, ...] = ("cn",)) -> Exported:
    into = [ledgers.get(vault, one) for one in names]
    return requests.export(vault, ledgers=into, customer=customer, out=out, random=os.urandom)


def _index(out: Path) -> dict[str, Any]:
    with zipfile.ZipFile(out) as archive:
        found: dict[str, Any] = json.loads(archive.read("index.json"))
    return found


def test_an_erasure_is_one_event_a_ledger_and_nothing_is_destroyed(vault: Vault, olaf: Actor) -> None:
    asked = _erase(vault.acting(olaf), names=("cn", "sg"))
    told = [one.facts for one in happened(vault, "erasure.requested")]
    assert {one["request"] for one in told} == {asked.request}
    assert {one["ledger"]: one["count"] for one in told} == asked.counts
    assert asked.counts[str(ledgers.get(vault, "cn").id)] == len(OF_3)
    assert len({one["tag"] for one in told}) == 1
    (shown,) = requests.listing(vault)
    assert (shown.kind, shown.customer, shown.reason, shown.by) == ("erasure", "cus-3", REASON, olaf.name)
    left = shown.left[str(ledgers.get(vault, "cn").id)]
    assert (left.number, left.standing, left.held, left.open_ended, left.unsound) == (len(OF_3), len(OF_3), 0, 0, 0)
    assert left.due is not None
    assert left.due * 1_000_000 > vault.clock()


@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_who_is_no_officer_enters_no_erasure(vault: Vault, role: str) -> None:
    with pytest.raises(Denied, match="only a compliance officer"):
        _erase(vault.acting(hire(vault, "who", role)))
    assert happened(vault, "erasure.requested") == []
    assert last(vault, "access.denied").facts["act"] == "erasure.request"


def test_what_a_hold_keeps_is_told(vault: Vault, anna: Actor) -> None:
    placed(vault, ["cn"], customers=["cus-3"], jurisdictions=["SG"])
    _erase(vault)
    (shown,) = requests.listing(vault.acting(anna))
    assert (shown.customer, shown.reason) == ("", ""), "an auditor is not told who asked"
    assert [one.held for one in shown.left.values()] == [len([n for n in OF_3 if n % 3])]
    with pytest.raises(Denied):
        requests.listing(vault.acting(hire(vault, "otto", "operator")))


def test_customers_and_reasons_stand_nowhere_in_clear(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    secret = "cus-geheim-77"
    installation.ingest("cn", [(1, spelled(decision(900, customer_ref=secret)))])
    granted(vault, anna, olaf, ["cn"], duty="access-right")
    _erase(vault, secret)
    _export(vault.acting(anna), tmp_path / "out.zip", secret)
    everything = stored(installation)
    for text in (secret, REASON):
        assert text not in everything
        assert text.encode().hex() not in everything


def test_everything_about_one_person_and_nothing_of_others(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    out = tmp_path / "out.zip"
    grant = granted(vault, anna, olaf, ["cn", "sg"])
    placed(vault, ["cn"], customers=["cus-3"])
    made = _export(vault.acting(anna), out, names=("cn", "sg"))
    assert hashlib.sha256(out.read_bytes()).digest() == made.sha256
    assert out.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(out) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != "index.json"}
    expected = {f"records/cn/{n}.json": spelled(decision(n)) for n in OF_3}
    expected |= {f"records/sg/{n}.json": spelled(decision(n)) for n in OF_3 if n <= RECORDS["sg"]}
    assert files == expected
    index = _index(out)
    assert (index["customer"], index["request"]) == ("cus-3", made.request)
    parts = {part["name"]: part for part in index["ledgers"]}
    assert {row["held"] for row in parts["cn"]["records"]} == {True}
    assert {row["held"] for row in parts["sg"]["records"]} == {False}
    assert all(row["keep_until"].endswith("Z") for row in parts["cn"]["records"])
    asked, exported = happened(vault, "access.requested"), happened(vault, "access.exported")
    assert [one.facts["grant"] for one in (*asked, *exported)] == [grant.id] * 4
    assert {one.facts["sha256"] for one in exported} == {canonical.b64(made.sha256)}
    assert asked[-1].seq < exported[0].seq == made.event
    cn = ledgers.get(vault, "cn").id
    digests = [one.facts["selection"] for one in exported if one.facts["ledger"] == str(cn)]
    assert [list(selections.load(vault, cn, one)) for one in digests] == [OF_3]


def test_the_access_is_told_before_anything_is_opened(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted(vault, anna, olaf, ["cn"])
    honest, seen = Opener.open, []

    def spy(self: Opener, *arguments: Any) -> bytes:
        seen.append(len(happened(vault, "access.requested")))
        return honest(self, *arguments)

    monkeypatch.setattr(Opener, "open", spy)
    _export(vault.acting(anna), tmp_path / "out.zip")
    assert set(seen) == {1}


@pytest.mark.parametrize("who", ["nobody", "officer", "passphrase", "other ledger"])
def test_without_a_grant_there_is_no_file(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, who: str) -> None:
    granted(vault, anna, olaf, ["sg"])
    actor = {
        "nobody": hire(vault, "alma", "auditor"),
        "officer": olaf,
        "passphrase": vault.actor,
        "other ledger": anna,
    }[who]
    with pytest.raises(UsageError if who == "passphrase" else Denied):
        _export(vault.acting(actor), tmp_path / "out.zip", names=("sg", "cn"))
    assert list(tmp_path.glob("*.zip*")) == []
    assert happened(vault, "access.requested") == []


def test_a_grant_that_ends_meanwhile_hands_nothing_out(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = granted(vault, anna, olaf, ["cn"])
    honest = requests.export.__globals__["write"]

    def revoked(*arguments: Any) -> Any:
        written = honest(*arguments)
        grants.revoke(vault.acting(olaf), grant.id)
        return written

    monkeypatch.setitem(requests.export.__globals__, "write", revoked)
    with pytest.raises(Denied):
        _export(vault.acting(anna), tmp_path / "out.zip")
    assert list(tmp_path.glob("*.zip*")) == []
    assert happened(vault, "access.exported") == []


def test_an_erasure_asked_for_meanwhile_counts(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed after the export looked for records, and before its own event."""
    granted(vault, anna, olaf, ["cn"])
    honest = requests.export.__globals__["_look"]
    looks: list[Any] = []

    def overtaken(*arguments: Any) -> Any:
        found = honest(*arguments)
        if not looks:
            with installation.opened() as other:
                _erase(other)
        looks.append(found)
        return found

    monkeypatch.setitem(requests.export.__globals__, "_look", overtaken)
    made = _export(vault.acting(anna), tmp_path / "out.zip")
    assert (list(made.exported.values()), list(made.closed.values())) == ([0], [len(OF_3)])
    assert len(looks) == 2


def test_a_masked_grant_exports_for_a_duty_only_and_masked(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    granted(vault, anna, olaf, ["cn"], fields="masked")
    with pytest.raises(Denied, match="names a legal duty"):
        _export(vault.acting(anna), tmp_path / "out.zip")
    assert last(vault, "access.denied").facts["code"] == "fields"
    granted(vault, anna, olaf, ["cn"], fields="masked", duty="access-right")
    _export(vault.acting(anna), tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        record = json.loads(archive.read("records/cn/3.json"))
    assert (record["id"], record["prompt"], record["customer_ref"]) == ("dec-3", MASKED, MASKED)


def test_restricted_records_are_counted_and_named_for_a_duty_only(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    _erase(vault)
    granted(vault, anna, olaf, ["cn"])
    cn = str(ledgers.get(vault, "cn").id)
    made = _export(vault.acting(anna), tmp_path / "out.zip")
    assert (made.exported, made.closed) == ({cn: 0}, {cn: len(OF_3)})
    (part,) = _index(tmp_path / "out.zip")["ledgers"]
    assert (part["records"], part["restricted"]) == ([], len(OF_3))
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert b"dec-3" not in archive.read("index.json")
    granted(vault, anna, olaf, ["cn"], duty="access-right")
    made = _export(vault.acting(anna), tmp_path / "out.zip")
    assert (made.exported, made.closed) == ({cn: len(OF_3)}, {cn: 0})
    (part,) = _index(tmp_path / "out.zip")["ledgers"]
    assert {row["restricted"] for row in part["records"]} == {True}
    assert last(vault, "access.exported").facts["duty"] == "access-right"


def test_a_grants_bounds_bound_the_export(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path) -> None:
    granted(vault, anna, olaf, ["cn"], classes=("aml",))
    made = _export(vault.acting(anna), tmp_path / "out.zip")
    assert list(made.exported.values()) == [0]
    assert _index(tmp_path / "out.zip")["ledgers"][0]["classes"] == ["aml"]


def test_somebody_elses_record_is_not_handed_out(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    """No leaf commits to a blind index: whoever owns the database can exchange two."""
    granted(vault, anna, olaf, ["cn"])
    with installation.tampering() as connection:
        connection.execute(
            """UPDATE vault.sealed SET customer_tag = (SELECT customer_tag FROM vault.sealed
               WHERE ledger_id = %(ledger)s AND seq = 3) WHERE ledger_id = %(ledger)s AND seq = 4""",
            {"ledger": ledgers.get(vault, "cn").id},
        )
    _export(vault.acting(anna), tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert "records/cn/4.json" not in archive.namelist()
        assert "records/cn/3.json" in archive.namelist()
    assert [row["seq"] for row in _index(tmp_path / "out.zip")["ledgers"][0]["records"]] == OF_3


def test_a_damaged_record_is_told(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    granted(vault, anna, olaf, ["cn"])
    cn = ledgers.get(vault, "cn").id
    with installation.tampering() as connection:
        connection.execute("UPDATE vault.sealed SET model = 'x' WHERE ledger_id = %s AND seq = 3", [cn])
    made = _export(vault.acting(anna), tmp_path / "out.zip")
    assert made.unsound == 1
    assert _index(tmp_path / "out.zip")["ledgers"][0]["unsound"] == [3]
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.sealed SET wrapped_key = set_byte(wrapped_key, 20, 7) WHERE ledger_id = %s AND seq = 10", [cn]
        )
    with pytest.raises(Modified):
        _export(vault.acting(anna), tmp_path / "other.zip")
    assert not (tmp_path / "other.zip").exists()


def test_what_was_destroyed_since_somebody_asked_is_told(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    granted(vault, anna, olaf, ["cn"], duty="access-right")
    _erase(vault)
    cn = ledgers.get(vault, "cn").id
    digest = selections.keep(vault, cn, Selection.of([3, 4]))
    facts = {"disposal": "d-1", "manifest": digest, "selection": digest, "count": 2, "ledger": str(cn), "groups": []}
    recorded(vault, vault.actor, "disposal.planned", **facts, kind="expiry", cooling_off=0)
    recorded(vault, vault.actor, "disposal.intended", disposal="d-1", not_before="2026-01-01T00:00:00Z")
    recorded(
        vault,
        vault.actor,
        "disposal.destroying",
        disposal="d-1",
        manifest=digest,
        selection=digest,
        count=2,
        holds_at=10**6,
    )
    with installation.tampering() as connection:
        connection.execute("DELETE FROM vault.sealed WHERE ledger_id = %s AND seq IN (3, 4, 10)", [cn])
    made = _export(vault.acting(anna), tmp_path / "out.zip")
    assert made.destroyed == 2
    part = _index(tmp_path / "out.zip")["ledgers"][0]
    assert part["destroyed"] == [{"seq": 3, "disposal": "d-1"}, {"seq": 10, "disposal": None}]
    (*_, shown) = requests.listing(vault)
    assert [(one.number, one.standing) for one in shown.left.values()] == [(len(OF_3), len(OF_3) - 2)]


def test_the_command_line_does_it_all(installation: Installation, tmp_path: Path) -> None:
    def run(*arguments: str, user: str = "") -> Any:
        more = ("--user", user) if user else ()
        environment = installation.environment() | {"REASONVAULT_PASSWORD_FILE": str(tmp_path / "password")}
        ran = installation.run(*arguments, *more, "--json", environment=environment)
        assert ran.exit_code == 0, ran.output
        return json.loads(ran.stdout)

    (tmp_path / "password").write_text("a long password of theirs")
    for name, role in (("anna", "auditor"), ("olaf", "officer"), ("olga", "officer")):
        run("user", "add", name, "--role", role)
    held = run(
        "hold", "place", "--case", "C-17", "--reason", "a court asks", "--ledger", "cn", "--customer", "cus-3",
        "--from", "2026-01-01", "--review", "2099-01-01", user="olaf",
    )  # fmt: skip
    assert sum(held["counts"].values()) == len(OF_3)
    (listed,) = run("hold", "list")
    assert (listed["state"], listed["case_name"], listed["due"]) == ("open", "C-17", False)
    assert run("hold", "show", held["hold"])["terms"]["customer"] == ["cus-3"]
    assert run("hold", "review", held["hold"], "--on", "2098-01-01", user="olga")["review_at"] == "2098-01-01T00:00:00Z"
    assert run("hold", "release", held["hold"], user="olaf")["done"] == "requested"
    assert run("hold", "release", held["hold"], user="olga")["done"] == "released"
    erased = run("request", "erasure", "--customer", "cus-3", "--ledger", "cn", "--reason", "her letter", user="olaf")
    assert (sum(erased["counts"].values()), erased["before"]) == (len(OF_3), [])
    again = run("request", "erasure", "--customer", "cus-3", "--ledger", "cn", "--reason", "once more", user="olaf")
    assert again["before"] == [erased["request"]]
    grant = run(
        "grant", "request", "--ledger", "cn", "--purpose", "her letter", "--case", "C-18", "--until", "2027-01-31",
        "--duty", "access-right", "--fields", "full", user="anna",
    )  # fmt: skip
    assert grant["duty"] == "access-right"
    run("grant", "approve", grant["grant"], user="olaf")
    out = tmp_path / "out.zip"
    made = run("request", "access", "--customer", "cus-3", "--ledger", "cn", "-o", str(out), user="anna")
    assert made["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    kinds = [one["kind"] for one in run("request", "list")]
    assert kinds == ["access", "erasure", "erasure"]
    for words in (("hold", "list"), ("hold", "show", held["hold"]), ("request", "list")):
        printed = installation.run(*words)
        assert (printed.exit_code, "cus-3" in printed.stdout or "C-17" in printed.stdout) == (0, True), printed.output
    shown = installation.run("show", "dec-3", "--ledger", "cn", "--purpose", "a test", "--duty", "court-order")
    assert shown.stdout_bytes == spelled(decision(3))


def test_what_matches_nothing_is_said(installation: Installation) -> None:
    words = ("--ledger", "cn", "--customer", "cus-mistyped", "--reason", "a letter")
    held = installation.run("hold", "place", "--case", "C-19", *words)
    assert held.exit_code == 0, held.output
    assert "cn: matches no record now: check the spelling of the customer\n" in held.stdout
    assert "new records that match will be held" in held.stdout
    asked = [installation.run("request", "erasure", *words) for _ in range(2)]
    assert [one.exit_code for one in asked] == [0, 0]
    assert all("cn: matches no record now: check the spelling of the customer" in one.stdout for one in asked)
    assert ["the same was asked before" in one.stdout for one in asked] == [False, True]
