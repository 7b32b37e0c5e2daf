"""The scanner that names faults; that it agrees with the fast parser is a property test of parsing."""

from __future__ import annotations

import jiter
import pytest

from vault.core.malformed import MAX_DEPTH, find_fault, path_of


def test_paths_show_no_key_that_could_be_content() -> None:
    assert path_of([]) == "$"
    assert path_of(["decision", "executed", 3, "amount"]) == "$.decision.executed[3].amount"
    assert (
        path_of(["extra", "Alice", "a b", "x\n", "", "a" * 33, "5105105105105100", "v2_2026"])
        == "$.extra.*.*.*.*.*.*.*"
    )
    assert path_of(["extra", "v_2026"]) == "$.extra.v_2026"
    assert path_of(["a"] * 21) == "$" + ".a" * 20 + "..."


def test_the_depth_limit_is_the_fast_parsers_own() -> None:
    def nested(depth: int) -> bytes:
        return b"[" * depth + b"1" + b"]" * depth

    assert find_fault(nested(MAX_DEPTH)) is None
    jiter.from_json(nested(MAX_DEPTH))
    assert find_fault(nested(MAX_DEPTH + 1)) is not None
    with pytest.raises(ValueError, match="recursion limit"):
        jiter.from_json(nested(MAX_DEPTH + 1))
