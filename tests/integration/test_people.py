"""People: accounts, logins and lock-out; who somebody is stands in sealed details and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher

from service.accounts import MIN_PASSWORD, Accounts
from tests.support.acting import VERIFIER, granted, happened, hire, last, later, recorded, stored
from tests.support.vault import Installation
from vault import ledgers, people, reading, trace
from vault.context import Actor, Vault
from vault.core import canonical
from vault.core.errors import Denied, Unavailable, UsageError
from vault.core.standing import LOCKED_AFTER, LOCKED_FOR

NAME, PASSWORD = "Anna Wáng 王", "correct horse staple"
WRONG = "another password of nobody"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def accounts(installation: Installation) -> Accounts:
    return Accounts(installation.home, CHEAP)


def _wrong(vault: Vault, accounts: Accounts, name: str = NAME, password: str = WRONG) -> None:
    with pytest.raises(Denied, match=r"^wrong name or password$"):
        accounts.login(vault, name, password)


def _code(vault: Vault) -> str:
    return str(last(vault, "login.failed").facts["code"])


def test_the_right_password_lets_in(vault: Vault, accounts: Accounts) -> None:
    made = accounts.add(vault, NAME, ("auditor",), PASSWORD)
    actor = accounts.login(vault, NAME, PASSWORD)
    assert (actor.name, actor.roles, actor.generation) == (made.id, {"auditor"}, made.generation)
    assert not actor.break_glass
    assert last(vault, "login.succeeded").actor == made.id


def test_every_wrong_login_is_answered_alike_and_told_apart_in_the_events(vault: Vault, accounts: Accounts) -> None:
    accounts.add(vault, NAME, ("auditor",), PASSWORD)
    _wrong(vault, accounts)
    assert _code(vault) == "password"
    for name, password in (("Nobody", PASSWORD), ("x" * 5000, PASSWORD), (NAME, "y" * 5000), (NAME, ""), ("", "")):
        _wrong(vault, accounts, name, password)
    people.disable(vault, NAME)
    _wrong(vault, accounts, NAME, PASSWORD)
    assert _code(vault) in ("disabled", "locked")
    assert len(happened(vault, "login.failed")) == 7
    assert happened(vault, "login.succeeded") == []


def test_a_disabled_account_opens_nothing(vault: Vault, accounts: Accounts) -> None:
    accounts.add(vault, NAME, ("auditor",), PASSWORD)
    actor = accounts.login(vault, NAME, PASSWORD)
    granted(vault, actor, hire(vault, "olaf", "officer"), ["cn"])
    person = people.disable(vault, NAME)
    assert person == actor.name
    _wrong(vault, accounts, NAME, PASSWORD)
    assert _code(vault) == "disabled"
    assert actor.roles_by(vault.register.standing()) == frozenset()
    with pytest.raises(Denied, match="the role auditor is missing"):
        reading.read(vault.acting(actor), ledgers.get(vault, "cn"), "dec-3", "")
    with pytest.raises(UsageError, match="no account of that name is enabled"):
        people.disable(vault, NAME)
    with pytest.raises(UsageError):
        people.disable(vault, "Nobody")


def test_many_wrong_passwords_lock_the_account_and_time_opens_it(vault: Vault, accounts: Accounts) -> None:
    accounts.add(vault, NAME, ("auditor",), PASSWORD)
    for _ in range(LOCKED_AFTER):
        _wrong(vault, accounts)
    _wrong(vault, accounts, NAME, PASSWORD)
    assert _code(vault) == "locked"
    almost = later(vault, LOCKED_FOR - 2_000_000)
    assert people.locked(almost, people.person_id(vault, people.LOCAL, NAME))
    assert accounts.login(later(vault, LOCKED_FOR + 1_000_000), NAME, PASSWORD).roles == {"auditor"}
    assert not people.locked(vault, people.person_id(vault, people.LOCAL, NAME))


def test_a_right_password_that_came_too_late_does_not_unlock(vault: Vault, accounts: Accounts) -> None:
    """Between the look and the decision others failed: the decision counts."""
    made = accounts.add(vault, NAME, ("auditor",), PASSWORD)
    for _ in range(LOCKED_AFTER):
        people.login_failed(vault, made.id, "password")
    with pytest.raises(Denied):
        people.login_succeeded(vault, made.id, made.verifier)
    assert _code(vault) == "locked"


def test_a_locked_account_takes_as_long_as_any_other(installation: Installation, vault: Vault) -> None:
    """Else whoever tries would learn from the time that there is such an account."""
    hasher = _Counting(time_cost=1, memory_cost=8, parallelism=1)
    accounts = Accounts(installation.home, hasher)
    accounts.add(vault, NAME, ("auditor",), PASSWORD)
    for number in range(LOCKED_AFTER + 2):
        _wrong(vault, accounts)
        assert hasher.tried == number + 1
    assert _code(vault) == "locked"
    _wrong(vault, accounts, "Nobody")
    assert hasher.tried == LOCKED_AFTER + 3


class _Counting(PasswordHasher):
    tried = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:
        self.tried += 1
        return super().verify(hash, password)


def test_without_its_event_a_new_password_replaces_nothing(
    installation: Installation, vault: Vault, accounts: Accounts
) -> None:
    accounts.add(vault, NAME, ("auditor",), PASSWORD)
    with installation.tampering() as connection:
        connection.execute("REVOKE INSERT ON vault.entry FROM reasonvault_app")
    with pytest.raises((Unavailable, UsageError)):
        accounts.add(vault, NAME, ("auditor",), "another password")
    with installation.tampering() as connection:
        connection.execute("GRANT INSERT ON vault.entry TO reasonvault_app")
    _wrong(vault, accounts, NAME, "another password")
    assert accounts.login(vault, NAME, PASSWORD).roles == {"auditor"}
    made = accounts.add(vault, NAME, ("officer",), "a third password")
    assert accounts.login(vault, NAME, "a third password").roles == {"officer"}
    assert [path.name for path in (installation.home / "accounts").iterdir()] == [made.id]


def test_a_crash_after_the_event_leaves_the_new_password(
    installation: Installation, vault: Vault, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.add(vault, NAME, ("auditor",), PASSWORD)
    with monkeypatch.context() as crashed:
        crashed.setattr(Accounts, "_settle", lambda *_: None)
        made = accounts.add(vault, NAME, ("auditor",), "another password")
    _wrong(vault, accounts, NAME, PASSWORD)
    assert accounts.login(vault, NAME, "another password").name == made.id
    with installation.tampering() as connection:
        connection.execute("REVOKE INSERT ON vault.entry FROM reasonvault_app")
    with pytest.raises((Unavailable, UsageError)):  # and what comes next does not take it away
        accounts.add(vault, NAME, ("auditor",), "a third password")
    with installation.tampering() as connection:
        connection.execute("GRANT INSERT ON vault.entry TO reasonvault_app")
    assert accounts.login(vault, NAME, "another password").name == made.id


def test_an_exchanged_password_file_opens_nothing(installation: Installation, vault: Vault, accounts: Accounts) -> None:
    """Whoever writes to the home puts in a hash of a password they know: the event knows another one."""
    made = accounts.add(vault, NAME, ("auditor",), PASSWORD)
    other = accounts.add(vault, "mallory", ("operator",), "a password of mallory")
    folder = installation.home / "accounts"
    kept = (folder / made.id).read_text()
    for forged in (CHEAP.hash("a password of mallory"), (folder / other.id).read_text(), "", "$argon2id$nonsense"):
        (folder / made.id).write_text(forged)
        _wrong(vault, accounts, NAME, "a password of mallory")
        _wrong(vault, accounts, NAME, PASSWORD)
        people.add(vault, "other", ("auditor",), VERIFIER)
        recorded(vault, Actor(made.id, break_glass=False), "login.succeeded", person=made.id)  # so that none is locked
    (folder / made.id).write_text(kept)
    assert accounts.login(vault, NAME, PASSWORD).name == made.id
    (folder / made.id).unlink()
    _wrong(vault, accounts, NAME, PASSWORD)
    (folder / made.id).write_bytes(b"\xff\xfe")
    with pytest.raises(Unavailable, match="a file of the accounts"):
        accounts.login(vault, NAME, PASSWORD)


def test_a_former_password_file_opens_nothing(installation: Installation, vault: Vault, accounts: Accounts) -> None:
    made = accounts.add(vault, NAME, ("auditor",), PASSWORD)
    former = (installation.home / "accounts" / made.id).read_text()
    first = accounts.login(vault, NAME, PASSWORD)
    accounts.add(vault, NAME, ("officer",), "another password")
    (installation.home / "accounts" / made.id).write_text(former)
    _wrong(vault, accounts, NAME, PASSWORD)
    assert first.roles_by(vault.register.standing()) == frozenset(), "a token of the account as it was"


def test_the_event_holds_a_digest_of_the_hash_that_the_file_holds(
    installation: Installation, vault: Vault, accounts: Accounts
) -> None:
    made = accounts.add(vault, NAME, ("auditor",), PASSWORD)
    path = installation.home / "accounts" / made.id
    assert canonical.unb64(made.verifier, 32) == hashlib.sha256(path.read_bytes()).digest()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert PASSWORD not in path.read_text()


def test_who_somebody_is_stands_nowhere_in_clear(installation: Installation, vault: Vault, accounts: Accounts) -> None:
    made = accounts.add(vault, NAME, ("auditor",), PASSWORD)
    accounts.login(vault, NAME, PASSWORD)
    met = people.meet(vault, "https://id.example", "sub-lin-4711", "Lin Met")
    everything = stored(installation)
    for secret in (NAME, "Anna", "sub-lin-4711", "Lin Met", "id.example", PASSWORD, made.verifier[::-1]):
        assert secret not in everything, secret
        assert secret.encode().hex() not in everything
    assert [(one.name, one.person.id) for one in people.listing(vault)] == [(NAME, made.id)]
    details = trace.details(vault, [last(vault, "person.known").seq])
    assert list(details.values()) == [{"issuer": "https://id.example", "subject": "sub-lin-4711", "name": "Lin Met"}]
    assert met != people.person_id(vault, people.LOCAL, "sub-lin-4711")


def test_somebody_is_met_once_and_keeps_the_id(installation: Installation, vault: Vault) -> None:
    first = people.meet(vault, "https://id.example", "lin", "Lin")
    with installation.opened() as other:
        assert people.meet(other, "https://id.example", "lin", "Lin after a wedding") == first
    assert len(happened(vault, "person.known")) == 1
    others = {people.meet(vault, "https://id.example", "li", "n"), people.meet(vault, "https://id.exampl", "elin", "")}
    assert len(others | {first}) == 3
    assert first.startswith("p-")
    assert len(first) == 18


@pytest.mark.parametrize(
    ("name", "roles", "words"),
    [
        ("", ("auditor",), "printable line"),
        ("  ", ("auditor",), "printable line"),
        ("two\nlines", ("auditor",), "printable line"),
        ("x" * 201, ("auditor",), "printable line"),
        (NAME, (), "one or more of the roles"),
        (NAME, ("root",), "one or more of the roles"),
        (NAME, ("operator", "auditor"), "an operator reads nothing"),
        (NAME, ("operator", "officer"), "an operator reads nothing"),
    ],
)
def test_accounts_that_cannot_be(
    installation: Installation, vault: Vault, accounts: Accounts, name: str, roles: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        accounts.add(vault, name, roles, PASSWORD)
    assert happened(vault, "user.added") == []
    assert not (installation.home / "accounts").exists()


def test_a_password_is_long_enough(vault: Vault, accounts: Accounts) -> None:
    for password in ("x" * (MIN_PASSWORD - 1), "x" * 1025, ""):
        with pytest.raises(UsageError, match="a password has"):
            accounts.add(vault, NAME, ("auditor",), password)
    accounts.add(vault, NAME, ("auditor",), "x" * MIN_PASSWORD)


@pytest.mark.parametrize("role", ["auditor", "officer", "operator"])
def test_people_make_no_people(vault: Vault, accounts: Accounts, role: str) -> None:
    acting = vault.acting(hire(vault, "somebody", role))
    with pytest.raises(Denied, match="passphrase"):
        accounts.add(acting, NAME, ("officer",), PASSWORD)
    with pytest.raises(Denied, match="passphrase"):
        people.disable(acting, "somebody")
    assert len(happened(vault, "user.added")) == 1


def test_without_the_event_nobody_is_let_in(installation: Installation, vault: Vault, accounts: Accounts) -> None:
    accounts.add(vault, NAME, ("auditor",), PASSWORD)
    with installation.tampering() as connection:
        connection.execute("REVOKE INSERT ON vault.entry FROM reasonvault_app")
    for password in (PASSWORD, "wrong password"):
        with pytest.raises((Unavailable, UsageError)):
            accounts.login(vault, NAME, password)
