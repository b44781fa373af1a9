"""
Trees of runs, printed in colour on a terminal and as plain text elsewhere.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, List, Sequence, TextIO, Union

from clew.runs._tree.drawing import draw_tree
from clew.runs.finished import Run
from clew.runs.recording import Recording
from clew.runs.stored import StoredRun

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


__all__ = ("print_lines", "print_recording", "print_trees")

_ASCII = str.maketrans({"│": "|", "├": "|", "└": "`", "─": "-"})
_STYLES = {r"\[error\].*": "red", r"\[cancelled\]": "magenta", r"\[pending\]": "yellow", r"[│├└─]+": "dim"}


def print_recording(recording: Recording, stream: TextIO, limit: int) -> None:
    """
    Print the trees of a recording: `limit` runs at most, or all if `limit` is 0.
    """
    if recording.roots:
        print_trees(recording.roots, len(recording), stream, limit, recording.dropped_runs)
    else:
        print_lines(
            ["clew: no runs were recorded; put @clew.traceable on functions, or clew.trace(...) around blocks"], stream
        )


def print_trees(
    roots: Sequence[Union[Run, StoredRun]], count: int, stream: TextIO, limit: int, dropped: int = 0
) -> None:
    """
    Print trees with `count` runs in all: `limit` runs at most, or all if `limit` is 0.

    `dropped` is how many older runs there were.
    """
    traces = "1 trace" if len(roots) == 1 else f"{len(roots)} traces"
    lines = [f"clew: {traces}, {'1 run' if count == 1 else f'{count} runs'}"]
    lines += islice(draw_tree(roots, details=True), limit or None)
    if limit and count > limit:
        lines.append(f"... and {count - limit} runs more; --limit 0 shows all")
    if dropped:
        lines.append(f"<cut: {dropped} older runs>; --max-runs and --max-bytes keep more")
    print_lines(lines, stream)


def print_lines(lines: List[str], stream: TextIO) -> None:
    """
    Print lines: in colour if `stream` is a terminal, in ASCII if its encoding has not all of the characters.
    """
    text = "\n".join(lines)
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        text = text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    if stream.isatty():
        # Imported here, as rich takes long to load and a pipe needs no colours. A traced program may have a module of
        # its own named rich, without these names.
        with suppress(ImportError):
            from rich.console import Console
            from rich.text import Text

            _print_coloured(Text(text), Console(file=stream))
            return
    stream.write(text + "\n")
    stream.flush()


def _print_coloured(coloured: Text, console: Console) -> None:
    for pattern, style in _STYLES.items():
        coloured.highlight_regex(pattern, style)
    console.print(coloured, soft_wrap=True, highlight=False)
