"""
Run CPython's own tests of its thread pool, bare or with clew's pool in the place of the stdlib's.

A script for a process of its own, as what it replaces stays replaced. What its report has to say is
not here but in `test_cpython_thread_pool.py`, which starts it.
"""

from __future__ import annotations

import concurrent.futures.thread
import faulthandler
import functools
import importlib
import json
import pkgutil
import sys
import unittest
from pathlib import Path
from typing import Any, Dict, Iterator, List

SUITE = "test.test_concurrent_futures"


class Result(unittest.TextTestResult):
    """
    Know which tests have passed, too: a test that never started is in none of unittest's own lists.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.passed: List[str] = []

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.passed.append(test.id())


def arrange(config: Dict[str, Any], *, role: str) -> None:
    """
    Make the stdlib of this process the one that `config` describes, before anybody uses it.

    Args:
        config: `borrowed`, directories in which to look for tests that this interpreter does not
            ship; `with_clew`, whether to replace the pool; `pools`, the file that gets a line for
            each pool made.
        role: what stands in those lines for this process.
    """
    # What is borrowed is in the installation of another interpreter, to be left as it is.
    sys.dont_write_bytecode = True
    tests: Any = importlib.import_module("test")
    tests.__path__.extend(config["borrowed"])
    _log_pools(config["pools"], role)
    if not config["with_clew"]:
        return

    # Imported before the stdlib's name is taken, as the stdlib's class is the base of clew's.
    from clew import ContextThreadPoolExecutor

    futures: Any = concurrent.futures
    futures.ThreadPoolExecutor = futures.thread.ThreadPoolExecutor = ContextThreadPoolExecutor
    # Some tests write a script that imports the pool by the `__name__` of its class.
    futures.ContextThreadPoolExecutor = ContextThreadPoolExecutor


def _log_pools(path: str, role: str) -> None:
    base: Any = concurrent.futures.ThreadPoolExecutor
    native_init = base.__init__

    @functools.wraps(native_init)
    def init(self: object, *args: Any, **kwargs: Any) -> None:
        with Path(path).open("a", encoding="utf-8") as log:
            log.write(f"{role} {_full_name(type(self))}\n")
        native_init(self, *args, **kwargs)

    base.__init__ = init


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def arrange_children(config: Dict[str, Any]) -> List[str]:
    """
    Have the interpreters that tests start arranged like this one; return the list of their scripts.
    """
    script_helper: Any = importlib.import_module("test.support.script_helper")
    native_run = script_helper.run_python_until_end
    # They are started with -I, so what PYTHONPATH says has to be said again.
    prelude = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        f"import {Path(__file__).stem} as suite; suite.arrange({config!r}, role='child')\n"
    )
    scripts: List[str] = []

    def run_python_until_end(*args: str, **env_vars: Any) -> Any:
        # Whoever starts one without a script would be counted here, but make no pool that is logged.
        scripts.append(args[-1])
        if args[-2] == "-c":
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
    # 3.12+: a package, with a module for each subject.
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
    arrange(config, role="suite")
    scripts = arrange_children(config)
    # Slow tests stand together, so take turns.
    tests = list(collect())[config["part"] :: config["of"]]
    # Noted before the run: unittest lets go of each test that it has run.
    pool_types = {(type(test).__name__, _full_name(test.executor_type)) for test in tests}
    result: Any = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(unittest.TestSuite(tests))
    support: Any = importlib.import_module("test.support")
    return {
        "passed": result.passed,
        "failed": [test.id() for test, _ in (*result.failures, *result.errors)],
        "skipped": [test.id() for test, _ in result.skipped],
        "pool_types": sorted(pool_types),
        "scripts": len(scripts),
        # What regrtest calls "env changed": threads or processes were left over.
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
