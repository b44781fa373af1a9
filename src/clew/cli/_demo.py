"""
`clew demo`: a small traced program that does real work, in a bare thread pool and in clew's.
"""

from __future__ import annotations

import platform
import sys
import sysconfig
import tokenize
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Type

from clew.cli._output import print_lines
from clew.errors import ClewError
from clew.executors.thread_pool import ContextThreadPoolExecutor
from clew.runs.recording import Recording, record
from clew.runs.trace import trace
from clew.runs.traceable import traceable

__all__ = ("show_demo",)

PACKAGES = ("concurrent", "dbm", "html", "json", "wsgiref")
THREADS = 4


@traceable
def survey(pool_class: Type[Executor]) -> int:
    """
    Count the functions of some packages of the standard library, with one job in the pool for each package.
    """
    with pool_class(max_workers=THREADS) as pool:  # type: ignore[call-arg]  # both classes take it
        return sum(pool.map(count_in_package, PACKAGES))


def count_in_package(package: str) -> int:
    with trace(f"package {package}") as run:
        folder = Path(sysconfig.get_path("stdlib")) / package
        total = sum(count_in_module(folder, path) for path in sorted(folder.rglob("*.py")))
        run.add_outputs({"functions": total})
    return total


def count_in_module(folder: Path, path: Path) -> int:
    # `ast.parse` would fail at times: up to 3.12 it is not safe in several threads at once.
    name = f"parse {path.relative_to(folder)}"
    with trace(name, run_type="parser", inputs={"path": str(path)}), path.open("rb") as file:
        return sum(token.string == "def" for token in tokenize.tokenize(file.readline))


def show_demo() -> None:
    """
    Run the survey in both pools, and print the two trees.
    """
    lines = [f"Counting the functions in {', '.join(PACKAGES)} of Python {platform.python_version()}'s own library,"]
    lines += [f"a job for each package in a pool of {THREADS} threads. Every step is traced by clew."]
    counts = []
    pools = {
        "concurrent.futures.ThreadPoolExecutor": ThreadPoolExecutor,
        "clew.ContextThreadPoolExecutor": ContextThreadPoolExecutor,
    }
    for number, (name, pool_class) in enumerate(pools.items(), 1):
        with record() as runs:
            counts.append(survey(pool_class))
        lines += ["", f"{number}. {name}: {_verdict(runs)}", ""]
        lines += runs.tree(details=True).splitlines()
    if not counts[0]:
        raise ClewError(
            f"expected Python's own library in {sysconfig.get_path('stdlib')!r}, found no source files there"
        )
    lines += ["", f"Both found {counts[0]} functions. The second program differs from the first in one word:"]
    lines += ["ContextThreadPoolExecutor, where it said ThreadPoolExecutor."]
    print_lines(lines, sys.stdout)


def _verdict(runs: Recording) -> str:
    traces = len(runs.roots)
    return "one whole trace" if traces == 1 else f"{traces} traces, where there is one piece of work"
