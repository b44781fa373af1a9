"""
`clew show`: the runs of a file, printed as trees.
"""

from __future__ import annotations

import sys

import click

from clew.cli._output import print_trees
from clew.exporters.jsonl import read_runs

__all__ = ("show_file",)


def show_file(path: str, limit: int) -> None:
    """
    Print the trees of the runs in a file, and how many of its lines are no runs.

    Args:
        path: the file.
        limit: how many runs to print at most; 0 for all.

    Raises:
        ClickException: the file cannot be read, or has no run.
    """
    try:
        stored = read_runs(path)
    except OSError as error:
        raise click.ClickException(
            f"expected a file of runs, found that {path!r} cannot be read: {error.strerror}; "
            f"write one with CLEW_EXPORT=jsonl:FILE"
        ) from None
    if stored.broken_lines:
        lines = "1 line is" if stored.broken_lines == 1 else f"{stored.broken_lines} lines are"
        click.echo(f"clew: {lines} no run and left out", err=True)
    if not stored.roots:
        raise click.ClickException(
            f"expected a file of runs, found none in {path!r}; write one with CLEW_EXPORT=jsonl:FILE"
        )
    print_trees(stored.roots, stored.run_count, sys.stdout, limit)
