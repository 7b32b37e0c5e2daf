"""Rounds with a real time-stamping authority, the command ``witness``, and the job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from service import witness_figures
from service.jobs import bodies
from service.metrics import Metrics
from tests.support.acting import happened, later
from tests.support.outside import configure, go, stir, trusting
from tests.support.tsa import Authority, Mood
from tests.support.vault import Installation
from tests.support.witness import Witness
from vault import outside, rounds
from vault.context import Vault
from vault.core import canonical
from vault.core.errors import Unavailable
from vault.jobs import Steps

MINUTE = 60_000_000


@pytest.fixture(scope="module")
def place(bare: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Vault]]:
    """A vault for the whole module; each test makes what lies outside afresh."""
    with bare.copied(tmp_path_factory.mktemp("stamped") / "home") as copy, copy.opened() as vault:
        yield copy, vault


@pytest.fixture
def vault(place: tuple[Installation, Vault]) -> Vault:
    site, vault = place
    stir(vault)
    for path in vault.checkpoints.outside(vault.events).glob("*"):
        path.unlink()
    (site.home / "witness.toml").unlink(missing_ok=True)
    return vault


@pytest.fixture
def site(place: tuple[Installation, Vault]) -> Installation:
    return place[0]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with Authority.opened(tmp_path_factory.mktemp("tsa")) as authority:
        yield authority


@pytest.fixture
def authority(shared: Authority) -> Iterator[Authority]:
    yield shared
    shared.mood, shared.signer = "well", "tsa"
    shared.asked.clear()


@pytest.fixture
def witness(vault: Vault) -> Iterator[Witness]:
    with Witness.opened(trusting(vault)) as witness:
        yield witness


def file(vault: Vault, size: int, suffix: str) -> Path:
    return vault.checkpoints.outside(vault.events) / f"{size:020d}.{suffix}"


def test_a_stamp_is_over_the_checkpoint_and_openssl_agrees(
    vault: Vault, site: Installation, witness: Witness, authority: Authority
) -> None:
    configure(site.home, [witness], [authority])
    made = go(vault)
    stamped, tsr = (file(vault, made.size, suffix).read_bytes() for suffix in ("stamped", "tsr"))
    assert authority.verify(tsr, stamped)
    note = file(vault, made.size, "note").read_bytes()
    assert note.startswith(stamped)  # the note has the witness's line more
    assert note.count(b"\n") == stamped.count(b"\n") + 1
    (told,) = happened(vault, "checkpoint.stamped")[-1:]
    assert told.facts["size"] == made.size
    assert told.facts["tsr"] == canonical.b64(sha256(tsr).digest())
    (found,) = outside.kept(vault, vault.events)
    assert found.stamp is not None
    assert (found.stamp.at, found.stamp.own) == (made.stamped, False)
    said = outside.assured(vault)
    assert (said.witnesses, said.authority) == ((witness.name,), "CN=Example tsa,O=Example,C=XX")
    assert (said.independent, said.stamped_at, said.problems) == (True, made.stamped, ())


def test_stamps_are_had_no_more_often_than_wanted(vault: Vault, site: Installation, authority: Authority) -> None:
    configure(site.home, [], [authority], stamp_every=20, alarm_after=60)
    assert go(vault).stamped is not None
    stir(vault)
    assert go(vault).stamped is None
    assert go(vault, stamp=True).stamped is not None
    assert go(later(vault, 19 * MINUTE)).stamped is None
    assert len(authority.asked) == 2


BAD_DAYS: dict[Mood, tuple[str, str]] = {
    "down": ("refused", "HTTP 503"),
    "redirects": ("refused", "HTTP 302"),
    "other nonce": ("nonce", "its nonce is not ours"),
    "other digest": ("digest", "over other bytes"),
    "refuses": ("refused", "refused (status 2)"),
    "garbage": ("unreadable", "no time-stamp response"),
    "huge": ("too_long", "longer than"),
}


@pytest.mark.parametrize("mood", BAD_DAYS)
def test_what_an_authority_does_not_do_is_said(
    vault: Vault, site: Installation, witness: Witness, authority: Authority, mood: Mood
) -> None:
    configure(site.home, [witness], [authority], fail="closed")
    authority.mood = mood
    code, words = BAD_DAYS[mood]
    made = go(vault)
    assert (made.witnesses, made.stamped) == ((witness.name,), None)
    (problem,) = made.problems
    assert words in problem
    assert "tsa-0" in problem
    assert happened(vault, "witness.failed")[-1].facts["code"] == code
    assert not file(vault, made.size, "tsr").exists()
    said = outside.assured(vault)
    assert said.stamped_at is None
    assert problem in said.problems
    with pytest.raises(Unavailable, match="no time-stamp was had within 60 minutes"):
        outside.require_met(vault)
    authority.mood = "well"
    stir(vault)
    assert go(vault).problems == ()
    outside.require_met(vault)


def test_the_next_authority_is_asked(vault: Vault, site: Installation, authority: Authority, tmp_path: Path) -> None:
    with Authority.opened(tmp_path / "second") as second:
        authority.mood = "down"
        configure(site.home, [], [authority, second])
        made = go(vault)
        assert made.stamped is not None
        (problem,) = made.problems
        assert "tsa-0" in problem


def test_an_expired_certificate_is_said(vault: Vault, site: Installation, authority: Authority) -> None:
    authority.certify("expired", days=("20200101000000Z", "20210101000000Z"))
    authority.signer = "expired"
    configure(site.home, [], [authority])
    (problem,) = go(vault).problems
    assert "certificate has expired" in problem


def test_our_clock_jumped(vault: Vault, site: Installation, authority: Authority) -> None:
    configure(site.home, [], [authority], fail="closed")
    made = go(later(vault, -2 * 3_600_000_000))
    (problem,) = made.problems
    assert "behind that of tsa-0" in problem
    assert abs((made.stamped or datetime.min.replace(tzinfo=UTC)) - datetime.now(UTC)) < timedelta(minutes=5)
    with pytest.raises(Unavailable, match="set the one that is wrong"):
        outside.require_met(vault)


def test_an_authority_of_ones_own_is_not_independent(vault: Vault, site: Installation, authority: Authority) -> None:
    configure(site.home, [], [authority], own=["tsa"])
    go(vault)
    assert not outside.assured(vault).independent
    told = outside.time_of(vault.checkpoints, vault.events, 0)
    assert told is not None
    assert not told.independent


def test_a_stamp_without_its_bytes_or_with_others_says_nothing(
    vault: Vault, site: Installation, authority: Authority
) -> None:
    configure(site.home, [], [authority])
    size = go(vault).size
    stamped = file(vault, size, "stamped")
    whole = stamped.read_bytes()
    stamped.unlink()
    assert outside.kept(vault, vault.events) == []
    assert vault.checkpoints.read(vault.events) is not None
    other = go(vault, stamp=True).size
    stamped.write_bytes(file(vault, other, "stamped").read_bytes())
    assert [one.size for one in outside.kept(vault, vault.events)] == [other]
    stamped.write_bytes(whole)
    assert [one.size for one in outside.kept(vault, vault.events)] == [size, other]


def test_the_command_says_what_came_of_it(
    vault: Vault, site: Installation, witness: Witness, authority: Authority
) -> None:
    ran = site.run("witness", "run")
    assert (ran.exit_code, "witness.toml" in ran.stderr) == (2, True)
    status = site.run("witness", "status")
    assert "nobody vouches for this vault" in status.stdout
    assert f"origin    {vault.checkpoints.origin(vault.events)}" in status.stdout
    assert f"key       {vault.checkpoints.verifier(vault.events)}" in status.stdout
    configure(site.home, [witness], [authority])
    ran = site.run("witness", "run")
    assert ran.exit_code == 0, ran.stderr
    assert f"cosigned by {witness.name}" in ran.stdout
    assert "stamped at 20" in ran.stdout
    told = json.loads(site.run("witness", "status", "--json").stdout)
    assert (told["witnesses"], told["independent"], told["problems"], told["unmet"]) == ([witness.name], True, [], [])
    assert told["stamped_at"]
    authority.mood = "down"
    stir(vault)
    ran = site.run("witness", "run", "--json")
    assert ran.exit_code == 5
    assert "HTTP 503" in ran.stderr
    assert json.loads(ran.stdout)["witnesses"] == [witness.name]
    stir(vault)
    witness.known[vault.checkpoints.origin(vault.events)] = (10_000, bytes(32))
    rounds.write(vault.checkpoints.outside(vault.events), rounds.Rounds())
    assert site.run("witness", "run", "--no-stamp").exit_code == 12
    assert "10000 events" in site.run("witness", "status").stdout


def test_the_job_goes_a_round_where_there_is_something_new(
    vault: Vault, site: Installation, witness: Witness, authority: Authority
) -> None:
    configure(site.home, [witness], [authority])

    ran = site.run("jobs", "run", "witness", "--json")
    assert ran.exit_code == 0, ran.stderr
    assert (json.loads(ran.stdout)["witnesses"], json.loads(ran.stdout)["stamped"]) == (1, 1)
    assert bodies.witness(vault, Steps()) == {}  # a quiet job: no counts, no event
    assert len(witness.asked) == 1
    stir(vault)
    authority.mood = "down"
    rounds.write(vault.checkpoints.outside(vault.events), rounds.Rounds())  # and so a stamp is due
    with pytest.raises(Unavailable, match="HTTP 503"):
        bodies.witness(vault, Steps())
    assert "HTTP 503" in site.run("witness", "status").stdout


def test_figures_say_when_and_whether_it_is_enough(
    vault: Vault, site: Installation, witness: Witness, authority: Authority
) -> None:
    metrics = Metrics(site.home)
    metrics.outside(witness_figures.read(vault))
    assert b"reasonvault_outside" not in metrics.render()[0]
    configure(site.home, [witness], [authority])
    authority.mood = "down"
    go(vault)
    told = witness_figures.read(vault)
    assert told is not None
    assert (told.stamped, told.unmet, told.problems) == (0.0, 1, 2)
    assert told.witnessed
    authority.mood = "well"
    made = go(vault, stamp=True)
    metrics.outside(witness_figures.read(vault))
    figures = metrics.render()[0].decode()
    assert made.stamped is not None
    (line,) = [one for one in figures.splitlines() if one.startswith("reasonvault_stamped_timestamp_seconds ")]
    assert float(line.split()[1]) == made.stamped.timestamp()
    assert "reasonvault_outside_unmet 0.0" in figures
    (site.home / "witness.toml").write_text("quorom = 1")  # figures go on where a setting is wrong
    assert witness_figures.read(vault) is None
