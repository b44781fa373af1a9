"""
What clew's code still finds among its globals while the interpreter exits.
"""

from __future__ import annotations

import atexit
import sys
from types import ModuleType

from clew._shared.locks import RUNS_WITHOUT_GIL

__all__ = ("keep_globals",)


def keep_globals() -> None:
    """
    Have the exit of the interpreter clear copies of clew's modules, so that clew's functions keep their globals.

    Without a GIL, functions and modules live to the end. So the interpreter sets the globals of all modules to None,
    the newest first: those of clew before those of the program, which may hold generators that clew then has to close.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "clew":
            copy = ModuleType(name)
            vars(copy).update(vars(module))
            sys.modules[name] = copy


if RUNS_WITHOUT_GIL:
    atexit.register(keep_globals)
