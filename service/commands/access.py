"""``producer``, ``user`` and ``grant``: who may send, who may log in, and what may be opened.

Keys and accounts are given by whoever holds the passphrase. Grants are asked for and approved by people who log in with
``--user``: the passphrase makes nobody a second person.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from service import home as homes
from service.accounts import Accounts
from service.commands.moments import MOMENT, instant, microseconds, perhaps_microseconds
from service.commands.words import WORDS
from service.routes.grants import view
from service.terminal import Commands, opened_vault, say
from vault import grants, ledgers, people, producers
from vault.context import Vault
from vault.core.errors import UsageError
from vault.core.grant import ROLES
from vault.grants import Told


@click.group(cls=Commands)
def producer() -> None:
    """Payment services that may append, known by their keys."""


@producer.command("add")
@click.argument("name")
@click.option("--ledger", "names", multiple=True, required=True, help="A ledger the key is for; repeat it.")
def add_producer(name: str, names: tuple[str, ...]) -> None:
    """Give a producer a key, and print it once. A second key beside the first is how keys are changed."""
    with opened_vault() as vault:
        into = [ledgers.get(vault, one) for one in dict.fromkeys(names)]
        key, secret = producers.add(vault, name, into, os.urandom)
    words = f"{secret}\nThis is the only time the key is shown. Its id is {key}."
    say(words, {"producer": name, "id": key, "key": secret, "ledgers": [str(one.id) for one in into]})


@producer.command("list")
def list_producers() -> None:
    """List the keys: whose they are, what for, and whether they are in force."""
    with opened_vault() as vault:
        found = sorted(vault.register.standing().producers.values(), key=lambda one: (one.producer, one.added_at))
        names = {str(one.id): one.row.name for one in ledgers.listing(vault)}
    rows = [
        {
            "producer": one.producer,
            "id": one.id,
            "ledgers": sorted(names.get(ledger, ledger) for ledger in one.ledgers),
            "added_at": instant(one.added_at),
            "revoked_at": None if one.revoked_at is None else instant(one.revoked_at),
        }
        for one in found
    ]
    words = [
        f"{row['id']}  {'revoked' if row['revoked_at'] else 'in force'}  {row['producer']:<24} "
        f"{','.join(one for one in _listed(row['ledgers']))}"
        for row in rows
    ]
    say("\n".join(words) or "no producer has a key", rows)


@producer.command("revoke")
@click.argument("key_id")
def revoke_producer(key_id: str) -> None:
    """Revoke a key by its id: at once, in every running service."""
    with opened_vault() as vault:
        found = producers.revoke(vault, key_id)
    say(f"key {key_id} of {found.producer} is revoked", {"producer": found.producer, "id": key_id, "revoked": True})


@click.group(cls=Commands)
def user() -> None:
    """Local accounts, for people without an identity provider."""


@user.command("add")
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="Repeat it.")
def add_user(name: str, roles: tuple[str, ...]) -> None:
    """Make an account, or give one another password and other roles.

    The password comes from REASONVAULT_PASSWORD_FILE, or is typed at the terminal.
    """
    with opened_vault() as vault:
        made = Accounts(homes.default_path()).add(vault, name, roles, password(f"Password of {name}", confirm=True))
    say(f"{name} is {made.id}: {', '.join(roles)}", {"user": name, "person": made.id, "roles": list(roles)})


@user.command("list")
def list_users() -> None:
    """List the accounts."""
    with opened_vault() as vault:
        found = people.listing(vault)
    rows = [
        {
            "user": one.name,
            "person": one.person.id,
            "roles": sorted(one.person.roles),
            "disabled": one.person.disabled,
            "added_at": instant(one.person.added_at),
        }
        for one in found
    ]
    words = [
        f"{row['person']}  {'disabled' if row['disabled'] else 'enabled '}  {row['user']:<24} "
        f"{','.join(_listed(row['roles']))}"
        for row in rows
    ]
    say("\n".join(words) or "there are no accounts", rows)


@user.command("disable")
@click.argument("name")
def disable_user(name: str) -> None:
    """End an account, and with it every token it has."""
    with opened_vault() as vault:
        person = people.disable(vault, name)
    say(f"{name} ({person}) is disabled", {"user": name, "person": person, "disabled": True})


@click.group(cls=Commands)
def grant() -> None:
    """Grants: what an auditor may open, approved by somebody else."""


def _as_user(command: Any) -> Any:
    return click.option("--user", "name", required=True, help="Your local account; its password is asked for.")(command)


@grant.command("request")
@_as_user
@click.option("--ledger", "names", multiple=True, required=True, help="A ledger to open; repeat it.")
@click.option("--purpose", required=True, type=WORDS, help="Why; sealed into the request.")
@click.option("--case", required=True, type=WORDS, help="The case it belongs to; sealed into the request.")
@click.option("--until", type=MOMENT, required=True, metavar="TIME", help="When the grant ends, UTC.")
@click.option("--from", "first", type=MOMENT, metavar="TIME", help="Only what occurred from here, UTC.")
@click.option("--to", "end", type=MOMENT, metavar="TIME", help="Only what occurred before this, UTC.")
@click.option("--class", "classes", multiple=True, help="Only this record class; repeat it.")
@click.option("--fields", type=click.Choice(["masked", "full"]), default="masked", show_default=True)
@click.option("--duty", metavar="WORD", default="", help="The legal duty that restricted records are opened for.")
def request_grant(
    name: str,
    names: tuple[str, ...],
    purpose: str,
    case: str,
    until: datetime,
    first: datetime | None,
    end: datetime | None,
    classes: tuple[str, ...],
    fields: str,
    duty: str,
) -> None:
    """Ask for a grant. A compliance officer, somebody else, has to approve it."""
    with logged_in(name) as vault:
        told = grants.request(
            vault,
            [ledgers.get(vault, one) for one in names],
            start=perhaps_microseconds(first),
            end=perhaps_microseconds(end),
            classes=classes,
            fields=fields,
            duty=duty,
            purpose=purpose,
            case=case,
            expires_at=microseconds(until),
            random=os.urandom,
        )
        _say_grants(vault, [told])


@grant.command("approve")
@click.argument("grant_id")
@_as_user
def approve_grant(grant_id: str, name: str) -> None:
    """Approve somebody else's request, as a compliance officer."""
    with logged_in(name) as vault:
        _say_grants(vault, [grants.approve(vault, grant_id)])


