"""
Run jobs at once under Sentry with its own integrations, which patch the stdlib's threads and pools for good.

A module for a process of its own: `_run_with_sentry (sentry|clew)` says who is there first.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any, Callable, List, Type

import clew
from tests.edges._threads import in_empty_context
from tests.foreign._at_once import Jobs, in_threads, submitted, two_jobs, wrapped
from tests.foreign._tracers import Sentry


class Integrated(Sentry):
    has_integrations = True


def steps_of(kind: Type[Any], way: Callable[[Jobs], None]) -> List[bool]:
    carrier = kind()

    def scenario() -> None:
        with carrier.request():
            way(two_jobs(carrier.step))

    in_empty_context(scenario)
    carrier.close()
    steps: List[bool] = carrier.steps()
    return steps


def main(first: str) -> None:
    """
    Print which steps belong to the request.
    """
    if first == "sentry":
        Integrated()
    clew.install()
    found = {
        "installed, submit": steps_of(Integrated, submitted(ThreadPoolExecutor)),
        "installed, threads": steps_of(Integrated, in_threads(Thread)),
    }
    clew.uninstall()
    found["stdlib's submit"] = steps_of(Integrated, submitted(ThreadPoolExecutor))
    found["submit"] = steps_of(Integrated, submitted(clew.ContextThreadPoolExecutor))
    found["wrapped"] = steps_of(Integrated, submitted(wrapped))
    found["threads"] = steps_of(Integrated, in_threads(clew.ContextThread))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
