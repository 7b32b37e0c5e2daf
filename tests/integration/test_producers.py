"""Producers: keys shown once, kept as digests, bound to ledgers, and of no use from the moment they are revoked."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator

import pytest

from tests.support.acting import happened, hire, keyed, last, stored
from tests.support.decisions import decision, spelled
from tests.support.vault import Installation
from vault import ledgers, producers
from vault.context import Vault
from vault.core import canonical
from vault.core.errors import Denied, UsageError
from vault.core.standing import ProducerKey
from vault.recordline import RecordLine
from vault.settlement import Answer
from vault.settling import Status


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


def _line(vault: Vault, name: str = "cn") -> RecordLine:
    return RecordLine(vault, ledgers.get(vault, name), lambda _group: None)


def _statuses(line: RecordLine, key: ProducerKey, *numbers: int) -> list[Status]:
    answers = line.take([(at, spelled(decision(at))) for at in numbers], key)
    return [one.result.status for one in answers if isinstance(one, Answer)]


def test_a_key_is_shown_once_and_kept_as_a_digest(installation: Installation, vault: Vault) -> None:
    key, secret = producers.add(vault, "psp-1", [ledgers.get(vault, "cn")], os.urandom)
    assert re.fullmatch(rf"rvk_{key}_[A-Za-z0-9_-]{{43}}", secret)
    told = last(vault, "producer.added")
    assert told.facts["digest"] == canonical.b64(hashlib.sha256(secret[-43:].encode()).digest())
    everything = stored(installation)
    assert secret[-43:] not in everything
    assert secret[-43:].encode().hex() not in everything
    found = producers.authenticate(vault.register.standing(), secret)
    assert isinstance(found, ProducerKey)
    assert (found.id, found.producer, found.ledgers) == (key, "psp-1", {str(installation.ledger("cn"))})


def test_wrong_keys_are_told_apart_in_the_events_only(vault: Vault) -> None:
    key, secret = producers.add(vault, "psp-1", [ledgers.get(vault, "cn")], os.urandom)
    standing = vault.register.standing()
    other = "A" if secret[-1] != "A" else "B"
    assert producers.authenticate(standing, secret[:-1] + other) == "unknown"
    assert producers.authenticate(standing, secret.replace(key, "b" * 10)) == "unknown"
    for malformed in ("", "rvk_", secret[:-1], secret + "A", secret.upper(), f" {secret}", f"{secret}\n", "rvk_ü"):
        assert producers.authenticate(standing, malformed) == "malformed"
    producers.revoke(vault, key)
    assert producers.authenticate(vault.register.standing(), secret) == "revoked"
    assert producers.authenticate(vault.register.standing(), secret[:-1] + other) == "unknown"


def test_nothing_is_taken_under_a_revoked_key(installation: Installation, vault: Vault) -> None:
    key, line, size = keyed(vault, "psp-1", "cn"), _line(vault), installation.size("cn")
    taken = line.take([(1, spelled(decision(801)))], key)
    assert [one.result.status for one in taken if isinstance(one, Answer)] == [Status.ACCEPTED]
    producers.revoke(vault, key.id)
    (answer,) = line.take([(1, spelled(decision(802)))], key)
    assert isinstance(answer, Denied)
    assert str(answer) == "this producer key is revoked"
    assert installation.size("cn") == size + 1


def test_a_key_is_for_its_ledgers_only(vault: Vault) -> None:
    key = keyed(vault, "psp-1", "cn")
    (answer,) = _line(vault, "sg").take([(1, spelled(decision(801)))], key)
    assert isinstance(answer, Denied)
    both = keyed(vault, "psp-1", "cn", "sg", "cn")
    assert len(both.ledgers) == 2
    (answer,) = _line(vault, "sg").take([(1, spelled(decision(801)))], both)
    assert isinstance(answer, Answer)


def test_one_key_after_the_other_without_a_gap(vault: Vault) -> None:
    first, second = keyed(vault, "psp-1", "cn"), keyed(vault, "psp-1", "cn")
    line = _line(vault)
    line.take([(1, spelled(decision(801)))], first)
    producers.revoke(vault, first.id)
    (answer,) = line.take([(1, spelled(decision(802)))], second)
    assert isinstance(answer, Answer)
    assert answer.result.status is Status.ACCEPTED


def test_who_sent_a_record_is_who_the_key_belongs_to(vault: Vault) -> None:
    key, line = keyed(vault, "psp-9", "cn"), _line(vault)
    line.take([(1, spelled(decision(801))), (2, b"{}")], key)
    refused = last(vault, "record.refused")
    assert (refused.actor, refused.facts["producer"]) == ("producer:psp-9", "psp-9")


def test_a_key_that_is_not_in_force_is_not_revoked_again(vault: Vault) -> None:
    key = keyed(vault, "psp-1", "cn")
    producers.revoke(vault, key.id)
    for wrong in (key.id, "nnnnnnnnnn", ""):
        with pytest.raises(UsageError, match="no key of this id is in force"):
            producers.revoke(vault, wrong)
    assert len(happened(vault, "producer.revoked")) == 1


def test_keys_that_cannot_be(vault: Vault) -> None:
    cn = ledgers.get(vault, "cn")
    for name in ("", "a b", "ü", "x" * 65, "a\n"):
        with pytest.raises(UsageError, match="a producer is a word"):
            producers.add(vault, name, [cn], os.urandom)
    with pytest.raises(UsageError, match="at least one"):
        producers.add(vault, "psp-1", [], os.urandom)
    assert happened(vault, "producer.added") == []


@pytest.mark.parametrize("role", ["auditor", "officer", "operator"])
def test_people_give_no_keys(vault: Vault, role: str) -> None:
    acting, key = vault.acting(hire(vault, "somebody", role)), keyed(vault, "psp-1", "cn")
    with pytest.raises(Denied, match="passphrase"):
        producers.add(acting, "psp-2", [ledgers.get(vault, "cn")], os.urandom)
    with pytest.raises(Denied, match="passphrase"):
        producers.revoke(acting, key.id)
