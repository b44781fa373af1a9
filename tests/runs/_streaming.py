"""
What the tests of traced streams share.
"""

from __future__ import annotations

import gc
from typing import Any, Callable

import pytest

import clew
from tests.context._loops import ASYNCIO, Main, run_on_trio

Run = Callable[[Main], Any]
on_every_loop = pytest.mark.parametrize("run", [*ASYNCIO.values(), run_on_trio], ids=[*ASYNCIO, "trio"])


@clew.traceable
def work(n: int) -> int:
    return n


def collect() -> None:
    """Put away what nobody refers to; PyPy takes more than one look."""
    for _ in range(3):
        gc.collect()


def summary(run: Any) -> Any:
    return run.name, run.status, run.inputs, run.outputs
