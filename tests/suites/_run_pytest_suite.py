"""
Run tests of anyio's or trio's own by pytest, bare or with clew's task groups or nurseries in the place of theirs.

A script for a process of its own: `_run_pytest_suite.py REPORT (bare|clew|shared) SECONDS (anyio|trio) ROOT FILE...`.
Which tests need not pass is not here but in `test_anyio_and_trio_suites.py`, which starts it.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import signal
import sys
import types
from collections import Counter
from contextvars import copy_context
from functools import wraps
from pathlib import Path
from typing import Any, Callable, Dict, List, Set

import pytest

from clew.context._stepping.coroutines import ContextCoroutine

# How many groups or nurseries clew has opened, and how many tasks were given a context to share.
counts: Dict[str, int] = Counter()

# A thread that was given up may find its event loop closed, and pytest then blames whichever test comes next.
CONFIGURATION = """
[pytest]
filterwarnings =
    error
    ignore:Unknown config option:pytest.PytestConfigWarning
    ignore::pytest.PytestUnhandledThreadExceptionWarning
xfail_strict = true
anyio_mode = auto
markers = network
"""


def in_copied_context(start: Callable[..., Any]) -> Callable[..., Any]:
    """
    Return the method with a context to share for each task that is given none.
    """

    @wraps(start)
    def start_in_copied_context(*args: Any, context: Any = None, **kwargs: Any) -> Any:
        # anyio 4.14+: a method calls another one, with what was made of the first one's arguments.
        if context is None and not isinstance(args[-1], ContextCoroutine):
            counts["shared"] += 1
            context = copy_context()
        return start(*args, context=context, **kwargs)

    return start_in_copied_context


class SharingNurseryManager:
    """
    Open a nursery of clew's whose every task shares a context.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self.__enter__, self.__exit__ = manager.__enter__, manager.__exit__

    async def __aenter__(self) -> Any:
        nursery = await self._manager.__aenter__()
        nursery.start_soon = in_copied_context(nursery.start_soon)
        nursery.start = in_copied_context(nursery.start)
        return nursery

    # No frame more than there has to be: some tests count them.
    def __aexit__(self, *exc_info: Any) -> Any:
        return self._manager.__aexit__(*exc_info)

    def __enter__(self) -> Any:
        return self._manager.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        self._manager.__exit__(*exc_info)


def arrange_anyio(*, shares: bool) -> None:
    """
    Have all task groups of anyio's be clew's from now on, those of its portals, too.
    """
    module: Any = importlib.import_module("clew.tasks.anyio")
    native = importlib.import_module("anyio._core._tasks").create_task_group
    replacement = module.create_task_group

    @wraps(native)
    def create_task_group() -> Any:
        counts["opened"] += 1
        return replacement()

    if shares:
        # Handles show their coroutines, which many a test compares before it comes to its point.
        ContextCoroutine.__repr__ = lambda coro: repr(coro._coroutine)  # type: ignore[method-assign]
        for method in {"start_soon", "start", "create_task"} & {*vars(module.TaskGroup)}:
            setattr(module.TaskGroup, method, in_copied_context(getattr(module.TaskGroup, method)))
    replace("anyio", "create_task_group", native, create_task_group, module)


def arrange_trio(*, shares: bool) -> None:
    """
    Have all nurseries of trio's be clew's from now on.
    """
    module: Any = importlib.import_module("clew.tasks.trio")
    native = importlib.import_module("trio").open_nursery
    replacement = module.open_nursery

    @wraps(native)
    def open_nursery(strict_exception_groups: Any = None) -> Any:
        counts["opened"] += 1
        manager = replacement(strict_exception_groups)
        return SharingNurseryManager(manager) if shares else manager

    replace("trio", "open_nursery", native, open_nursery, module)


def replace(library: str, name: str, native: Any, replacement: Any, clews: Any) -> None:
    """
    Replace a function in all modules of a library that have it; a module of clew's finds the native one still.
    """
    whole = sys.modules[library]
    view: Any = types.ModuleType(library)
    view.__getattr__ = lambda attribute: getattr(whole, attribute)
    setattr(view, name, native)
    for path, module in [*sys.modules.items()]:
        if path.split(".")[0] == library and vars(module).get(name) is native:
            setattr(module, name, replacement)
    setattr(whole, name, replacement)  # which anyio may look up on first use only
    setattr(clews, library, view)


class Reporter:
    """
    Know what came of each test.
    """

    def __init__(self) -> None:
        self.passed: Set[str] = set()
        self.failed: Dict[str, str] = {}
        self.skipped: List[str] = []
        self.unfinished: List[str] = []

    def run(self, *options: str) -> None:
        """
        Have pytest run tests, of which it tells this, and note what comes of it besides.
        """
        try:
            status = pytest.main([*options], [self])
        except Warning as error:  # of what is collected as garbage at the very end
            self.unfinished.append(str(error))
        else:
            if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
                self.unfinished.append(str(status))

    def pytest_collection_finish(self) -> None:
        # Many tests collect garbage, again and again: not what pytest and all modules are made of, as well.
        if hasattr(gc, "freeze"):  # CPython
            gc.freeze()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext
            self.passed.discard(report.nodeid)  # it has failed after its end
        elif report.skipped:
            self.skipped.append(report.nodeid)
        elif report.when == "call":
            self.passed.add(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext


PLUGINS = {"anyio": ["anyio.pytest_plugin", "pytest_mock"], "trio": ["trio._tests.pytest_plugin"]}
# Pass bare, too, only if a thread is quick: to end, and to let go of a context whose job it has reported.
LEFT_OUT = [
    "tests/test_to_thread.py::test_asyncio_run_does_not_leak_event_loop",
    "tests/test_to_thread.py::test_run_sync_worker_cyclic_references",
]
CHANCES = 2
ARRANGEMENTS = {"anyio": arrange_anyio, "trio": arrange_trio}


def main(report: str, kind: str, seconds: str, library: str, root: str, *files: str) -> None:
    """
    Run the tests in files under `root`, for so many seconds at most, and write what came of it to the file `report`.
    """
    faulthandler.dump_traceback_later(float(seconds), exit=True)
    # Which it has not, if it was started in the background; some tests send themselves one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Next to the tests, there is nothing of ours.
    sys.dont_write_bytecode = True
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # anyio's conftest makes certificates with it, for tests of sockets.
    certificates: Any = types.ModuleType("trustme")
    certificates.CA = None
    sys.modules.setdefault("trustme", certificates)
    Path("pytest.ini").write_text(CONFIGURATION, encoding="utf-8")
    if kind != "bare":
        ARRANGEMENTS[library](shares=kind == "shared")
    options = ["-c", "pytest.ini", "--rootdir", root, "-p", "no:cacheprovider", "-p", "no:faulthandler", "--tb=short"]
    options += [option for plugin in PLUGINS[library] for option in ("-p", plugin)]
    options += [f"--deselect={test}" for test in LEFT_OUT]
    reporter = Reporter()
    reporter.run(*options, *(str(Path(root, file)) for file in files))
    # Some count on time, or on a thread's having ended: whichever fails is given more chances, alone.
    for test in [*reporter.failed]:
        for _ in range(CHANCES):
            again = Reporter()
            again.run(*options, str(Path(root, test)))
            if again.passed == {test} and not again.failed:
                reporter.passed.add(test)
                del reporter.failed[test]
                break
    outcome: Dict[str, Any] = {
        "passed": sorted(reporter.passed),
        "failed": reporter.failed,
        "skipped": reporter.skipped,
    }
    outcome.update(unfinished=reporter.unfinished, counts=counts)
    Path(report).write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
