"""A ledger as a standard log over HTTP: read by somebody else's client, by whoever may, and never a wrong byte."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import pytest

from tests.support.decisions import decision, spelled
from tests.support.longlog import grow
from tests.support.serving import Service, bearer, serving
from tests.support.tlog_client import (
    TlogClient,
    leaf_hash,
    over_http,
    root_from_inclusion,
    roots_from_consistency,
)
from tests.support.vault import Installation

PEOPLE = {"anna": "auditor", "alma": "auditor", "olaf": "officer", "otto": "operator"}
FOR_EVER = "private, max-age=31536000, immutable"


class House:
    """The service of this module; ledger "cn" has 780 entries at the start, and anna a grant for it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        for name, role in PEOPLE.items():
            service.person(name, role)
        self.tokens = {name: service.login(name) for name in PEOPLE}
        self.tokens |= {"psp": service.producer("psp-1", "cn"), "other": service.producer("psp-2", "sg")}
        service.granted(self.tokens["anna"], self.tokens["olaf"], "cn")

    def get(self, who: str, path: str, ledger: str = "cn") -> httpx.Response:
        return self.service.client.get(f"/v1/ledgers/{ledger}/log/{path}", headers=bearer(self.tokens[who]))

    def reader(self, who: str, ledger: str = "cn") -> TlogClient:
        """A client that was given the prefix, the origin and the key."""
        with self.service.installation.opened() as vault:
            place = self.service.installation.ledger(ledger)
            origin, verifier = vault.checkpoints.origin(place), str(vault.checkpoints.verifier(place))
        return TlogClient(over_http(f"{self.service.url}/v1/ledgers/{ledger}/log", self.tokens[who]), origin, verifier)

    def events(self, *names: str) -> list[dict[str, object]]:
        return [one for one in self.service.events(self.tokens["olaf"]) if one["event"] in names]


