"""
A recorded tree as text, and the comparison of such a text with an expected one.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Iterable, Iterator, List, Sequence, Tuple, Union

from clew.errors import TreeMismatchError

if TYPE_CHECKING:
    from clew.records import StoredRun
    from clew.runs.recording import Run

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
        parts.append(_duration((run.end_time_ns - run.start_time_ns) / 1e6))
    if run.status != "success":
        parts.append(f"[{run.status}]")
    if details and run.error and run.status == "error":
        last_line = run.error.rstrip().rpartition("\n")[2]
        parts.append(last_line if last_line.isprintable() else repr(last_line))
    return " ".join(parts)


def _shown(name: str) -> str:
    # A name that could be taken for a part of the drawing, or do something to a terminal, is quoted.
    is_plain = name.isprintable() and name == name.strip(_BRANCHES) != "" and not _STATUS.search(name)
    return name if is_plain else repr(name)


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"


def check_tree(roots: Sequence[Run], expected: str) -> None:
    """
    Raise `TreeMismatchError` unless the runs form the expected tree, whatever the order of siblings.
    """
    found_lines, expected_lines = _canonical(_of_runs(roots)), _canonical(_of_text(expected))
    if found_lines == expected_lines:
        return
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


def _canonical(lines: Iterable[Tuple[int, str]]) -> List[str]:
    """
    Return the lines of a tree, two blanks a level, siblings sorted with what is under them.
    """
    levels: List[Tuple[int, List[List[str]]]] = [(-1, [])]  # for each open level: its column, its subtrees

    def close_down_to(column: int) -> None:
        while levels[-1][0] > column:
            _, subtrees = levels.pop()
            lines = [line for subtree in sorted(subtrees) for line in subtree]
            parent = levels[-1][1]
            if parent:
                parent[-1].extend("  " + line for line in lines)
            else:
                parent.extend([line] for line in lines)

    for column, label in lines:
        close_down_to(column)
        if levels[-1][0] < column:
            levels.append((column, []))
        levels[-1][1].append([label])
    close_down_to(-1)
    return [line for subtree in levels[0][1] for line in subtree]
