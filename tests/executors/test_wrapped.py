"""
A wrapped executor as an object: copied and pickled as the executor in it.
"""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

import clew
from tests.edges._threads import DEADLINE

var: ContextVar[str] = ContextVar("var", default="default")


class Immediate(Executor):
    """An executor that can be pickled."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_copy_submits_to_the_same_executor() -> None:
    with ThreadPoolExecutor(1) as pool:
        copied = copy.copy(clew.wrap_executor(pool))
        assert clew.unwrap(copied) is pool
        var.set("set")
        assert copied.submit(var.get).result(DEADLINE) == "set"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda executor: pickle.loads(pickle.dumps(executor))])
def test_deep_copy_and_pickle_are_what_the_executor_makes_of_them(copied: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        for executor in (pool, clew.wrap_executor(pool)):
            with pytest.raises((TypeError, pickle.PicklingError), match=r"(?i)can(not|.t) pickle"):
                copied(executor)
    arrived = copied(clew.wrap_executor(Immediate()))
    assert type(clew.unwrap(arrived)) is Immediate
    assert arrived.submit(int, "3").result(DEADLINE) == 3


def test_object_that_was_made_without_init_has_no_attributes() -> None:
    kind = type.__call__(type, clew.wrap_executor(Immediate()))
    with pytest.raises(AttributeError, match="_wrapped_executor"):
        kind.__new__(kind).anything
