"""Access over HTTP: who may come in, what they may see, and that nobody sees anything without an event."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.acting import await_, happened, last
from tests.support.decisions import decision, spelled
from tests.support.serving import PASSWORD, Service, bearer, serving
from tests.support.vault import Installation, prepare
from vault import grants, ledgers, people
from vault.context import Actor
from vault.core import receipt
from vault.core.masking import MASKED
from vault.core.note import VerifierKey

MARK = "planted-7f3a"
SOMEWHERE = "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"


class House:
    """The service of this module, and the people who use it."""

    def __init__(self, service: Service) -> None:
        self.service, self.client, self.site = service, service.client, service.installation
        self.ids = {name: service.person(name, role) for name, role in PEOPLE.items()}
        self.tokens = {name: service.login(name) for name in PEOPLE}
        self.key = service.producer("psp-1", "cn")

    def get(self, who: str, path: str, **parameters: Any) -> httpx.Response:
        return self.client.get(path, params=parameters, headers=bearer(self.tokens[who]))

    def post(self, who: str, path: str, document: Any = None) -> httpx.Response:
        return self.client.post(path, json=document, headers=bearer(self.tokens[who]))

    def granted(self, *names: str, auditor: str = "anna", **more: Any) -> str:
        return self.service.granted(self.tokens[auditor], self.tokens["olaf"], *names, **more)

    def told(self, name: str) -> Any:
        with self.site.opened() as vault:
            return last(vault, name)

    def count(self, name: str) -> int:
        with self.site.opened() as vault:
            return len(happened(vault, name))


PEOPLE = {"anna": "auditor", "alma": "auditor", "olaf": "officer", "otto": "operator"}


@pytest.fixture(scope="module")
def house(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with (
        built.copied(tmp_path_factory.mktemp("access") / "home") as copy,
        serving(copy, workers=2, logins_per_minute=100_000) as service,
    ):
        yield House(service)


def _same(*answers: httpx.Response) -> dict[str, Any]:
    """Check that answers tell nothing apart, and return what they say."""
    said = [{key: value for key, value in one.json().items() if key != "request_id"} for one in answers]
    assert all(one == said[0] for one in said), said
    names = [sorted(set(one.headers) - {"date", "x-request-id"}) for one in answers]
    assert all(one == names[0] for one in names), names
    return said[0]


def test_from_asking_to_reading(house: House) -> None:
    asked = {
        "ledgers": ["cn"],
        "purpose": "complaint of a customer",
        "case": "case-4711",
        "fields": "full",
        "expires_at": "2026-12-31T00:00:00+08:00",
    }
    made = house.post("anna", "/v1/grants", asked)
    assert made.status_code == 201, made.text
    view = made.json()
    assert (view["state"], view["auditor"], view["expires_at"]) == (
        "requested",
        house.ids["anna"],
        "2026-12-30T16:00:00Z",
    )
    grant = view["grant"]
    assert house.get("anna", "/v1/ledgers/cn/records/dec-3").status_code == 403
    own = house.post("anna", f"/v1/grants/{grant}/approve")
    assert (own.status_code, own.json()["detail"]) == (403, "only a compliance officer approves a grant")
    approved = house.post("olaf", f"/v1/grants/{grant}/approve").json()
    assert (approved["state"], approved["approved_by"], approved["purpose"]) == (
        "approved",
        house.ids["olaf"],
        "complaint of a customer",
    )
    answer = house.get("anna", "/v1/ledgers/cn/records/dec-3", grant=grant, purpose="a closer look")
    assert answer.status_code == 200, answer.text
    assert answer.content.endswith(b'"record":' + spelled(decision(3)) + b"}")
    shown = answer.json()
    assert shown["verification"] == {
        "checkpoint_size": shown["verification"]["checkpoint_size"],
        "leaf_under_checkpoint": True,
        "facets_match_leaf": True,
        "plaintext_matches_leaf": True,
    }
    ledger = house.get("anna", "/v1/ledgers/cn").json()
    receipt.verify(
        json.dumps(shown["receipt"]).encode(),
        spelled(decision(3)),
        [VerifierKey.parse(ledger["verifier"])],
        ledger["origin"],
    )
    (event,) = [one for one in house.service.events(house.tokens["olaf"]) if one["seq"] == shown["access_event"]]
    assert (event["event"], event["actor"], event["facts"]["grant"]) == ("record.opened", house.ids["anna"], grant)
    assert event["details"] == {"purpose": "a closer look"}
    revoked = house.post("anna", f"/v1/grants/{grant}/revoke")
    assert revoked.json()["state"] == "revoked"
    assert house.get("anna", "/v1/ledgers/cn/records/dec-3").status_code == 403


@pytest.mark.parametrize("who", ["otto", "olaf"])
def test_operators_and_officers_read_nothing(house: House, who: str) -> None:
    for path in ("/v1/ledgers/cn/records/dec-3", "/v1/ledgers/cn/records", "/v1/ledgers/nowhere/records"):
        answer = house.get(who, path)
        assert answer.status_code == 403, answer.text
        assert "auditor" in answer.json()["detail"]
    report = house.post(who, "/v1/reports", {"ledger": "cn"})
    assert report.status_code == 403
    grant = {"ledgers": ["cn"], "purpose": "p", "case": "c", "expires_at": "2026-12-31T00:00:00Z"}
    assert house.post(who, "/v1/grants", grant).status_code == 403
    if who == "otto":
        assert house.get(who, "/v1/events").status_code == 403
        assert house.get(who, "/v1/grants").status_code == 403
        assert house.post(who, "/v1/grants/g-x/approve").status_code == 404
        told = house.told("access.denied")
        assert (told.actor, told.facts["act"]) == (house.ids["otto"], "grant.approve")


def test_an_unknown_id_and_one_out_of_scope_answer_alike(house: House) -> None:
    grant = house.granted("cn", auditor="alma", classes=["aml"])
    for more in ({}, {"grant": grant}, {"grant": "g-made-up"}):
        pair = [house.get("alma", f"/v1/ledgers/cn/records/{one}", **more) for one in ("dec-3", "dec-99999", "batch")]
        said = _same(*pair)
        assert said["status"] == (403 if more.get("grant") == "g-made-up" else 404)


def test_another_tenants_ledger_and_none_answer_alike(house: House, tmp_path: Path) -> None:
    """Somebody else's vault shares the database: nothing may tell that it is there."""
    other = prepare(tmp_path / "other", house.site.database)
    other.initialise()
    with other.opened() as vault:
        theirs = ledgers.create(vault, "theirs", ("US",), ())
    names = (str(theirs.id), "theirs", str(vault.events), SOMEWHERE, "nowhere")
    asked = {"purpose": "p", "case": "c", "expires_at": "2026-12-31T00:00:00Z"}
    ways: dict[str, Callable[[str], httpx.Response]] = {
        "search": lambda name: house.get("anna", f"/v1/ledgers/{name}/records"),
        "open": lambda name: house.get("anna", f"/v1/ledgers/{name}/records/dec-3"),
        "look": lambda name: house.get("anna", f"/v1/ledgers/{name}"),
        "report": lambda name: house.post("anna", "/v1/reports", {"ledger": name}),
        "grant": lambda name: house.post("anna", "/v1/grants", {**asked, "ledgers": [name]}),
        "append": lambda name: house.service.append(name, house.key, b"{}"),
        "look as a producer": lambda name: house.client.get(f"/v1/ledgers/{name}", headers=bearer(house.key)),
    }
    for way, act in ways.items():
        assert _same(*(act(name) for name in names))["status"] in (403, 422), way
    for name in names:
        assert house.get("anna", "/v1/events", ledger=name).json()["events"] == [], name


