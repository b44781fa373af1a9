"""
The commands and options of the command line.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Tuple, TypeVar

import click

from clew import __version__
from clew.cli._program import Program
from clew.runs._tree.kept_runs import MAX_BYTES, MAX_RUNS
from clew.runs.recording import record

__all__ = ("commands",)

F = TypeVar("F", bound=Callable[..., Any])


_limit_option = click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Show this many runs at most; 0 for all.",
)


_MOST = {"--max-runs": "runs", "--max-bytes": "bytes"}


def _most_option(name: str, default: int) -> Callable[[F], F]:
    return click.option(
        name, type=click.IntRange(min=1), default=default, show_default=True, help=f"Keep about so many {_MOST[name]}."
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="clew")
def commands() -> None:
    """Keep the thread of a trace whole through pools, tasks and streams."""


@commands.command()
def demo() -> None:
    """Run one small traced program with a bare thread pool and with clew's, and show both trees."""
    from clew.cli._demo import show_demo  # here, as `clew run` must load as little as possible

    show_demo()


class _RunCommand(click.Command):
    """
    Passes all arguments after `-m MODULE` to the program, as python does.
    """

    def parse_args(self, ctx: click.Context, args: List[str]) -> List[str]:
        words = iter(range(len(args)))
        for index in words:
            if args[index] in ("--limit", *_MOST):
                next(words, None)
            elif args[index].startswith("-m"):
                end = index + (2 if args[index] == "-m" else 1)
                return super().parse_args(ctx, [*args[:end], "--", *args[end:]])
            elif not args[index].startswith("-") or args[index] == "--":
                break
        return super().parse_args(ctx, args)


@commands.command(
    cls=_RunCommand,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="[--limit N] [--max-runs N] [--max-bytes N]",
)
@click.option("-m", "module", metavar="MODULE", help="Run a module, as python -m does.")
@_limit_option
@_most_option("--max-runs", MAX_RUNS)
@_most_option("--max-bytes", MAX_BYTES)
@click.argument("words", metavar="FILE | -m MODULE [ARGS]...", nargs=-1, type=click.UNPROCESSED)
def run(module: Optional[str], limit: int, max_runs: int, max_bytes: int, words: Tuple[str, ...]) -> Program:
    """
    Run a program with recording on, and show the trees of its runs at the end.

    The program runs as it does with python FILE or python -m MODULE, with the same exit code. The
    trees go to the standard error stream, also when it fails or is interrupted. The oldest traces are dropped when
    there are too many runs.
    """
    recording = record(max_runs=max_runs, max_bytes=max_bytes)
    if module is not None:
        return Program.of_module(module, words, limit, recording)
    if not words:
        raise click.UsageError("expected a program to run, found none; write clew run FILE or clew run -m MODULE")
    return Program.of_file(words[0], words[1:], limit, recording)


@commands.command()
@_limit_option
@click.argument("file", metavar="FILE", type=click.Path())
def show(limit: int, file: str) -> None:
    """Show the runs in FILE, which the jsonl exporter has written, as trees."""
    from clew.cli._show import show_file  # here for the same reason

    show_file(file, limit)
