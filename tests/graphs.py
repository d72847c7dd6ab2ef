"""Circles and levels of a graph, given as the set of nodes that each node points to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Graph = Mapping[str, set[str]]


def reached(graph: Graph) -> dict[str, set[str]]:
    """Find for every node those that can be reached from it, itself included."""
    result: dict[str, set[str]] = {}
    for start in graph:
        seen, waiting = {start}, [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        result[start] = seen
    return result


def circles(graph: Graph) -> list[frozenset[str]]:
    """Find the largest sets of nodes each of which reaches all others."""
    reach = reached(graph)
    found = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph}
    return sorted((circle for circle in found if len(circle) > 1), key=sorted)


def levels(graph: Graph) -> dict[str, int]:
    """Give every node its level: 1 if it imports nothing, else one more than the highest node it reaches.

    The nodes of a circle share one level.
    """
    reach = reached(graph)
    result: dict[str, int] = {}
    for name in sorted(graph, key=lambda name: len(reach[name])):  # whatever is below a node reaches less
        result[name] = 1 + max((result[low] for low in reach[name] if name not in reach[low]), default=0)
    return result


def longest_chain(graph: Graph, level: Mapping[str, int]) -> list[str]:
    """Follow the highest imports from the highest module down."""
    chain = [max(level, key=lambda name: level[name])]
    while below := [name for name in graph[chain[-1]] if level[name] < level[chain[-1]]]:
        chain.append(max(below, key=lambda name: level[name]))
    return chain
