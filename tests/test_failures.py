"""
What is kept of a run's exception: its kind and its text, whatever the exception does.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from unittest.mock import MagicMock

import pytest

import clew
from clew.failures import status_of
from clew.runs import sampling

if sys.version_info >= (3, 11):
    Group: Any = BaseExceptionGroup  # noqa: F821  3.11's
else:
    from exceptiongroup import BaseExceptionGroup as Group


def nested(error: BaseException, depth: int) -> BaseException:
    for _ in range(depth):
        error = Group("group", [error])
    return error


def with_members(members: Any) -> BaseException:
    kind = type("Odd", (Group,), {"exceptions": property(members)})
    odd: BaseException = kind("odd", [ValueError()])
    return odd


def raises(_: object) -> Any:
    raise ValueError


# status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError(), "error"),
        (KeyboardInterrupt(), "error"),
        (GeneratorExit(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (nested(asyncio.CancelledError(), 2000), "cancelled"),
        (nested(ValueError(), 2000), "error"),
        (Group("group", [nested(asyncio.CancelledError(), 3), GeneratorExit()]), "cancelled"),
        (Group("group", [nested(asyncio.CancelledError(), 3), ValueError()]), "error"),
        (with_members(lambda self: ()), "error"),
        (with_members(lambda self: None), "error"),
        (with_members(lambda self: 5), "error"),
        (with_members(lambda self: ["no exception"]), "error"),
        (with_members(lambda self: [self, GeneratorExit()]), "cancelled"),
        (with_members(lambda self: [type(self)("again", [ValueError()])]), "error"),
        (with_members(raises), "error"),
    ],
)
def test_status_tells_cancellations_from_errors(error: BaseException, status: str) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("library", ["asyncio", "trio", "exceptiongroup"])
@pytest.mark.parametrize("stub", [MagicMock(), None, object()])
def test_status_is_right_beside_a_stub_of_a_library(monkeypatch: Any, library: str, stub: object) -> None:
    @clew.traceable
    def fails() -> None:
        raise KeyError("the program's own")

    monkeypatch.setitem(sys.modules, library, stub)
    with clew.record() as runs, pytest.raises(KeyError, match="own"):
        fails()
    assert runs.find(name="fails").status == "error"


# the end of the run


@pytest.mark.parametrize("failure", [RecursionError(), ValueError()], ids=repr)
def test_what_fails_at_the_end_does_not_stand_in_for_the_programs_exception(
    monkeypatch: Any, failure: Exception
) -> None:
    def describe(error: BaseException, traceback: object) -> Any:
        raise failure

    @clew.traceable
    def fails() -> None:
        raise KeyError("the program's own")

    monkeypatch.setattr("clew.runs.run.describe_error", describe)
    with clew.record() as runs, pytest.raises(KeyError, match="own"):
        fails()
    run = runs.find(name="fails")
    assert (run.status, run.error) == ("error", None)
    assert run.end_time_ns is not None
    assert clew.get_current_run_tree() is None


def test_an_end_hook_that_fails_does_not_stand_in_for_the_programs_exception() -> None:
    def hook(run: clew.RunTree) -> None:
        raise ValueError("of the hook")

    sampling.add_end_hook(hook)
    try:
        with clew.record() as runs, pytest.raises(KeyError, match="own"), clew.trace("fails"):
            raise KeyError("the program's own")
    finally:
        sampling.remove_end_hook(hook)
    run = runs.find(name="fails")
    assert run.status == "error"
    assert run.error is not None
    assert run.error.rstrip().endswith('KeyError: "the program\'s own"')
