"""
Run CPython's own `test_threading`, bare or with clew's thread and timer in the place of the stdlib's.

A script for a process of its own: `_run_cpython_threading.py REPORT (bare|clew) SECONDS`. The interpreters that
its tests start import it, too, to be arranged alike.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import threading
import types
import unittest
from collections import Counter
from pathlib import Path
from typing import Any, Dict

import clew

# It recurses until it is interrupted, and on a busy machine with CPython 3.12 or 3.13 that may not end it. It is
# about printing exceptions.
ENDLESS = "test_print_exception_gh_102056"

made: Dict[str, int] = Counter()


class Threading(types.ModuleType):
    """
    Be the module `threading`, but for the two classes.

    The module itself is left as it is: its private subclasses call `Thread.__init__` by that name.
    """

    def __getattribute__(self, name: str) -> Any:
        if name in {"Thread", "Timer"}:
            return getattr(clew, f"Context{name}")
        return getattr(threading, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(threading, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(threading, name)


def arrange() -> None:
    """
    Have whoever imports `threading` from now on get clew's classes.
    """
    # Looked up now: clew imports the stdlib's classes under the name of the module.
    assert clew.ContextThread is not clew.ContextTimer
    sys.modules["threading"] = Threading("threading")


def count_threads() -> None:
    """
    Count the threads that are started, by the module and the name of the nearest class of a library.
    """
    native_start = threading.Thread.start

    def start(self: threading.Thread) -> None:
        kind = next(c for c in type(self).__mro__ if c.__module__ in {"clew.executors.threads", "threading"})
        made[f"{kind.__module__}.{kind.__name__}"] += 1
        native_start(self)

    threading.Thread.start = start  # type: ignore[method-assign]


def main(report: str, kind: str, seconds: str) -> None:
    """
    Run the suite, for so many seconds at most, and write what came of it to the file `report`.
    """
    from _run_cpython_suite import Result, arrange_children

    faulthandler.dump_traceback_later(float(seconds), exit=True)
    count_threads()
    native = threading
    if kind == "clew":
        arrange_children("import _run_cpython_threading; _run_cpython_threading.arrange()")
        arrange()
    import test.test_threading as suite

    sys.modules["threading"] = native
    if hasattr(suite.ThreadingExceptionTests, ENDLESS):
        delattr(suite.ThreadingExceptionTests, ENDLESS)
    tests = unittest.defaultTestLoader.loadTestsFromModule(suite)
    result: Any = unittest.TextTestRunner(resultclass=Result, verbosity=0).run(tests)
    failed = {test.id(): why for test, why in (*result.failures, *result.errors)}
    Path(report).write_text(
        json.dumps({"passed": result.passed, "failed": failed, "started": made}),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
