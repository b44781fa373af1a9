"""
A recorded tree as text, and its comparison with an expected text.

Colours and JSON are not drawn here: they are for the command line and `clew.runs._tree.serialising`.
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

_BRANCHES = " \t│├└─|`-"  # may precede a name in an expected tree, in Unicode or ASCII
_STATUS = re.compile(r" \[(error|cancelled|pending|ended)\]$")


def draw_tree(roots: Sequence[Union[Run, StoredRun]], *, details: bool = False) -> Iterator[str]:
    """
    Yield the lines of the trees. It does not recurse: a tree may be deeper than the stack.

    With `details`, a line also has the duration of the run and the last line of its error.
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
        # A status that was read from a file may be any text.
        parts.append(f"[{run.status if run.status.isprintable() else repr(run.status)}]")
    if details and run.error and run.status == "error":
        last_line = run.error.rstrip().rpartition("\n")[2]
        parts.append(last_line if last_line.isprintable() else repr(last_line))
    return " ".join(parts)


def _shown(name: str) -> str:
    # Quote a name that looks like a part of the drawing, or has characters that control a terminal.
    is_plain = name.isprintable() and name == name.strip(_BRANCHES) != "" and not _STATUS.search(name)
    return name if is_plain else repr(name)


def _duration(time_ns: int) -> str:
    try:
        milliseconds = time_ns / 1e6
    except OverflowError:  # a time that was read from a file may be any int
        milliseconds = inf if time_ns > 0 else -inf
    return f"{milliseconds:.1f} ms" if abs(milliseconds) < 1000 else f"{milliseconds / 1000:.2f} s"


def check_tree(roots: Sequence[Run], expected: str, further: Sequence[str] = ()) -> None:
    """
    Raise `TreeMismatchError` unless the runs, and `further` roots, form the expected tree. Siblings have no order.
    """
    found_tree = _Tree((*_labels_of_runs(roots), *[(0, line) for line in further]))
    expected_tree = _Tree(_labels_of_text(expected))
    if _sort_and_compare(found_tree, expected_tree):
        return
    found_lines, expected_lines = list(found_tree.lines()), list(expected_tree.lines())
    difference = "\n".join(difflib.unified_diff(expected_lines, found_lines, "expected", "found", lineterm="", n=99))
    raise TreeMismatchError(f"expected another tree of runs, siblings in any order; the difference:\n{difference}")


def _labels_of_runs(roots: Sequence[Run]) -> Iterator[Tuple[int, str]]:
    waiting = [(0, root) for root in reversed(roots)]
    while waiting:
        depth, run = waiting.pop()
        yield depth, _label(run, details=False)
        waiting.extend((depth + 1, child) for child in reversed(run.children))


def _labels_of_text(text: str) -> Iterator[Tuple[int, str]]:
    for line in text.splitlines():
        label = line.lstrip(_BRANCHES)
        if label.strip():
            yield len(line[: len(line) - len(label)].expandtabs()), label.rstrip()


class _Tree:
    """
    The labels of a tree by level, each with the positions of its children in the next level.

    It is made of pairs of a column and a label. The parent of a label is the last one before it in a smaller column.
    """

    __slots__ = ("levels",)

    def __init__(self, lines: Iterable[Tuple[int, str]]) -> None:
        self.levels: List[List[Tuple[str, List[int]]]] = [[("", [])]]  # one node above all roots
        columns = [-1]  # the column of the last label of each level
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
        Yield the lines of the tree, indented by two blanks for each level.
        """
        waiting = [(1, place) for place in reversed(self.levels[0][0][1])]
        while waiting:
            depth, place = waiting.pop()
            label, children = self.levels[depth][place]
            yield "  " * (depth - 1) + label
            waiting.extend((depth + 1, child) for child in reversed(children))


def _sort_and_compare(first: _Tree, second: _Tree) -> bool:
    """
    Sort the siblings in both trees, and return whether the trees are equal.

    From the lowest level up, each node gets a number, its rank. Equal subtrees have equal ranks. In a deep tree, texts
    of subtrees would take too much memory, and recursion too much stack.
    """
    trees = (first, second)
    ranks: List[List[int]] = [[], []]  # for each tree, those of the level below
    for depth in reversed(range(max(len(tree.levels) for tree in trees))):
        keys: List[List[Tuple[str, List[int]]]] = [[], []]
        for tree, below, found in zip(trees, ranks, keys):
            for label, children in tree.levels[depth] if depth < len(tree.levels) else ():
                children.sort(key=below.__getitem__)
                found.append((label, [below[child] for child in children]))
        ranks = _ranks_of(keys)
    return ranks[0] == ranks[1]


def _ranks_of(keys: List[List[Tuple[str, List[int]]]]) -> List[List[int]]:
    hashable = [[(label, tuple(below)) for label, below in found] for found in keys]
    order = {key: rank for rank, key in enumerate(sorted({*hashable[0], *hashable[1]}))}
    return [[order[key] for key in found] for found in hashable]
