"""
Run CPython's own `test_multiprocessing` on threads, bare or with clew's pool in the place of the stdlib's.

A script for a process of its own: `_run_cpython_multiprocessing.py REPORT (bare|clew) SECONDS`.
"""

from __future__ import annotations

import faulthandler
import functools
import importlib
import json
import multiprocessing.pool
import sys
import types
import unittest
from collections import Counter
from pathlib import Path
from typing import Any, Dict
from unittest import mock

_stdlib: Any = multiprocessing.pool
native = _stdlib.ThreadPool
made: Dict[str, int] = Counter()


def count_pools() -> None:
    """
    Count the pools of threads that are made, by the name of their class.
    """
    native_init = native.__init__

    @functools.wraps(native_init)
    def init(self: object, *args: Any, **kwargs: Any) -> None:
        made[type(self).__name__] += 1
        native_init(self, *args, **kwargs)

    native.__init__ = init


def replace_pool() -> None:
    """
    Have whoever asks for the stdlib's pool of threads get clew's, for good.
    """
    # Imported while the stdlib's name still leads to the stdlib's class, the base of clew's.
    from clew.executors.multiprocessing_pool import ContextThreadPool

    # `multiprocessing.dummy.Pool`, which the tests use, looks it up there each time.
    _stdlib.ThreadPool = ContextThreadPool


def collect() -> unittest.TestSuite:
    """
    Return the tests that the suite has for threads; those for processes and for managers are left out.
    """
    suite: Any = importlib.import_module("test._test_multiprocessing")
    # The tests are made in a module that asks for them, with a set-up and a tear-down for all.
    module = types.ModuleType("test_multiprocessing_threads")
    sys.modules[module.__name__] = module
    suite.install_tests_in_module_dict(vars(module), multiprocessing.get_start_method())
    # In 3.11 and 3.12 it takes five minutes, bare as well, where a worker is quick enough to start one of its
    # jobs, which 3.13 has made as short as this. Drop with 3.12.
    pool_tests: Any = vars(module)["WithThreadsTestPool"]
    shorten = mock.patch("test.support.LONG_TIMEOUT", 1.0, create=True)
    pool_tests.test_terminate = shorten(pool_tests.test_terminate)
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    return unittest.TestSuite(
        load(value) for name, value in sorted(vars(module).items()) if name.startswith("WithThreads")
    )


def main(report: str, kind: str, seconds: str) -> None:
    """
    Run the tests, for so many seconds at most, and write what came of it to the file `report`.
    """
    from _run_cpython_suite import Result  # beside this script

    faulthandler.dump_traceback_later(float(seconds), exit=True)
    count_pools()
    if kind == "clew":
        replace_pool()
    result: Any = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(collect())
    support: Any = importlib.import_module("test.support")
    Path(report).write_text(
        json.dumps(
            {
                "passed": result.passed,
                "failed": {test.id(): why for test, why in (*result.failures, *result.errors)},
                "skipped": [test.id() for test, _ in result.skipped],
                "made": made,
                # Threads or processes were left over; for unittest, that is no failure.
                "altered": bool(support.environment_altered),
            }
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
