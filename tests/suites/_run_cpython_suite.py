"""
Run CPython's own tests of its thread pool, bare or with clew's pool in the place of the stdlib's.

A script for a process of its own. What its report has to say is not here but in
`test_cpython_thread_pool.py`, which starts it.
"""

from __future__ import annotations

import concurrent.futures
import faulthandler
import importlib
import json
import pkgutil
import sys
import unittest
from pathlib import Path
from typing import Any, Dict, Iterator, List

import _replaced_pool  # beside this script

SUITE = "test.test_concurrent_futures"


class Result(unittest.TextTestResult):
    """
    Know which tests have passed, too: one that never started is in none of unittest's own lists.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.passed: List[str] = []

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.passed.append(test.id())


def arrange_children(arrange: str) -> List[str]:
    """
    Have the interpreters that tests start arranged by the statement `arrange`; return the list of their scripts.
    """
    script_helper: Any = importlib.import_module("test.support.script_helper")
    native_run = script_helper.run_python_until_end
    # They are started with -I, so what PYTHONPATH says has to be said again.
    prelude = f"import sys; sys.path[:] = {sys.path!r}\n{arrange}\n"
    scripts: List[str] = []

    def run_python_until_end(*args: str, **env_vars: Any) -> Any:
        # One that is started otherwise is counted here, and missed in the log of pools.
        scripts.append(args[-1])
        if args[-2:-1] == ("-c",):
            args = (*args[:-1], prelude + args[-1])
        return native_run(*args, **env_vars)

    script_helper.run_python_until_end = run_python_until_end
    return scripts


def collect() -> Iterator[Any]:
    """
    Yield the tests of the classes that are about the pool of threads.
    """
    suite = importlib.import_module(SUITE)
    modules = [suite]
    # 3.12+: the suite is a package, with a module for each subject.
    for info in pkgutil.iter_modules(getattr(suite, "__path__", ())):
        modules.append(importlib.import_module(f"{SUITE}.{info.name}"))
    for module in modules:
        for name, value in sorted(vars(module).items()):
            if name.startswith("ThreadPool") and isinstance(value, type) and issubclass(value, unittest.TestCase):
                yield from unittest.defaultTestLoader.loadTestsFromTestCase(value)


def run(config: Dict[str, Any]) -> Dict[str, Any]:
    """
    Run every `config["of"]`-th test, starting with number `config["part"]`, and return the report.
    """
    _replaced_pool.arrange(config, "suite")
    # 3.8 loads it only now; in this process, nothing depends on the moment. Drop with 3.8.
    assert concurrent.futures.ThreadPoolExecutor is not None
    scripts = arrange_children(f"import _replaced_pool; _replaced_pool.arrange({config!r}, 'child')")
    # Slow tests stand together: each part takes one of them in turn.
    tests = list(collect())[config["part"] :: config["of"]]
    # Noted before the run: unittest lets go of each test that it has run.
    pool_types = {(type(test).__name__, _replaced_pool.full_name(test.executor_type)) for test in tests}
    result: Any = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(unittest.TestSuite(tests))
    support: Any = importlib.import_module("test.support")
    return {
        "passed": result.passed,
        "failed": {test.id(): why for test, why in (*result.failures, *result.errors)},
        "skipped": [test.id() for test, _ in result.skipped],
        "pool_types": sorted(pool_types),
        "scripts": len(scripts),
        # Threads or processes were left over; for unittest, that is no failure.
        "altered": bool(support.environment_altered),
    }


def main() -> None:
    """
    Read the configuration from the only argument, run, and write the report where that says.
    """
    config = json.loads(sys.argv[1])
    faulthandler.dump_traceback_later(config["timeout"], exit=True)
    Path(config["report"]).write_text(json.dumps(run(config)), encoding="utf-8")


if __name__ == "__main__":
    main()
