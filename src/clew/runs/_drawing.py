"""
A recorded tree as text, and the comparison of such a text with an expected one.
"""

from __future__ import annotations

import difflib
from typing import Iterator, List, Sequence, Tuple

from clew.errors import TreeMismatchError
from clew.runs.run import Run

__all__ = ("check_tree", "draw_tree")

_BRANCHES = " \t│├└─"


def draw_tree(roots: Sequence[Run], *, details: bool = False) -> Iterator[str]:
    """
    Yield the lines of the tree. Without recursion: a tree may be deeper than the stack.
    """
    waiting = [(root, "", "") for root in reversed(roots)]
    while waiting:
        run, head, indent = waiting.pop()
        yield head + _label(run, details=details)
        last = len(run.children) - 1
        below = [
            (child, f"{indent}{'└── ' if i == last else '├── '}", f"{indent}{'    ' if i == last else '│   '}")
            for i, child in enumerate(run.children)
        ]
        waiting.extend(reversed(below))


def _label(run: Run, *, details: bool) -> str:
    parts = [run.name.replace("\n", " ")]
    if details and run.end_time_ns is not None:
        parts.append(_duration((run.end_time_ns - run.start_time_ns) / 1e6))
    if run.status != "success":
        parts.append(f"[{run.status}]")
    if details and run.error and run.status == "error":
        parts.append(run.error.rstrip().rpartition("\n")[2])
    return " ".join(parts)


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"


def check_tree(found: str, expected: str) -> None:
    """
    Raise `TreeMismatchError` unless both texts are the same tree, whatever the order of siblings.
    """
    found_lines, expected_lines = (_canonical(text) for text in (found, expected))
    if found_lines == expected_lines:
        return
    difference = "\n".join(difflib.unified_diff(expected_lines, found_lines, "expected", "found", lineterm="", n=99))
    raise TreeMismatchError(f"expected another tree of runs, siblings in any order; the difference:\n{difference}")


def _canonical(text: str) -> List[str]:
    """
    Return the lines of a tree, two blanks a level, siblings sorted with what is under them.
    """
    levels: List[Tuple[int, List[List[str]]]] = [(-1, [])]  # for each open level: its column, its subtrees

    def close_down_to(column: int) -> None:
        while levels[-1][0] > column:
            _, subtrees = levels.pop()
            parent = levels[-1][1]
            lines = ["  " + line for subtree in sorted(subtrees) for line in subtree]
            if parent:
                parent[-1].extend(lines)
            else:
                parent.extend([line[2:]] for line in lines)

    for line in text.splitlines():
        label = line.lstrip(_BRANCHES)
        if not label.strip():
            continue
        column = len(line.expandtabs()) - len(label.expandtabs())
        close_down_to(column)
        if levels[-1][0] < column:
            levels.append((column, []))
        levels[-1][1].append([label.rstrip()])
    close_down_to(-1)
    return [line for subtree in levels[0][1] for line in subtree]
