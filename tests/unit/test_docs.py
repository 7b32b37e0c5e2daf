"""The docs and the code say the same: links, commands, events, codes, columns, rules, and the examples themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import click
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import cli
from retention.rules import load_default
from service import problems, settings
from service.identity.settings import OidcSettings
from service.providers import OpenBaoSettings
from service.retention_settings import DisposalSettings
from service.signing_settings import Pem, Pkcs11, Pkcs12, Roots, TimeStamp
from service.witness_settings import AuthoritySettings, OutsideSettings, WitnessSettings
from vault.core import envelope, guard, leaf, receipt, record, tree
from vault.core.checkpoint import Checkpoint, sign_checkpoint
from vault.core.flags import Flag
from vault.core.parse import parse
from vault.core.proof import Proof
from vault.db.tables import metadata
from vault.verdict import Depth, Verdict

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SOURCES = [
    ROOT / "cli.py",
    *(file for name in ("vault", "retention", "reports", "service") for file in (ROOT / name).rglob("*.py")),
]
NOW = 1_780_000_000_000_000  # 2026-05-28; microseconds


STARTS = {
    "decision_completed": "decision",
    "transaction_completed": "transaction",
    "calendar_year_end": "end of the year",
    "record_created": "receipt",
    "log_created": "receipt",
}
ERASED = {"no": "", "at_minimum": "when its own period ends", "after_all_minimums": "when every period has run"}


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", PAGES, ids=name_of)
def test_links_resolve(file: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (file.parent / path).resolve() if path else file
        assert found.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("file", PAGES, ids=name_of)
def test_no_page_names_a_machine(file: Path) -> None:
    """Paths that the program itself makes are named; those of whoever wrote the page are not."""
    assert not re.findall(r"/(?:work|home|root|Users|farm|mnt)/\S*|/tmp/(?!reasonvault-)\S*", file.read_text("utf-8"))


def commands(group: click.Group, path: str = "reasonvault") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_commands_and_options_are_those_of_the_command_line() -> None:
    titles = re.split(r"^## ", page("reference/cli.md"), flags=re.MULTILINE)[1:]
    told = {title.split("`")[1]: title for title in titles if title.startswith("`")}
    assert told.keys() == dict(commands(cli.main)).keys()
    for path, command in commands(cli.main):
        rows = "\n".join(line.split(" | ")[0] for line in told[path].splitlines() if line.startswith("| `-"))
        names = [name for option in command.params for name in (*option.opts, *option.secondary_opts)]
        have = {name for name in names if name.startswith("-")}
        assert set(re.findall(r"`(-[-a-z]+)`", rows)) == have - {"--json"}, path


def test_environment_variables_are_told() -> None:
    read = re.compile(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"")
    names = {name for file in SOURCES for name in read.findall(file.read_text("utf-8"))}
    assert names == set(re.findall(r"^\| `([A-Z_]+)` \|", page("reference/cli.md"), re.MULTILINE))


def test_events_are_those_of_the_code() -> None:
    written = {name for file in SOURCES for name in _events(ast.parse(file.read_text("utf-8")))}
    assert written == set(re.findall(r"^\| `([a-z._]+)` \|", page("reference/events.md"), re.MULTILINE))


def _events(module: ast.Module) -> Iterator[str]:
    """The names given to ``record`` and ``Event``, also by way of a variable."""
    assigned = [node for node in ast.walk(module) if isinstance(node, ast.Assign)]
    for call in ast.walk(module):
        if isinstance(call, ast.Call) and _called(call) in ("record", "Event"):
            arguments = call.args[:2]
        elif isinstance(call, ast.Call) and _called(call) == "verb" and ast.unparse(call.args[0]) == "events.record":
            arguments = call.args[2:3]
        else:
            continue
        for argument in arguments:
            same = [one.value for one in assigned if ast.dump(one.targets[0]) == ast.dump(_stored(argument))]
            for node in (argument, *same):
                yield from (text for text in _texts(node) if re.fullmatch(r"[a-z]+\.[a-z_]+", text))


def _stored(node: ast.expr) -> ast.expr:
    return ast.Name(node.id, ast.Store()) if isinstance(node, ast.Name) else node


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _texts(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def test_the_http_page_is_the_one_that_the_service_makes() -> None:
    ran = subprocess.run([sys.executable, ROOT / "scripts" / "api_reference.py", "--check"], check=False)
    assert ran.returncode == 0, "run scripts/api_reference.py"


def test_problems_are_those_of_the_service() -> None:
    told = re.findall(r"^\| `([a-z-]+)` \| ([0-9]{3}) \|", page("reference/http.md"), re.MULTILINE)
    assert {(kind, int(status)) for kind, status in told} == {(kind, of[0]) for kind, of in problems.TITLES.items()}


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("[service]", settings.ServiceSettings),
        ("[oidc]", OidcSettings),
        ("[disposal]", DisposalSettings),
        ("provider.toml", OpenBaoSettings),
        ("witness.toml", OutsideSettings),
        ("[[witness]]", WitnessSettings),
        ("[[authority]]", AuthoritySettings),
        ("[pkcs12]", Pkcs12),
        ("[pem]", Pem),
        ("[pkcs11]", Pkcs11),
        ("[time_stamp]", TimeStamp),
        ("[trust]", Roots),
    ],
    ids=(
        *("service", "oidc", "disposal", "provider", "outside", "witness", "authority"),
        *("p12", "pem", "p11", "stamp", "trust"),
    ),
)
def test_settings_and_their_defaults_are_told(section: str, kind: type[msgspec.Struct]) -> None:
    text = re.split(r"\n##? ", page("reference/settings.md").split(f"# `{section}`\n")[1])[0]
    told = dict(re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", text, re.MULTILINE))
    assert told == {field.name: _default(field) for field in msgspec.structs.fields(kind)}


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    spelled = list(value) if isinstance(value, tuple) else value
    return f"`{msgspec.json.encode(spelled).decode().replace(',', ', ')}`"


def test_the_example_of_settings_holds_the_defaults() -> None:
    text = (ROOT / "deploy" / "service.toml.example").read_text("utf-8")
    assert msgspec.convert(tomllib.loads(text)["service"], settings.ServiceSettings) == settings.ServiceSettings()
    assert {field.name for field in msgspec.structs.fields(settings.ServiceSettings)} == set(
        tomllib.loads(text)["service"]
    )


def test_refusal_codes_are_those_of_the_code() -> None:
    told = page("reference/reasoning-log.md").split("## Refusal codes")[1].split("\n## ")[0]
    codes = {
        code for row in re.findall(r"^\| (`.*?) \|", told, re.MULTILINE) for code in re.findall(r"`([a-z_]+)`", row)
    }
    raised = {"card_number", "track_data", "cvv", "conflict", "gone"}  # the guard's types, and intake's own
    for file in (*(ROOT / "vault").rglob("*.py"), *(ROOT / "retention").glob("*.py")):
        if file.name in ("receipt.py", "proof.py", "note.py", "checkpoint.py"):
            continue  # they refuse receipts and notes
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and _called(call) in ("RefusedInput", "_fault") and len(call.args) > 1:
                raised |= {text for text in _texts(call.args[-1]) if re.fullmatch("[a-z_]+", text)}
    assert codes == raised


def test_record_fields_are_those_of_the_types() -> None:
    told = set(re.findall(r"`([a-z0-9_]+)`", page("reference/reasoning-log.md")))
    kinds = [kind for kind in vars(record).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    fields = {field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)}
    assert fields - told == {"amount", "currency"}  # shown as an object
    assert {flag.name for flag in Flag} == set(
        re.findall(r"^\| `([A-Z_]+)` \|", page("reference/reasoning-log.md"), re.MULTILINE)
    )


def test_tables_and_columns_are_those_of_the_schema() -> None:
    sections = page("reference/database.md").split("\n## `vault.")[1:]
    told = {section.split("`")[0]: set(re.findall(r"`([a-z_]+)`", section.split("\n## ")[0])) for section in sections}
    assert told.keys() == {table.name for table in metadata.tables.values()}
    for table in metadata.tables.values():
        assert {column.name for column in table.columns} <= told[table.name]


def test_rules_and_zones_are_those_of_the_book() -> None:
    book, text = load_default(), page("reference/retention.md")
    assert set(re.findall(r"^\| `([A-Z0-9-]+)` \|", text, re.MULTILINE)) == book.rules.keys()
    for rule in book.rules.values():
        (row,) = re.findall(rf"^\| `{rule.id}` .*$", text, re.MULTILINE)
        _, _, kept, start, erased, applies, status, _ = map(str.strip, row.split("|"))
        assert (kept, start, erased) == (_spelled(rule.period.months), STARTS[rule.trigger], ERASED[rule.erase]), row
        assert (applies.split(",")[0], status) == (rule.applies, rule.status), row
    for entry in book.jurisdictions.values():
        assert re.search(rf"^\| {entry.code} \| {entry.zone}[ ,]", text, re.MULTILINE), entry.code


def _spelled(months: int) -> str:
    if not months:
        return "no period"
    return f"{months} months" if months % 12 else f"{months // 12} years"


def test_verdicts_and_depths_are_told() -> None:
    text = page("reference/verdicts.md") + page("how-to/verify.md")
    for verdict in Verdict:
        assert f"| {verdict.exit_code} | {verdict.name} |" in text
    assert all(f"`{depth.value}`" in page("how-to/verify.md") for depth in Depth)


def lines(name: str) -> list[bytes]:
    return [line.encode() for line in page(name).splitlines() if line.startswith('{"schema":')]


def test_the_records_of_the_examples_are_taken_or_refused_as_the_pages_say() -> None:
    good, refused = lines("quickstart.md")
    (resend,) = lines("how-to/ingest.md")
    told = [guard.inspect(raw, parse(raw, now_us=NOW).tree) for raw in (good, refused, resend)]
    assert told == [(), (guard.Finding("card_number", "$.prompt"),), ()]


LEDGER = UUID(int=9)
ORIGIN = f"vault.example/{LEDGER}"
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = SIGNER.public_key().public_bytes_raw()


@pytest.mark.parametrize(("seq", "size"), [(1, 2), (2, 5), (4, 5), (6, 7)])
def test_a_receipt_is_checked_without_us(tmp_path: Path, seq: int, size: int) -> None:
    given, sent = tmp_path / "receipt.json", tmp_path / "record.json"
    sent.write_bytes(b'{"schema":"reasoning-log/1"}')
    given.write_bytes(_receipt(sent.read_bytes(), seq, size))
    assert "byte for byte" in _checked(given, ORIGIN, PUBLIC.hex(), sent)
    assert _checked(given, ORIGIN, PUBLIC.hex(), given) == "these are not the bytes that were sealed"
    assert _checked(given, ORIGIN.replace("vault", "other"), PUBLIC.hex(), sent) == "the checkpoint is another ledger's"
    assert _checked(given, ORIGIN, bytes(32).hex(), sent) == "this key has not signed the checkpoint"
    edited = given.read_text().replace("2029-01", "2028-01")
    given.write_text(edited)
    assert _checked(given, ORIGIN, PUBLIC.hex(), sent) == "the leaf is not in the tree that was signed"


def _checked(*arguments: object) -> str:
    script = DOCS / "how-to" / "check_receipt.py"
    ran = subprocess.run(
        [sys.executable, "-I", script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode == 0) == (ran.stderr == "")
    return (ran.stderr or ran.stdout).strip()


def _receipt(raw: bytes, seq: int, size: int) -> bytes:
    key = bytes(range(32))
    opening = envelope.opening(key)
    made = leaf.record_draft(
        facets=bytes(32),
        group="2029-01.0",
        id_tag=bytes(16),
        keep_until=0,
        key=envelope.key_commitment(key),
        ledger=LEDGER,
        parts=(bytes(32),),
        plaintext=envelope.plaintext_commitment(opening, raw),
        producer="local",
        producer_seq=None,
        received_at="2026-01-05T08:01:12.111Z",
        rulebook=bytes(32),
        rules=("PROD-3Y",),
    ).at(seq, bytes(32))
    hashes = [bytes([at]) * 32 for at in range(size)]
    hashes[seq] = tree.leaf_hash(made)
    note = sign_checkpoint(Checkpoint(ORIGIN, size, tree.root(hashes)), SIGNER.sign, PUBLIC)
    return receipt.issue(made, opening, Proof(seq, tuple(tree.inclusion_path(seq, hashes)), note))
