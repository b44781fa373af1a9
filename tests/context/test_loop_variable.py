"""
sniffio's variable names the event loop of a thread, so it does not travel to other threads.
"""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import copy_context
from typing import Type

import anyio
import pytest
import sniffio

import clew
from clew import ContextThreadPoolExecutor
from tests.edges._threads import DEADLINE, in_empty_context


def library() -> str:
    try:
        return sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return "none"


def copying_submit(pool: Executor) -> str:
    """Submit a job as a hand-written pool does that copies the context."""
    return pool.submit(copy_context().run, library).result(DEADLINE)


def in_marked_context(pool_class: Type[Executor], use: object) -> object:
    sniffio.current_async_library_cvar.set("asyncio")
    with pool_class(1) as pool:  # type: ignore[call-arg]
        return use(pool)  # type: ignore[operator]


def test_bare_copy_of_a_context_claims_a_loop_in_a_thread_without_one() -> None:
    assert in_empty_context(in_marked_context, ThreadPoolExecutor, copying_submit) == "asyncio"


@pytest.mark.parametrize(
    "use",
    [
        lambda pool: pool.submit(library).result(DEADLINE),
        lambda pool: next(iter(pool.map(library_of, [0]))),
        lambda pool: pool.submit(clew.bind(library)).result(DEADLINE),
        lambda pool: pool.submit(clew.capture().run, library).result(DEADLINE),
    ],
    ids=["submit", "map", "bind", "Snapshot.run"],
)
def test_thread_is_told_of_no_loop(use: object) -> None:
    assert in_empty_context(in_marked_context, ContextThreadPoolExecutor, use) == "none"


def library_of(_: object) -> str:
    return library()


def test_bound_function_is_told_of_the_loop_of_its_caller() -> None:
    bound = in_empty_context(clew.bind, library)

    def call_under(name: str) -> str:
        sniffio.current_async_library_cvar.set(name)
        return bound()

    assert in_empty_context(call_under, "trio") == "trio"
    assert bound() == "none"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_job_submitted_from_a_loop_can_run_a_loop_of_its_own(backend: str) -> None:
    async def inner() -> str:
        return sniffio.current_async_library()

    async def outer() -> str:
        with ContextThreadPoolExecutor(1) as pool:
            return pool.submit(anyio.run, inner, backend=backend).result(DEADLINE)

    assert anyio.run(outer, backend=backend) == backend