def test_masked_stays_masked_over_http(house: House) -> None:
    document = decision(
        901, producer_seq=None, prompt=MARK, response=MARK, customer_ref=f"{MARK}-c", extra={MARK: MARK}
    )
    document["decision"] |= {"transaction_id": f"{MARK}-t", "reason": MARK, "explanation": MARK}
    document["source"] |= {"endpoint": f"https://{MARK}.example", "call_id": MARK}
    document["model"] |= {"parameters": {"stop": MARK}}
    assert house.service.append("cn", house.key, spelled(document)).status_code == 201
    grant = house.granted("cn", fields="masked")
    answer = house.get("anna", "/v1/ledgers/cn/records/dec-901", grant=grant)
    shown = answer.json()
    assert (shown["masked"], shown["record"]["prompt"], "opening" in shown["receipt"]) == (True, MASKED, False)
    found = house.get("anna", "/v1/ledgers/cn/records", record="dec-901", grant=grant)
    assert [one["record_id"] for one in found.json()["records"]] == ["dec-901"]
    assert MARK not in answer.text + found.text + house.service.lines()
    house.post("anna", f"/v1/grants/{grant}/revoke")


def test_a_search_is_told_before_it_is_answered(house: House) -> None:
    grant = house.granted("cn")
    page = house.get("anna", "/v1/ledgers/cn/records", customer="cus-3", limit=5, grant=grant).json()
    assert len(page["records"]) == 5
    told = house.told("records.searched")
    assert (told.seq, told.facts["count"], told.facts["grant"]) == (page["access_event"], 5, grant)
    more = house.get("anna", "/v1/ledgers/cn/records", customer="cus-3", limit=5, cursor=page["cursor"]).json()
    assert not {one["seq"] for one in page["records"]} & {one["seq"] for one in more["records"]}
    assert "cus-3" not in house.service.lines()


