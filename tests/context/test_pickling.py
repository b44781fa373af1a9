"""
Objects with a Context refuse to be pickled, with the reason and the remedy. Copying them works where it can.
"""

from __future__ import annotations

import copy
import pickle
from contextvars import ContextVar
from typing import Any, Callable

import cloudpickle
import pytest

import clew

var: ContextVar[str] = ContextVar("var", default="default")


def read() -> str:
    return var.get()


async def read_later() -> str:
    return var.get()


REMEDY = r"holds the Context of this process; send the function itself, clew\.unwrap\(f\)"


@pytest.mark.parametrize("fn", [read, read_later])
def test_bound_function_says_by_value_why_it_is_not_pickled(fn: Callable[[], Any]) -> None:
    bound = clew.bind(fn)
    bound.__module__ = "__main__"
    with pytest.raises(clew.errors.ArgumentTypeError, match="a bound function, which " + REMEDY):
        cloudpickle.dumps(bound)
    assert pickle.loads(pickle.dumps(clew.unwrap(bound))) is fn


def test_docstring_of_bind_says_what_to_send() -> None:
    assert "process" in str(clew.bind.__doc__)
    assert "unwrap" in str(clew.bind.__doc__)


def test_bound_method_is_pickled_as_the_method() -> None:
    bound = clew.bind("text".upper)
    assert pickle.loads(pickle.dumps(clew.unwrap(bound)))() == "TEXT"


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_snapshot_says_why_it_is_not_pickled(dumps: Callable[[Any], bytes]) -> None:
    with pytest.raises(clew.errors.ArgumentTypeError, match="a Snapshot, which " + REMEDY):
        dumps(clew.capture())


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copy_of_a_snapshot_has_its_values(copied: Callable[[Any], Any]) -> None:
    token = var.set("captured")
    snapshot = clew.capture()
    var.reset(token)
    assert copied(snapshot).run(read) == "captured"
    assert copied(clew.bind(read))() == "default"