@pytest.fixture(scope="module")
def house(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with built.copied(tmp_path_factory.mktemp("log") / "home") as copy:
        grow(copy, 780 - copy.size("cn"), name="cn")
        with serving(copy, logins_per_minute=100_000, requests_per_second=100_000) as service:
            yield House(service)


def test_a_standard_client_checks_everything(house: House) -> None:
    client = house.reader("anna")
    size, root = client.checkpoint()
    client.check_everything(size, root)
    for index in (0, 255, 256, size - 1):
        entry = client.entries(index // 256, size)[index % 256]
        assert root_from_inclusion(index, size, leaf_hash(entry), client.inclusion(index, size)) == root

    for number in (700, 701):
        assert house.service.append("cn", house.tokens["psp"], spelled(decision(number))).status_code == 201
    later, later_root = client.checkpoint()
    assert later == size + 2
    proof = client.consistency(size, later)
    assert roots_from_consistency(size, later, root, proof) == (root, later_root)
    client.check_everything(later, later_root)
    told = house.get("anna", f"consistency?old={size}&new={later}")
    assert [base64.b64decode(line) for line in told.text.splitlines()] == proof


def test_a_proof_ready_made_leads_to_the_checkpoint_it_holds(house: House) -> None:
    client = house.reader("otto")
    answer = house.get("otto", "proof/300")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    head, note = answer.text.split("\n\n", 1)
    header, index, *hashes = head.splitlines()
    assert (header, index) == ("c2sp.org/tlog-proof@v1", "index 300")
    size, root = client.opened(note)
    entry = client.entries(1, size)[300 - 256]
    assert root_from_inclusion(300, size, leaf_hash(entry), [base64.b64decode(one) for one in hashes]) == root


def test_what_may_be_kept_and_for_how_long(house: House) -> None:
    for path, kept in {
        "checkpoint": "no-store",
        "proof/3": "no-store",
        "consistency?old=1&new=2": "no-store",
        "tile/0/000": FOR_EVER,
        "tile/entries/002": FOR_EVER,
        "tile/0/000.p/7": "private, max-age=60",
        "tile/1/000.p/3": "private, max-age=60",
    }.items():
        answer = house.get("anna", path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, kept), path
        kind = "application/octet-stream" if path.startswith("tile") else "text/plain; charset=utf-8"
        assert answer.headers["content-type"] == kind
        assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/000", "tile/entries/000", "proof/3", "consistency?old=1&new=2"])
def test_whoever_has_to_do_with_a_ledger_reads_its_log(house: House, path: str) -> None:
    got = {who: house.get(who, path).status_code for who in house.tokens}
    assert got == {"anna": 200, "alma": 403, "olaf": 200, "otto": 200, "psp": 200, "other": 403}
    assert house.service.client.get(f"/v1/ledgers/cn/log/{path}").status_code == 401
    (denial,) = [one for one in house.events("access.denied") if one["actor"] != "producer:psp-2"][:1]
    assert denial["facts"] == {
        "act": "log.read",
        "break_glass": False,
        "code": "grant",
        "ledger": str(house.service.installation.ledger("cn")),
    }


def test_a_ledger_that_is_not_there_is_told_to_those_who_may_read_all(house: House) -> None:
    unknown, foreign = house.get("alma", "checkpoint", "nowhere"), house.get("alma", "checkpoint", "sg")
    assert (unknown.status_code, foreign.status_code) == (403, 403)
    assert unknown.json()["detail"] == foreign.json()["detail"]
    assert house.get("psp", "checkpoint", "nowhere").status_code == 403
    assert house.get("olaf", "checkpoint", "nowhere").status_code == 404
    assert house.get("otto", "checkpoint", "nowhere").status_code == 404


def test_reading_a_ledgers_log_is_no_reading_of_records(house: House) -> None:
    with house.service.installation.opened() as vault:
        before = vault.register.standing().size
    client = house.reader("anna")
    client.check_everything(*client.checkpoint())
    with house.service.installation.opened() as vault:
        assert vault.register.standing().size == before


def test_the_events_are_a_log_too_and_their_entries_are_the_trace(house: House) -> None:
    for who, hashes, entries in (("olaf", 200, 200), ("alma", 200, 200), ("otto", 200, 403), ("psp", 403, 403)):
        for path in ("checkpoint", "tile/0/000.p/3", "proof/3"):
            assert house.get(who, path, "events").status_code == hashes
        assert house.get(who, "tile/entries/000.p/3", "events").status_code == entries
    told = [one["facts"] for one in house.events("events.read") if "first" in one["facts"]]  # type: ignore[operator]
    assert told == [{"break_glass": False, "first": 0, "limit": 3}] * 2
    assert house.get("otto", "checkpoint", str(house.service.installation.ledger("events"))).status_code == 200
    client = house.reader("olaf", "events")
    size, root = client.checkpoint()
    client.check_everything(size, root)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/003",
        "tile/0/003.p/200",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/0",
        "tile/00/000",
        "tile/0/x000/000",
        "tile/0/%30%30%30",
        "tile/%30/000",
        "%74ile/0/000",
        "tile/0/000/",
        "tile/0//000",
        "tile/entries/%F0%9F%92%A9",
        "tile/0",
        "tile",
        "proof/100000",
        "proof/-1",
        "proof/99999999999999999999999999",
        "proof/x",
    ],
)
def test_what_is_not_there_and_other_spellings_of_what_is(house: House, path: str) -> None:
    request = house.service.client.build_request("GET", "/", headers=bearer(house.tokens["anna"]))
    request.url = httpx.URL(house.service.url).copy_with(raw_path=f"/v1/ledgers/cn/log/{path}".encode())
    answer = house.service.client.send(request)
    assert answer.status_code == 404, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "query", ["", "?old=1", "?old=2&new=1", "?old=-1&new=1", "?old=0&new=99999999", "?old=1&new=2&x=3"]
)
def test_sizes_that_no_proof_connects(house: House, query: str) -> None:
    assert house.get("anna", f"consistency{query}").status_code == 422


@pytest.mark.parametrize("query", ["?old=0&new=5", "?old=5&new=5"])
def test_an_empty_proof_is_an_empty_answer(house: House, query: str) -> None:
    answer = house.get("anna", f"consistency{query}")
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_edited_row_is_an_error_a_line_and_a_figure_and_never_a_wrong_tile(house: House) -> None:
    site = house.service.installation
    ledger = site.ledger("cn")
    right = house.get("anna", "tile/0/001").content
    with site.tampering() as connection:
        connection.execute("CREATE TABLE kept AS TABLE vault.node")
        connection.execute("UPDATE vault.node SET hash = sha256(hash) WHERE ledger_id = %s AND place = 1", [ledger])
    try:
        for path in ("tile/0/000", "tile/1/000.p/3", "tile/entries/000"):
            answer = house.get("anna", path)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:reasonvault:problem:evidence")
            assert "retry-after" in answer.headers
            assert answer.headers["cache-control"] == "no-store"
        assert house.get("anna", "tile/0/001").content == right  # what it was checked with is the others' rows
        (line, *_) = [one for one in house.service.lines().splitlines() if "stored hashes" in one]
        assert str(ledger) in line
        figures = house.service.client.get("/metrics").text
        assert "reasonvault_log_unsound_total 3.0" in figures
    finally:
        with site.tampering() as connection:
            connection.execute(
                "UPDATE vault.node SET hash = k.hash FROM kept k WHERE node.ledger_id = k.ledger_id"
                " AND node.level = k.level AND node.place = k.place"
            )
            connection.execute("DROP TABLE kept")
    assert house.get("anna", "tile/0/000").status_code == 200