@pytest.mark.parametrize(
    ("start", "end"),
    [("9999-12-31T23:59:59-12:00", None), (None, "0001-01-01T00:00:00+12:00")],
)
def test_times_that_no_calendar_has(house: House, start: str | None, end: str | None) -> None:
    grant = house.granted("cn", start="2026-01-05T00:00:00Z", end="2026-01-06T00:00:00Z")
    times = {key: value for key, value in (("start", start), ("end", end)) if value}
    answer = house.get("anna", "/v1/ledgers/cn/records", grant=grant, **times)
    assert answer.status_code == 422 or answer.json()["records"] == []
    assert house.get("olaf", "/v1/events", **times).status_code in (200, 422)
    asked = {"ledgers": ["cn"], "purpose": "p", "case": "c", "expires_at": "2026-12-31T00:00:00Z", **times}
    assert house.post("anna", "/v1/grants", asked).status_code == 422
    late = {**asked, "start": None, "end": None, "expires_at": "9999-12-31T23:59:59-12:00"}
    assert house.post("anna", "/v1/grants", late).status_code == 422
    house.post("anna", f"/v1/grants/{grant}/revoke")


def test_an_account_that_changes_loses_its_tokens_at_once(house: House) -> None:
    house.service.person("kim", "auditor", "officer")
    first = house.service.login("kim")
    headers = bearer(first)
    assert house.client.get("/v1/grants", headers=headers).status_code == 200
    house.service.person("kim", "auditor")
    for _ in range(4):
        assert house.client.get("/v1/grants", headers=headers).status_code == 401
    second = house.service.login("kim")
    assert house.client.get("/v1/grants", headers=bearer(second)).status_code == 200
    with house.site.opened() as vault:
        people.disable(vault, "kim")
    for _ in range(4):
        assert house.client.get("/v1/grants", headers=bearer(second)).status_code == 401
    told = house.told("auth.failed")
    assert told.facts["code"] == "of_an_account_that_changed"
    assert house.client.post("/v1/login", json={"user": "kim", "password": PASSWORD}).status_code == 401


