"""Rounds with real witnesses over HTTP: what is kept, what is told, and what each bad day comes to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.acting import happened, later
from tests.support.outside import configure, go, stir, trusting
from tests.support.vault import Installation
from tests.support.witness import Answer, Witness
from vault import ledgers, outside, outsidefiles, rounds, witnessing
from vault.context import Vault
from vault.core.errors import Forked, Unavailable


@pytest.fixture(scope="module")
def place(bare: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Vault]]:
    """A vault for the whole module; each test makes what lies outside afresh."""
    with bare.copied(tmp_path_factory.mktemp("witnessed") / "home") as copy, copy.opened() as vault:
        yield copy, vault


@pytest.fixture
def vault(place: tuple[Installation, Vault]) -> Vault:
    _, vault = place
    stir(vault)
    for path in vault.checkpoints.outside(vault.events).glob("*"):
        path.unlink()
    (place[0].home / "witness.toml").unlink(missing_ok=True)
    return vault


@pytest.fixture
def home(place: tuple[Installation, Vault]) -> Path:
    return place[0].home


@pytest.fixture
def witness(vault: Vault) -> Iterator[Witness]:
    with Witness.opened(trusting(vault)) as witness:
        yield witness


def kept(vault: Vault) -> list[outside.Outside]:
    return outside.kept(vault, vault.events)


def test_a_witness_sees_the_log_grow_and_what_it_says_is_kept(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])
    made = [go(vault)]
    stir(vault, 3)
    made.append(go(vault))
    assert [one.problems for one in made] == [(), ()]
    assert [one.size for one in kept(vault)] == [one.size for one in made]
    for one in kept(vault):
        (cosigned,) = one.cosignatures
        assert (cosigned.name, cosigned.own) == (witness.name, False)
        assert abs((cosigned.at - datetime.now(UTC)).total_seconds()) < 60
        assert vault.checkpoints.open(vault.events, one.note).root == one.root
    assert witness.known == {vault.checkpoints.origin(vault.events): (made[1].size, kept(vault)[1].root)}
    assert witness.asked[1].startswith(f"old {made[0].size}\n".encode())
    told = happened(vault, "checkpoint.witnessed")[-2:]
    assert [(one.facts["size"], one.facts["witnesses"]) for one in told] == [(one.size, [witness.name]) for one in made]


def test_one_origin_vouches_for_every_ledger(vault: Vault, home: Path, witness: Witness) -> None:
    """What is witnessed of the events holds the anchor of the other ledgers."""
    name = f"l{vault.clock()}"
    made = ledgers.create(vault, name, ("HK",), ())
    configure(home, [witness])
    round_ = go(vault)
    told = [one for one in happened(vault, "checkpoint.anchored") if one.facts["ledger"] == str(made.id)]
    assert [one.facts["size"] for one in told] == [1]
    assert told[0].seq < round_.size


def test_the_covering_checkpoint_is_the_first_above_the_entry(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])
    first = go(vault).size
    stir(vault)
    second = go(vault).size
    places = [(0, first), (first - 1, first), (first, second), (second - 1, second), (second, None)]
    for seq, size in places:
        found = outside.covering(vault, vault.events, seq)
        assert (found and found.size) == size
    told = outside.time_of(vault.checkpoints, vault.events, first)
    assert told is not None
    assert (told.size, told.by, told.independent) == (second, (witness.name,), True)
    assert outside.time_of(vault.checkpoints, vault.events, second) is None


def test_a_witness_of_ones_own_is_never_independent(vault: Vault, home: Path, witness: Witness) -> None:
    with Witness.opened(trusting(vault), "own.example/w") as own:
        configure(home, [own], own=[own.name])
        go(vault)
        assert not outside.assured(vault).independent
        first = outside.time_of(vault.checkpoints, vault.events, 0)
        assert (first and first.independent, first and first.by) == (False, (own.name,))
        stir(vault)
        configure(home, [own, witness], own=[own.name])
        made = go(vault)
        found = outside.time_of(vault.checkpoints, vault.events, 0)
        assert found is not None
        assert (found.independent, found.by, found.size) == (True, (witness.name,), made.size)
        assert set(outside.assured(vault).witnesses) == {own.name, witness.name}
        assert outside.assured(vault).independent


def refusing(status: int) -> Any:
    return lambda _honest: (status, "text/plain", b"no")


LINE = "\N{EM DASH} ".encode() + b"%s AAAAAAAA\n"
BAD_ANSWERS = {
    "400": (refusing(400), "bad_request", "HTTP 400"),
    "403": (refusing(403), "forbidden", "does not trust the key"),
    "404": (refusing(404), "unknown_log", "does not know this vault's origin"),
    "422": (refusing(422), "inconsistent", "does not continue the one that it saw"),
    "500": (refusing(500), "refused", "HTTP 500"),
    "redirect": (refusing(302), "refused", "HTTP 302"),
    "409 without a size": (refusing(409), "conflict", "does not say which"),
    "garbage": (lambda _honest: (200, "text/html", b"<html>\xff"), "garbage", "no lines of a note"),
    "half a line": (lambda honest: (200, "", honest()[2][:-1]), "garbage", "no lines of a note"),
    "nothing": (lambda _honest: (200, "text/plain", b""), "bad_cosignature", "no line of its key"),
    "a line of somebody else": (lambda _honest: (200, "", LINE % b"x" * 2), "bad_cosignature", "no line of its key"),
    "too long": (lambda _honest: (200, "text/plain", b"x" * 300_000), "too_long", "longer than"),
    "conflict": (lambda _honest: (409, "text/x.tlog.size", b"1\n"), "conflict", "another size than it said before"),
}


@pytest.mark.parametrize("day", BAD_ANSWERS)
def test_what_a_witness_does_not_do_is_said(vault: Vault, home: Path, witness: Witness, day: str) -> None:
    instead, code, words = BAD_ANSWERS[day]
    witness.instead = instead
    configure(home, [witness])
    before = len(happened(vault, "witness.failed"))
    made = go(vault)
    assert len(made.problems) == 1
    assert words in made.problems[0]
    assert witness.name in made.problems[0]
    assert kept(vault) == []
    # Once, not at each round; and reports say it as long as it lasts.
    stir(vault)
    go(vault)
    told = happened(vault, "witness.failed")[before:]
    assert [one.facts["code"] for one in told] == [code]
    assert any(words in one for one in outside.assured(vault).problems)
    witness.instead = None
    stir(vault)
    assert go(vault).problems == ()
    assert outside.assured(vault).problems == ()


def test_a_cosignature_by_another_key_or_over_another_text_is_none(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])

    def text() -> bytes:
        return witness.asked[-1].partition(b"\n\n")[2].rpartition(b"\n\n")[0] + b"\n"

    stranger = Ed25519PrivateKey.generate()
    witness.instead = lambda _honest: (200, "", witness.line(text(), key=stranger))
    (problem,) = go(vault).problems
    assert "does not verify" in problem
    # What it signed really is a note, of its own: ours, its signature, and a line more.
    witness.instead = lambda _honest: (200, "", b"x\n\n" + witness.line(_longer(witness.asked[-1])))
    (problem,) = go(vault).problems
    assert "a text of its own" in problem
    witness.instead = lambda _honest: (200, "", witness.line(text(), at=2**62))
    (problem,) = go(vault).problems
    assert "no calendar has" in problem
    assert kept(vault) == []


def _longer(body: bytes) -> bytes:
    return body.partition(b"\n\n")[2] + b"x\n"


def test_nobody_answers(vault: Vault, home: Path) -> None:
    with Witness.opened(trusting(vault)) as gone:
        configure(home, [gone])
    (problem,) = go(vault).problems
    assert "cannot be reached" in problem


def test_an_answer_that_never_ends_is_given_up(vault: Vault, home: Path, witness: Witness) -> None:
    def slow(honest: Any) -> Answer:
        time.sleep(0.4)
        answer: Answer = honest()
        return answer

    witness.instead = slow
    configure(home, [witness])
    (problem,) = go(vault, timeout=0.1).problems
    assert "no answer within 0.1 seconds" in problem


def test_the_others_are_kept_where_one_fails(vault: Vault, home: Path, witness: Witness) -> None:
    with Witness.opened(trusting(vault), "witness.example/w2") as other:
        other.instead = refusing(422)
        configure(home, [other, witness], quorum=1, fail="closed")
        assert go(vault).witnesses == (witness.name,)
        outside.require_met(vault)
        configure(home, [other, witness], quorum=2, fail="closed")
        with pytest.raises(Unavailable, match="1 of 2 witnesses cosigned within 60 minutes"):
            outside.require_met(vault)
        configure(home, [other, witness], quorum=2)
        outside.require_met(vault)
        assert "1 of 2 witnesses cosigned within 60 minutes" in outside.assured(vault).problems


def test_a_witness_that_forgot_nothing_is_met_where_it_stands(vault: Vault, home: Path, witness: Witness) -> None:
    """We lost our memory of it: it answers 409 with its size, and gets the proof from there."""
    configure(home, [witness])
    first = go(vault)
    stir(vault, 2)
    rounds.write(vault.checkpoints.outside(vault.events), rounds.Rounds())
    second = go(vault)
    assert (second.problems, second.witnesses) == ((), (witness.name,))
    assert [body.split(b"\n", 1)[0] for body in witness.asked] == [
        b"old 0",
        b"old 0",
        f"old {first.size}".encode(),
    ]


def test_a_witness_that_lost_its_memory_begins_anew(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])
    go(vault)
    witness.known.clear()
    stir(vault)
    assert go(vault).problems == ()


def test_a_witness_that_saw_more_than_there_is_means_forked(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])
    go(vault)
    origin = vault.checkpoints.origin(vault.events)
    witness.known[origin] = (10_000, bytes(32))
    stir(vault)
    with Witness.opened(trusting(vault), "witness.example/w2") as other:
        configure(home, [witness, other])
        with pytest.raises(Forked, match="says that it cosigned 10000 events of this vault"):
            go(vault)
        assert other.known  # the others were asked all the same
    assert happened(vault, "witness.failed")[-1].facts["code"] == "forked"
    assert any("10000 events" in one for one in outside.assured(vault).problems)


def test_a_witness_that_saw_another_tree_of_this_size_means_forked(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])
    origin = vault.checkpoints.origin(vault.events)
    signed = vault.checkpoints.read(vault.events)
    assert signed is not None
    witness.known[origin] = (signed.size, bytes(32))
    with pytest.raises(Forked, match="another tree"):
        go(vault)


def test_a_witness_of_another_history_refuses_ours(vault: Vault, home: Path, witness: Witness) -> None:
    """It really compares: a root that is not ours, at a size that is."""
    witness.known[vault.checkpoints.origin(vault.events)] = (2, bytes(32))
    configure(home, [witness])
    (problem,) = go(vault).problems
    assert "HTTP 422" in problem


def test_a_rotated_key_needs_the_witness_to_know_it(vault: Vault, home: Path, witness: Witness) -> None:
    witness.logs = {origin: [] for origin in witness.logs}
    configure(home, [witness])
    (problem,) = go(vault).problems
    assert "HTTP 403" in problem


def test_a_clock_that_jumped_is_said(vault: Vault, home: Path, witness: Witness) -> None:
    witness.clock = lambda: time.time() - 3600
    configure(home, [witness], fail="closed")
    (problem,) = go(vault).problems
    assert "seconds ahead of that of witness.example/w1" in problem
    assert len(kept(vault)) == 1  # what it says still counts
    with pytest.raises(Unavailable, match="clock"):
        outside.require_met(vault)
    witness.clock = time.time
    stir(vault)
    assert go(vault).problems == ()
    outside.require_met(vault)


def test_a_round_is_no_reason_for_the_next(vault: Vault, home: Path, witness: Witness) -> None:
    assert not witnessing.is_due(vault)  # nobody is asked
    configure(home, [witness])
    assert witnessing.is_due(vault)
    go(vault)
    assert not witnessing.is_due(vault)
    assert witnessing.is_due(later(vault, 31 * 60 * 1_000_000))  # a sign of life, before the alarm
    stir(vault)
    assert witnessing.is_due(vault)


def test_a_ledger_that_grew_is_a_reason(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])
    go(vault)
    assert not witnessing.is_due(vault)
    ledgers.create(vault, f"m{vault.clock()}", ("HK",), ())
    assert witnessing.is_due(vault)


def test_who_failed_is_asked_again_after_some_minutes(vault: Vault, home: Path, witness: Witness) -> None:
    witness.instead = refusing(500)
    configure(home, [witness])
    go(vault)
    assert not witnessing.is_due(vault)
    assert witnessing.is_due(later(vault, 5 * 60 * 1_000_000))


def test_old_evidence_is_an_alarm(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness], alarm_after=40, fail="closed")
    go(vault)
    outside.require_met(later(vault, 39 * 60 * 1_000_000))
    with pytest.raises(Unavailable, match="0 of 1 witnesses cosigned within 40 minutes; run 'reasonvault witness run'"):
        outside.require_met(later(vault, 41 * 60 * 1_000_000))


def test_a_damaged_file_says_nothing_and_is_named(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])
    size = go(vault).size
    path = vault.checkpoints.outside(vault.events) / f"{size:020d}.note"
    whole = path.read_text()
    line = whole.splitlines()[-1]
    path.write_text(whole.replace(line, line.replace("A", "B")))
    assert kept(vault) == []
    path.write_text(whole.replace(str(size), str(size + 1), 1))
    assert kept(vault) == []
    path.unlink()
    assert f"the checkpoint of {size} events was cosigned, and the file that shows it is gone" in (
        outside.assured(vault).problems
    )


def test_a_vault_that_was_set_back_is_named(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])
    size = go(vault).size
    folder = vault.checkpoints.outside(vault.events)
    (folder / f"{size:020d}.note").rename(folder / f"{size + 1000:020d}.note")
    assert any("it was set back" in one for one in outside.assured(vault).problems)
    assert kept(vault) == []  # a checkpoint of another size than its name says proves nothing about that size


def test_a_retired_witness_still_counts_for_what_it_said(vault: Vault, home: Path, witness: Witness) -> None:
    configure(home, [witness])
    go(vault)
    text = (home / "witness.toml").read_text()
    (home / "witness.toml").write_text(text.replace(witness.url, ""))
    assert len(kept(vault)) == 1
    assert not vault.checkpoints.policy().active
    (home / "witness.toml").write_text("")
    assert kept(vault) == []


def test_a_second_cosignature_of_a_size_does_not_replace_the_first(vault: Vault, home: Path, witness: Witness) -> None:
    """A crash between keeping and telling: the ledger did not move, and the witness signs the same tree later."""
    configure(home, [witness])
    size = go(vault).size
    (before,) = kept(vault)
    witness.clock = lambda: time.time() + 100
    note = outsidefiles.read_note(vault.checkpoints, vault.events, size) or ""
    going = witnessing._Going(vault, vault.checkpoints.policy(), lambda *_: pytest.fail("nobody is asked"))
    going._note, going.checkpoint = (
        (note or "").rsplit("\N{EM DASH} ", 1)[0],
        vault.checkpoints.open(vault.events, note or ""),
    )
    text = (note or "").rpartition("\n\n")[0] + "\n"
    going._keep_line(going._verified(vault.checkpoints.policy().witnesses[0], witness.line(text.encode())))
    (after,) = kept(vault)
    assert (before.cosignatures, before.note) == (after.cosignatures, after.note)
