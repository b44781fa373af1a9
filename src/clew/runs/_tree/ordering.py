"""
The order in which trees are walked: each node before those below it.

It knows nothing of runs: a function gives the nodes below a node.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Sequence, Set, TypeVar

__all__ = ("in_order",)

Node = TypeVar("Node")


def in_order(nodes: Sequence[Node], tops: List[Node], below: Callable[[Node], List[Node]]) -> List[Node]:
    """
    Return all nodes, each before those below it. It does not recurse: a tree may be deeper than the stack.

    Headers, files, and ids that a program sets can make runs the parents of each other, or of themselves. Such a ring
    has no root, so the first node of it is made one: it is removed from the list of its siblings and added to `tops`.

    Args:
        nodes: all nodes.
        tops: the roots.
        below: returns the list of the nodes directly below a node, always the same list.
    """
    order = list(tops)
    for node in order:
        order.extend(below(node))
    if len(order) < len(nodes):
        places: Dict[int, List[Node]] = {id(node): place for place in map(below, nodes) for node in place}
        reached: Set[int] = set(map(id, order))
        for first in nodes:
            if id(first) in reached:
                continue
            places[id(first)].remove(first)
            tops.append(first)
            added = [first]
            for node in added:
                added.extend(below(node))
            order.extend(added)
            reached.update(map(id, added))
    return order
