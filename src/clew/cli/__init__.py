"""
The command `clew`. Its packages are the extra ``cli``; nothing else in clew needs them.
"""

from __future__ import annotations

import sys
from typing import Optional, Sequence

from clew.errors import MissingExtraError

__all__ = ("main",)


def main(args: Optional[Sequence[str]] = None) -> None:
    """
    Run the command `clew` with `args`, by default those of the process, and exit.
    """
    try:
        import click  # here, to catch the error if it is missing

        from clew.cli._commands import commands
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        sys.exit(f"clew: {MissingExtraError('the command line', 'cli')}")
    try:
        # Not click's standalone mode: a program must run outside it, as click catches what it raises.
        program = commands.main(args=None if args is None else list(args), prog_name="clew", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    if isinstance(program, int):
        sys.exit(program)  # click's own exits, such as after --help
    if program is not None:
        program.run()
