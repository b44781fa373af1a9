"""
Run CPython's own tests of `asyncio.TaskGroup`, bare or with clew's in its place.

A script for a process of its own: `_run_cpython_taskgroups.py REPORT (bare|clew|shared) SECONDS FOLDER`. In "shared",
each task is given a context to share. Which tests need not pass is in `test_cpython_taskgroups.py`, which starts it.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import faulthandler
import importlib
import json
import sys
import types
import unittest
from contextvars import copy_context
from pathlib import Path
from typing import Any, Dict, List

import clew.tasks.asyncio

SUITE = "test.test_asyncio.test_taskgroups"

# What each group is, by the full name of its class, and how many tasks were given a context to share.
groups: List[str] = []
shared: List[object] = []


def arrange(kind: str) -> None:
    """
    Have the groups that are made from now on be those of that kind, and noted.
    """
    group = getattr(asyncio, "TaskGroup", None) if kind == "bare" else clew.tasks.asyncio.TaskGroup

    class TaskGroup(group):  # type: ignore[misc, valid-type]  # of one kind or the other
        def __init__(self) -> None:
            super().__init__()
            groups.append(f"{group.__module__}.{group.__qualname__}")

        if kind == "shared":

            def create_task(self, coro: Any, *, context: Any = None, **options: Any) -> Any:
                if context is None:
                    context = copy_context()
                    shared.append(context)
                return super().create_task(coro, context=context, **options)

    # 3.11+: there is one; drop the other way with 3.10.
    if sys.version_info < (3, 11):
        module: Any = types.ModuleType("asyncio.taskgroups")
        sys.modules[module.__name__] = asyncio.taskgroups = module  # type: ignore[attr-defined]
    asyncio.TaskGroup = asyncio.taskgroups.TaskGroup = TaskGroup  # type: ignore[attr-defined, misc]


def load_borrowed(folder: Path) -> Any:
    """
    Return the suite of Python 3.11, to be run on one that is older.
    """
    import exceptiongroup

    for name in ("BaseExceptionGroup", "ExceptionGroup"):
        setattr(builtins, name, getattr(exceptiongroup, name))
    utilities: Any = types.ModuleType("test.test_asyncio.utils")
    utilities.asyncio = asyncio
    # The rest of its utilities asks for what `test.support` has in 3.11.
    tree = ast.parse((folder / "utils.py").read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if getattr(node, "name", None) == "await_without_task"]
    exec(compile(tree, str(folder / "utils.py"), "exec"), vars(utilities))
    sys.modules[utilities.__name__] = utilities

    path = folder / "test_taskgroups.py"
    source = path.read_text(encoding="utf-8")
    assert source.count("except*") == 1
    # Which gives a group, too: the one that it has been raised in.
    source = source.replace("except* CustomException", "except BaseExceptionGroup")
    suite = types.ModuleType(SUITE)
    sys.modules[SUITE] = suite
    exec(compile(source, str(path), "exec"), vars(suite))
    return suite


def main(report: str, kind: str, seconds: str, folder: str) -> None:
    """
    Run the suite, for so many seconds at most, and write what came of it to the file `report`.
    """
    from _run_cpython_suite import Result  # beside this script

    faulthandler.dump_traceback_later(float(seconds), exit=True)
    arrange(kind)
    suite = importlib.import_module(SUITE) if sys.version_info >= (3, 11) else load_borrowed(Path(folder))
    tests = unittest.defaultTestLoader.loadTestsFromModule(suite)
    result: Any = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(tests)
    failed: Dict[str, str] = {test.id(): why for test, why in (*result.failures, *result.errors)}
    outcome = {"passed": result.passed, "failed": failed, "groups": groups, "shared": len(shared)}
    Path(report).write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