def test_tokens_that_are_none(house: House) -> None:
    head, body, signature = house.tokens["anna"].split(".")
    before = house.count("auth.failed")
    wrong = [
        f"{head}.{body}.{signature[:-2]}AA",
        f"{head}.{body}.",
        f"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{body}.",
        f"{head}.{body}",
        "x",
        house.key,
        "x" * 9000,
    ]
    for token in wrong:
        answer = house.client.get("/v1/grants", headers=bearer(token))
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
        assert set(answer.json()) >= {"type", "title", "status", "detail", "request_id"}
    assert house.client.get("/v1/grants").status_code == 401
    assert house.count("auth.failed") == before + len(wrong) + 1
    assert signature not in house.service.lines()


def test_a_wrong_password_is_told_and_answers_nothing(house: House) -> None:
    answers = [
        house.client.post("/v1/login", json={"user": user, "password": "a wrong password"})
        for user in ("olaf", "nobody at all", "x" * 200)
    ]
    assert _same(*answers)["status"] == 401
    assert house.told("login.failed").facts["code"] == "password"
    assert "nobody at all" not in house.site.everything_stored() + house.service.lines()


def test_a_revocation_in_one_worker_counts_in_the_other(house: House) -> None:
    """Read over many connections while the grant is revoked in this process: no reading is later than the end."""
    grant = house.granted("sg")
    assert house.get("anna", "/v1/ledgers/sg/records/dec-3", grant=grant).status_code == 200
    with house.site.opened() as vault:
        standing = vault.register.standing()
        olaf = standing.people[house.ids["olaf"]]
        officer = Actor(olaf.id, break_glass=False, roles=olaf.roles, generation=olaf.generation)
        grants.revoke(vault.acting(officer), grant)
    assert {house.get("anna", "/v1/ledgers/sg/records/dec-3", grant=grant).status_code for _ in range(6)} == {403}
    with house.site.opened() as vault:
        ended = last(vault, "grant.revoked").seq
        opened = [one.seq for one in happened(vault, "record.opened") if one.facts.get("grant") == grant]
    assert all(seq < ended for seq in opened)


