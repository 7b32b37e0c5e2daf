"""Secrets are planted wherever a request has room for one, and looked for wherever something is written.

Everything at log level debug: the service's log, the database server's, figures, every error answer, every row of every
table, every file of the home but keys and passwords, and the arguments and environments of all processes.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Final

import httpx
import pytest

from tests.support.decisions import decision, spelled
from tests.support.postgres import Database
from tests.support.serving import PASSWORD, Service, bearer, family, serving
from tests.support.vault import PASSPHRASE, Installation, prepare
from vault import ledgers
from vault.db.embedded import EmbeddedServer

RECORDS, BATCH = "/v1/ledgers/cn/records", "/v1/ledgers/cn/records/batch"
JSON, NDJSON = {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}
CARD: Final = "4111 1111 1111 1111"
ID: Final = "sekretid"
"""Part of every record's id, which stands in one column in clear, and nowhere else."""


class FromFile(Installation):
    """A vault whose passphrase comes from a file, so that no environment has it."""

    def environment(self) -> dict[str, str]:
        given = super().environment()
        file = self.home.parent / "passphrase"
        file.write_bytes(given.pop("REASONVAULT_PASSPHRASE").encode())
        return given | {"REASONVAULT_PASSPHRASE_FILE": str(file)}


class Planter:
    """Sends requests with secrets in them, and keeps what it planted and what it was told."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.planted: dict[str, str] = {}
        self.answers: list[httpx.Response] = []
        self._dice = random.Random(8)
        self._records = 0

    def secret(self, what: str) -> str:
        """Return a word that occurs nowhere else."""
        word = "sekret" + "".join(self._dice.choices(ascii_lowercase, k=20))
        self.planted[f"{what} {len(self.planted)}"] = word
        return word

    def ask(self, status: int, method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        # A connection each: one whose body was refused before it was read is closed behind the answer.
        answer = self.service.client.request(method, path, headers=headers | {"Connection": "close"}, **more)
        assert answer.status_code == status, (path, answer.text)
        self.answers.append(answer)
        return answer

    def record(self, **changes: Any) -> dict[str, Any]:
        """Return a record with a secret wherever a producer writes freely."""
        self._records += 1
        secret = self.secret
        document = decision(
            self._records,
            id=f"{ID}-{self._records}",
            producer_seq=None,
            prompt=f"A question of {secret('prompt')}",
            response=f"Yes, {secret('response')}",
            customer_ref=secret("customer"),
            conversation_id=secret("conversation"),
        )
        document["decision"]["transaction_id"] = secret("transaction")
        return document | changes


@pytest.fixture
def service(own_server: EmbeddedServer, tmp_path: Path) -> Iterator[Service]:
    own_server.ensure_running()
    dsns = (own_server.dsn(role) for role in ("owner", "app", "superuser"))
    made = prepare(tmp_path / "vault", Database("reasonvault", *dsns))
    made.initialise()
    with made.opened() as vault:
        ledgers.create(vault, "cn", ("CN",), ())
    with serving(
        FromFile(made.home, made.database), log_level="debug", logins_per_minute=100_000, requests_per_second=100_000
    ) as started:
        yield started


def test_what_is_planted_is_found_nowhere(service: Service, own_server: EmbeddedServer) -> None:
    planter = Planter(service)
    key = service.producer("psp-1", "cn")
    auditor, officer = service.people()
    _as_a_producer(planter, key)
    _as_nobody(planter)
    _as_people(planter, auditor, officer)
    processes = _while_a_report_is_made(planter, auditor)
    figures = service.client.get("/metrics").text
    stored = service.installation.everything_stored()
    errors = "\n".join(f"{one.headers} {one.text}" for one in planter.answers if one.status_code >= 400)
    places = {
        "the service's log": service.lines(),
        "the database's log": _database_log(own_server),
        "figures": figures,
        "errors": errors,
        "tables": stored,
        "the home": _home(service.installation.home),
        "processes": processes,
    }
    secrets = planter.planted | {
        "passphrase": PASSPHRASE.decode(),
        "password": PASSWORD,
        "producer key": key,
        "auditor's token": auditor,
        "officer's token": officer,
        "card": CARD,
        "card's digits": CARD.replace(" ", ""),
    }
    assert len(places["the database's log"]) > 500
    assert "report_job" in processes
    found = [
        (what, where)
        for what, word in secrets.items()
        for where, text in places.items()
        if word in text or word.encode().hex() in text
    ]
    assert not found
    # The column of record ids holds each kept record's once; everywhere else ids are tags.
    kept = sum(answer.status_code == 201 and RECORDS in str(answer.url) for answer in planter.answers) + 1
    assert stored.count(ID) == kept
    assert not [where for where, text in places.items() if ID in text and where != "tables"]


def _as_a_producer(planter: Planter, key: str) -> None:
    who, secret = bearer(key), planter.secret
    one = planter.record()
    planter.ask(201, "POST", RECORDS, who | JSON, content=spelled(one))
    planter.ask(200, "POST", RECORDS, who | JSON, content=spelled(one))
    planter.ask(409, "POST", RECORDS, who | JSON, content=spelled(one | {"prompt": secret("conflict")}))
    for bad in (
        planter.record(prompt=f"{secret('beside a card')} {CARD}"),
        planter.record(occurred_at=secret("time")),
        planter.record(api=secret("api")),
        planter.record(record_class=f"{secret('class')} with spaces"),
        planter.record(jurisdictions=[secret("jurisdiction")]),
        planter.record(confidence={"score": secret("score")}),
        planter.record(producer_seq=secret("number")),
        planter.record(schema=secret("schema")),
        [secret("list")],
    ):
        planter.ask(422, "POST", RECORDS, who | JSON, content=spelled(bad))
    for raw in (
        b'{"id": "' + secret("torn").encode(),
        b'{"id": "%b", "id": "%b"}' % (secret("twice").encode(), secret("twice").encode()),
        b'{"id": "\xff%b"}' % secret("not UTF-8").encode(),
    ):
        planter.ask(422, "POST", RECORDS, who | JSON, content=raw)
    planter.ask(413, "POST", RECORDS, who | JSON, content=secret("large").encode() * 60_000)
    planter.ask(415, "POST", RECORDS, who | {"Content-Type": f"text/{secret('type')}"}, content=secret("text"))
    planter.ask(
        415, "POST", RECORDS, who | JSON | {"Content-Encoding": secret("encoding")}, content=spelled(planter.record())
    )
    planter.ask(403, "POST", f"/v1/ledgers/{secret('ledger')}/records", who | JSON, content=spelled(planter.record()))
    lines = [spelled(planter.record()), spelled(planter.record(api=secret("api"))), secret("no JSON").encode()]
    told = planter.ask(200, "POST", BATCH, who | NDJSON, content=b"\n".join(lines))
    refused = told.text.split("\n", 1)[1]
    assert [json.loads(line)["status"] for line in told.text.splitlines()] == [201, 422, 422]
    assert not [word for word in planter.planted.values() if word in refused]
    damaged = gzip.compress(secret("damaged").encode() * 1000)[:-12]
    planter.ask(200, "POST", BATCH, who | NDJSON | {"Content-Encoding": "gzip"}, content=damaged)


def _as_nobody(planter: Planter) -> None:
    secret = planter.secret
    for credential in (
        f"Bearer rvk_abcdefghij_{secret('key')}",
        f"Bearer {secret('token')}.{secret('token')}.{secret('token')}",
        f"Basic {secret('basic')}",
        secret("scheme"),
    ):
        planter.ask(401, "POST", RECORDS, JSON | {"Authorization": credential}, content=spelled(planter.record()))
        planter.ask(401, "GET", "/v1/grants", {"Authorization": credential, "Cookie": secret("cookie")})
    for user, password in (
        (secret("user"), secret("password")),
        ("anna", secret("password")),
        ("anna", PASSWORD + "!"),
    ):
        planter.ask(401, "POST", "/v1/login", JSON, json={"user": user, "password": password})
    planter.ask(422, "POST", "/v1/login", JSON, json={"user": "anna", "password": PASSWORD, secret("member"): 1})
    planter.ask(422, "POST", "/v1/login", JSON, json={"user": [secret("user")], "password": {PASSWORD: secret("x")}})
    planter.ask(400, "POST", "/v1/login", JSON, content='{"user": "' + secret("torn login"))
    planter.ask(
        404, "GET", f"/{secret('path')}?{secret('query')}={secret('query')}", {"X-Request-Id": f"{secret('id')} !"}
    )
    planter.ask(405, "PUT", f"{RECORDS}?{secret('query')}", {}, content=secret("put"))


def _as_people(planter: Planter, auditor: str, officer: str) -> None:
    secret, who = planter.secret, bearer(auditor)
    grant = {
        "ledgers": ["cn"],
        "purpose": secret("purpose"),
        "case": secret("case"),
        "fields": "full",
        "expires_at": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    asked = planter.ask(201, "POST", "/v1/grants", who, json=grant).json()["grant"]
    for change in (
        {"purpose": secret("purpose") * 50},
        {"purpose": secret("purpose") + "\x07"},
        {"fields": secret("fields")},
        {"expires_at": secret("expiry")},
        {secret("member"): secret("value")},
        {"ledgers": [secret("ledger") + " !"]},
    ):
        planter.ask(422, "POST", "/v1/grants", who, json=grant | change)
    planter.ask(403, "POST", "/v1/grants", who, json=grant | {"ledgers": [secret("ledger")]})
    planter.ask(403, "POST", f"/v1/grants/{asked}/approve", who)
    planter.ask(200, "POST", f"/v1/grants/{asked}/approve", bearer(officer))
    planter.ask(404, "POST", f"/v1/grants/{secret('grant')}/approve", bearer(officer))
    words = {name: secret(name) for name in ("conversation", "transaction", "customer", "record", "model")}
    for name, word in words.items():
        planter.ask(200, "GET", RECORDS, who, params={name: word})
    for name in ("api", "outcome", "cursor", "limit", "start", "flag"):
        planter.ask(422, "GET", RECORDS, who, params={name: secret(name)})
    opened = planter.ask(200, "GET", f"{RECORDS}/{ID}-1", who, params={"purpose": secret("purpose")})
    assert planter.planted["prompt 0"] in opened.text
    planter.ask(404, "GET", f"{RECORDS}/{secret('record')}", who, params={"purpose": secret("purpose")})
    planter.ask(403, "GET", f"{RECORDS}/{ID}-1", who, params={"grant": secret("grant")})
    planter.ask(403, "GET", f"{RECORDS}/{ID}-1", bearer(officer), params={"purpose": secret("purpose")})
    for name in ("event", "actor", "ledger"):
        planter.ask(200, "GET", "/v1/events", bearer(officer), params={name: secret(name)})
    planter.ask(422, "GET", "/v1/events", bearer(officer), params={"before": secret("position")})
    planter.ask(422, "POST", "/v1/reports", who, json={"ledger": "cn", "first": secret("day")})
    planter.ask(403, "POST", "/v1/reports", who, json={"ledger": secret("ledger")})
    planter.ask(404, "GET", f"/v1/reports/r-{secret('report')}", who)


def _while_a_report_is_made(planter: Planter, auditor: str) -> str:
    """Return arguments and environments of every process that there was meanwhile."""
    report = planter.ask(202, "POST", "/v1/reports", bearer(auditor), json={"ledger": "cn"}).json()["report"]
    seen: set[str] = set()
    view = {"state": "running"}
    while view["state"] == "running":
        for pid in family(planter.service.process.pid):
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    seen.add(Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace"))
        view = planter.ask(200, "GET", f"/v1/reports/{report}", bearer(auditor)).json()
    assert view["state"] == "ready", view
    planter.ask(200, "GET", f"/v1/reports/{report}/file", bearer(auditor))
    return "\n".join(seen)


def _database_log(server: EmbeddedServer) -> str:
    place = server.location
    files = [place.area / "start.log", *place.data.glob("log/*")]
    return "\n".join(file.read_text("utf-8", "replace") for file in files if file.exists())


def _home(home: Path) -> str:
    """Return every file of a home but keys and the hashes of passwords, and the names of all of them."""
    files = [path for path in home.rglob("*") if path.is_file()]
    private = (home / "keys", home / "accounts")
    readable = [path for path in files if not any(path.is_relative_to(place) for place in private)]
    assert len(readable) > 5
    return "\n".join([*map(str, files), *(path.read_bytes().decode("latin-1") for path in readable)])
