"""
The order in which the nodes of trees are walked: each before those below it.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Sequence, Set, TypeVar

__all__ = ("in_order",)

Node = TypeVar("Node")


def in_order(nodes: Sequence[Node], tops: List[Node], below: Callable[[Node], List[Node]]) -> List[Node]:
    """
    Return all nodes, each before those below it. Without recursion: a tree may be deeper than the stack.

    Headers, ids that were given by hand, and files can make runs the parents of each other, or of themselves. Such a
    ring has no top to be reached from: the first one of it is taken out of its place, and added to `tops`.
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
