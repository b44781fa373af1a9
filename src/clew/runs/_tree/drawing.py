"""
A recorded tree as text, and the comparison of such a text with an expected one.
"""

from __future__ import annotations

import difflib
import re
from math import inf
from typing import TYPE_CHECKING, Iterable, Iterator, List, Sequence, Tuple, Union

from clew.errors import TreeMismatchError

if TYPE_CHECKING:
    from clew.runs.finished import Run
    from clew.runs.stored import StoredRun

__all__ = ("check_tree", "draw_tree")

_BRANCHES = " \t│├└─|`-"  # what may stand before a name, in what is printed to a terminal of any age
_STATUS = re.compile(r" \[(error|cancelled|pending|ended)\]$")


def draw_tree(roots: Sequence[Union[Run, StoredRun]], *, details: bool = False) -> Iterator[str]:
    """
    Yield the lines of the tree. Without recursion: a tree may be deeper than the stack.
    """
    waiting: List[Tuple[Union[Run, StoredRun], str, str]] = [(root, "", "") for root in reversed(roots)]
    while waiting:
        run, head, indent = waiting.pop()
        yield head + _label(run, details=details)
        children: Sequence[Union[Run, StoredRun]] = run.children
        last = len(children) - 1
        below = [
            (child, f"{indent}{'└── ' if i == last else '├── '}", f"{indent}{'    ' if i == last else '│   '}")
            for i, child in enumerate(children)
        ]
        waiting.extend(reversed(below))


def _label(run: Union[Run, StoredRun], *, details: bool) -> str:
    parts = [_shown(run.name)]
    if details and run.end_time_ns is not None:
        parts.append(_duration(run.end_time_ns - run.start_time_ns))
    if run.status != "success":
        # That of a file may be anything.
        parts.append(f"[{run.status if run.status.isprintable() else repr(run.status)}]")
    if details and run.error and run.status == "error":
        last_line = run.error.rstrip().rpartition("\n")[2]
        parts.append(last_line if last_line.isprintable() else repr(last_line))
    return " ".join(parts)


def _shown(name: str) -> str:
    # A name that could be taken for a part of the drawing, or do something to a terminal, is quoted.
    is_plain = name.isprintable() and name == name.strip(_BRANCHES) != "" and not _STATUS.search(name)
    return name if is_plain else repr(name)


def _duration(time_ns: int) -> str:
    try:
        milliseconds = time_ns / 1e6
    except OverflowError:  # as above
        milliseconds = inf if time_ns > 0 else -inf
    return f"{milliseconds:.1f} ms" if abs(milliseconds) < 1000 else f"{milliseconds / 1000:.2f} s"


def check_tree(roots: Sequence[Run], expected: str) -> None:
    """
    Raise `TreeMismatchError` unless the runs form the expected tree, whatever the order of siblings.
    """
    found_tree, expected_tree = _Tree(_of_runs(roots)), _Tree(_of_text(expected))
    if _sort_alike(found_tree, expected_tree):
        return
    found_lines, expected_lines = list(found_tree.lines()), list(expected_tree.lines())
    difference = "\n".join(difflib.unified_diff(expected_lines, found_lines, "expected", "found", lineterm="", n=99))
    raise TreeMismatchError(f"expected another tree of runs, siblings in any order; the difference:\n{difference}")


def _of_runs(roots: Sequence[Run]) -> Iterator[Tuple[int, str]]:
    waiting = [(0, root) for root in reversed(roots)]
    while waiting:
        depth, run = waiting.pop()
        yield depth, _label(run, details=False)
        waiting.extend((depth + 1, child) for child in reversed(run.children))


def _of_text(text: str) -> Iterator[Tuple[int, str]]:
    for line in text.splitlines():
        label = line.lstrip(_BRANCHES)
        if label.strip():
            yield len(line[: len(line) - len(label)].expandtabs()), label.rstrip()


class _Tree:
    """
    Hold the labels of a tree in levels, each with the places of its children in the next level.
    """

    __slots__ = ("levels",)

    def __init__(self, lines: Iterable[Tuple[int, str]]) -> None:
        self.levels: List[List[Tuple[str, List[int]]]] = [[("", [])]]  # the root of all
        columns = [-1]  # of what is open, one a level
        for column, label in lines:
            while columns[-1] >= column:
                columns.pop()
            depth = len(columns)
            columns.append(column)
            if depth == len(self.levels):
                self.levels.append([])
            _, siblings = self.levels[depth - 1][-1]
            siblings.append(len(self.levels[depth]))
            self.levels[depth].append((label, []))

    def lines(self) -> Iterator[str]:
        """
        Yield the lines of the tree, two blanks a level.
        """
        waiting = [(1, place) for place in reversed(self.levels[0][0][1])]
        while waiting:
            depth, place = waiting.pop()
            label, children = self.levels[depth][place]
            yield "  " * (depth - 1) + label
            waiting.extend((depth + 1, child) for child in reversed(children))


def _sort_alike(first: _Tree, second: _Tree) -> bool:
    """
    Sort siblings by what they are and what is under them, alike in two trees, and return whether these are the same.

    Without recursion, as above, and without a text of every subtree, all of which are too long in a deep tree: from the
    lowest level up, what is equal has the same rank.
    """
    trees = (first, second)
    ranks: List[List[int]] = [[], []]  # in each tree, of the level below
    for depth in reversed(range(max(len(tree.levels) for tree in trees))):
        keys: List[List[Tuple[str, List[int]]]] = [[], []]
        for tree, below, found in zip(trees, ranks, keys):
            for label, children in tree.levels[depth] if depth < len(tree.levels) else ():
                children.sort(key=below.__getitem__)
                found.append((label, [below[child] for child in children]))
        ranks = _ranks_of(keys)
    return ranks[0] == ranks[1]


def _ranks_of(keys: List[List[Tuple[str, List[int]]]]) -> List[List[int]]:
    hashed = [[(label, tuple(below)) for label, below in found] for found in keys]
    order = {key: rank for rank, key in enumerate(sorted({*hashed[0], *hashed[1]}))}
    return [[order[key] for key in found] for found in hashed]
