"""Inclusion paths for a few leaves of a long log, in one pass over its hashes and memory for the few."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vault.core.tree import EMPTY_ROOT, node_hash


def inclusion_paths(hashes: Iterable[bytes], wanted: Collection[int]) -> tuple[bytes, dict[int, list[bytes]]]:
    """Return the root and the RFC 6962 inclusion path of each wanted leaf.

    Args:
        hashes: all leaf hashes in order, streamed once.
        wanted: indexes; those beyond the end get no path.

    Not checked: the lengths of the hashes.
    """
    paths: dict[int, list[bytes]] = {}
    stack: list[tuple[int, bytes, list[int]]] = []  # (leaves below, hash, wanted leaves below), largest first

    def join(left: tuple[int, bytes, list[int]], right: tuple[int, bytes, list[int]]) -> tuple[int, bytes, list[int]]:
        for index in left[2]:
            paths[index].append(right[1])
        for index in right[2]:
            paths[index].append(left[1])
        return left[0] + right[0], node_hash(left[1], right[1]), left[2] + right[2]

    for index, digest in enumerate(hashes):
        below = [index] if index in wanted else []
        paths.update((one, []) for one in below)
        node = (1, digest, below)
        while stack and stack[-1][0] == node[0]:
            node = join(stack.pop(), node)
        stack.append(node)
    if not stack:
        return EMPTY_ROOT, {}
    node = stack.pop()
    while stack:
        node = join(stack.pop(), node)
    return node[1], paths