@grant.command("revoke")
@click.argument("grant_id")
@_as_user
def revoke_grant(grant_id: str, name: str) -> None:
    """End a grant at once."""
    with logged_in(name) as vault:
        _say_grants(vault, [grants.revoke(vault, grant_id)])


@grant.command("list")
@click.option("--user", "name", help="Your local account; without it, the passphrase's holder lists all.")
def list_grants(name: str | None) -> None:
    """List grants: one's own as an auditor, all of them as a compliance officer."""
    with acting(name) as vault:
        _say_grants(vault, grants.listing(vault), many=True)


@grant.command("require")
def require_grants() -> None:
    """From now on nobody reads here without a grant, the passphrase's holder neither. It cannot be taken back."""
    with opened_vault() as vault:
        grants.require(vault)
    say("reading needs a login and a grant from now on", {"grants_required": True})


@contextmanager
def logged_in(name: str) -> Iterator[Vault]:
    """Open the vault as somebody who proves with a password who they are."""
    with opened_vault() as vault:
        actor = Accounts(homes.default_path()).login(vault, name, password(f"Password of {name}"))
        yield vault.acting(actor)


def acting(name: str | None) -> AbstractContextManager[Vault]:
    """Open the vault as a person with an account, or as the passphrase's holder where no name is given."""
    return logged_in(name) if name else opened_vault()


def password(prompt: str, *, confirm: bool = False) -> str:
    """Return a password from REASONVAULT_PASSWORD_FILE, else from the terminal.

    Raises:
        UsageError: neither gives one.
    """
    file = os.environ.get("REASONVAULT_PASSWORD_FILE")
    if file:
        try:
            return Path(file).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise UsageError("cannot read REASONVAULT_PASSWORD_FILE") from None
    if not sys.stdin.isatty():
        raise UsageError("a password is needed: set REASONVAULT_PASSWORD_FILE, or use a terminal")
    typed = getpass.getpass(f"{prompt}: ")
    if confirm and typed != getpass.getpass("Again: "):
        raise UsageError("the two passwords differ")
    return typed


def _say_grants(vault: Vault, found: list[Told], *, many: bool = False) -> None:
    names = {str(one.id): one.row.name for one in ledgers.listing(vault)}
    views = [view(one, vault.clock()) for one in found]
    words = [
        f"{one.grant}  {one.state:<9}  {one.fields:<6}  {','.join(names.get(each, each) for each in one.ledgers)}  "
        f"{f'duty {one.duty}  ' if one.duty else ''}until {one.expires_at}  {one.auditor}  {one.case}: {one.purpose}"
        for one in views
    ]
    rows = [{name: getattr(one, name) for name in one.__struct_fields__} for one in views]
    say("\n".join(words) or "there are no grants", rows if many else rows[0])


def _listed(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
