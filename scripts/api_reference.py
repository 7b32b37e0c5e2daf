"""Write the second half of docs/reference/http.md from the service's own OpenAPI document.

    python scripts/api_reference.py          rewrite the page below its mark
    python scripts/api_reference.py --check  end with 1 where it is not up to date

What stands above the mark is written by hand and stays. The same document always gives the same text.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from service import schema as bodies
from service.app import application
from service.problems import Problem
from vault.core.receipt import Receipt

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "http.md"
MARK = "<!-- Below: made by scripts/api_reference.py from the service's OpenAPI document. -->"
ORDER = ("producers", "people", "grants", "auditors", "log", "reports", "operations")
TYPES = vars(bodies) | {"Problem": Problem, "Receipt": Receipt}
WHO = {"producer": "a producer's key", "person": "a person's token"}


def main(arguments: list[str]) -> int:
    """Rewrite or check the page; return the exit code."""
    now = PAGE.read_text("utf-8")
    wanted = page(now)
    if "--check" in arguments:
        return int(now != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


def page(now: str) -> str:
    """Return the page as it should be: its hand-written head, and the reference of today's service."""
    return f"{now.partition(MARK)[0]}{MARK}\n\n{reference(application().openapi_schema.to_schema())}"


def reference(document: dict[str, Any]) -> str:
    """Return an OpenAPI document as markdown: operations by tag, then schemas by name."""
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not (path.endswith("/records/batch") and method == "get")  # a record whose id is "batch"
    ]
    operations.sort(key=lambda one: (ORDER.index(one[2]["tags"][0]), one[0], one[1]))
    lines = ["## Operations", ""]
    for path, method, operation in operations:
        lines += _operation(path, method, operation)
    lines += ["## Bodies", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} {path}"
    yield ""
    who = " or ".join(WHO[name] for one in operation.get("security", ()) for name in one)
    yield f"{operation['summary']}. {f'Needs {who}.' if who else 'Needs no credentials.'}"
    yield ""
    yield " ".join(operation["description"].split())
    yield ""
    parameters = [one for one in operation.get("parameters", ()) if one["in"] == "query"]
    if parameters:
        yield "| query | type | meaning |"
        yield "|---|---|---|"
        for one in sorted(parameters, key=lambda one: str(one["name"])):
            kind = _type(one["schema"]).removesuffix(" or null")
            yield f"| `{one['name']}` | {kind} | {one.get('description', '')} |"
        yield ""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        yield f"Body: `{media_type}`, {schema.get('description') or _type(schema)}"
        yield ""
    answers = {status: _answer(answer) for status, answer in sorted(operation["responses"].items())}
    yield "; ".join(f"{status} {said}" for status, said in answers.items() if said)
    yield ""
    problems = [f"`{status}`" for status, said in answers.items() if not said]
    if problems:
        yield f"Problems: {', '.join(problems)}."
        yield ""


def _answer(answer: dict[str, Any]) -> str:
    """Return what an answer is; nothing for a problem, which all look alike."""
    for media_type, content in answer.get("content", {}).items():
        told = _type(content.get("schema", {}))
        if "Problem" in told or "problem" in media_type:
            return ""
        return told if media_type == "application/json" else f"`{media_type}`"
    return ""


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    yield " ".join((TYPES[name].__doc__ or "").partition("Attributes:")[0].replace("``", "`").split())
    yield ""
    yield "| member | type | |"
    yield "|---|---|---|"
    required = schema.get("required", ())
    for member, type_ in schema["properties"].items():
        left_out = "" if member in required else "may be left out"
        yield f"| `{member}` | {_type(type_)} | {left_out} |"
    yield ""


def _type(schema: dict[str, Any]) -> str:
    """Return a schema's type in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "oneOf" in schema:
        return " or ".join("null" if one.get("type") == "null" else _type(one) for one in schema["oneOf"])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    words = {"string": "text", "object": "object", "number": "number", "integer": "integer", "boolean": "true or false"}
    said = words.get(schema.get("type", ""), "JSON")
    if schema.get("format") == "date-time":
        said = "time"
    bounds = [f"{schema[key]:g}" for key in ("minimum", "maximum") if key in schema]
    if bounds:
        said += f", {' to '.join(bounds)}" if len(bounds) == 2 else f", from {bounds[0]}"
    if "default" in schema and schema["default"] not in ("", None):
        said += f", default {schema['default']}"
    return said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