def test_a_grant_that_expires_opens_nothing_any_more(house: House) -> None:
    """Its end is a second away; the first refusal after it is the last word."""
    soon = (datetime.now(UTC) + timedelta(seconds=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    grant = house.granted("cn", expires_at=soon, auditor="alma")
    path = "/v1/ledgers/cn/records/dec-5"
    await_(lambda: house.get("alma", path, grant=grant).status_code == 403)
    with house.site.opened() as vault:
        times = [one.at for one in happened(vault, "record.opened") if one.facts.get("grant") == grant]
    assert all(at < soon for at in times)
    (view,) = [one for one in house.get("olaf", "/v1/grants").json()["grants"] if one["grant"] == grant]
    assert view["state"] == "expired"


def test_edited_facets_are_evidence_and_no_answer(house: House) -> None:
    grant = house.granted("cn", auditor="alma", classes=["treasury"])
    with house.site.tampering() as connection:
        sql = "UPDATE vault.sealed SET record_class = %s WHERE ledger_id = %s AND seq = 21"
        connection.execute(sql, ["treasury", house.site.ledger("cn")])
        connection.commit()
        try:
            for path in ("/v1/ledgers/cn/records/dec-21", "/v1/ledgers/cn/records"):
                answer = house.get("alma", path, grant=grant)
                assert (answer.status_code, answer.json()["type"]) == (503, "urn:reasonvault:problem:evidence")
                assert "retry-after" in answer.headers
                assert "dec-21" not in answer.text
            told = house.told("record.unsound")
            assert (told.actor, told.facts["seq"]) == (house.ids["alma"], 21)
        finally:
            connection.execute(sql, ["payment", house.site.ledger("cn")])


def test_who_somebody_is_and_why_stands_nowhere_in_clear(house: House) -> None:
    house.granted("cn", purpose="a purpose nobody may read", case="case-of-secrecy")
    everything = house.site.everything_stored() + house.service.lines()
    for secret in ("anna", "olaf", "a purpose nobody may read", "case-of-secrecy", PASSWORD, *house.tokens.values()):
        assert secret not in everything, secret


@contextmanager
def _no_insert(site: Installation) -> Iterator[None]:
    with site.tampering() as connection:
        connection.execute("REVOKE INSERT ON vault.entry FROM reasonvault_app")
    try:
        yield
    finally:
        with site.tampering() as connection:
            connection.execute("GRANT INSERT ON vault.entry TO reasonvault_app")


@contextmanager
def _no_checkpoint(site: Installation) -> Iterator[None]:
    path = site.checkpoints("events") / "checkpoint"
    path.rename(path.with_name("kept"))
    try:
        yield
    finally:
        path.with_name("kept").rename(path)


@contextmanager
def _rewound(site: Installation) -> Iterator[None]:
    sql = "UPDATE vault.head SET size = size %s WHERE ledger_id = %%s"
    with site.tampering() as connection:
        connection.execute(sql % "- 1", [site.ledger("events")])  # type: ignore[arg-type]
    try:
        yield
    finally:
        with site.tampering() as connection:
            connection.execute(sql % "+ 1", [site.ledger("events")])  # type: ignore[arg-type]


OBSTACLES = {"no right to insert": _no_insert, "no checkpoint": _no_checkpoint, "the head is rewound": _rewound}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_if_the_event_cannot_be_written_there_is_no_answer(house: House, obstacle: str) -> None:
    grant = house.granted("cn")
    asked = {"ledgers": ["cn"], "purpose": "p", "case": "c", "expires_at": "2026-12-31T00:00:00Z"}
    acts = {
        "a record": lambda: house.get("anna", "/v1/ledgers/cn/records/dec-3", grant=grant),
        "no record": lambda: house.get("anna", "/v1/ledgers/cn/records/dec-99999"),
        "a search": lambda: house.get("anna", "/v1/ledgers/cn/records", record="dec-3", grant=grant),
        "a page of events": lambda: house.get("olaf", "/v1/events"),
        "a list of grants": lambda: house.get("anna", "/v1/grants"),
        "a grant": lambda: house.post("anna", "/v1/grants", asked),
        "a denial": lambda: house.get("otto", "/v1/ledgers/cn/records/dec-3"),
        "a denial of no ledger": lambda: house.get("otto", "/v1/ledgers/nowhere/records"),
        "a report": lambda: house.post("anna", "/v1/reports", {"ledger": "cn"}),
        "a wrong token": lambda: house.client.get("/v1/grants", headers=bearer("x.y.z")),
        "no token": lambda: house.client.get("/v1/grants"),
        "a wrong key": lambda: house.service.append("cn", "rvk_" + "a" * 10 + "_" + "A" * 43, b"{}"),
        "a login": lambda: house.client.post("/v1/login", json={"user": "anna", "password": PASSWORD}),
        "a wrong login": lambda: house.client.post("/v1/login", json={"user": "anna", "password": "wrong password"}),
        "a refusal": lambda: house.service.append("cn", house.key, b"{}"),
        "a conflict": lambda: house.service.append("cn", house.key, spelled(decision(3)) + b" "),
    }
    before = house.site.size("events")
    with OBSTACLES[obstacle](house.site):
        for name, act in acts.items():
            answer = act()
            assert answer.status_code == 503, (name, answer.text)
            assert "retry-after" in answer.headers
            assert set(answer.json()) <= {"type", "title", "status", "detail", "request_id", "code"}
            for content in ("dec-3", "was cancelled", "access_token", "cus-", "g-"):
                assert content not in answer.text, (name, answer.text)
    assert house.site.size("events") == before
    assert house.get("anna", "/v1/ledgers/cn/records/dec-3", grant=grant).status_code == 200, "and back again"
    house.post("anna", f"/v1/grants/{grant}/revoke")
