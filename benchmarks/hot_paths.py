"""
The operations that a program makes most often: what a change must not make slower.

`python -m benchmarks --against` measures them on two builds. They use public names alone, so that both have them.
"""

from __future__ import annotations

import contextlib

import clew
from benchmarks._cases import Case, Measure, Section, calls
from benchmarks.executors import ours, submit_and_wait, wrapped
from benchmarks.generators import async_items, items as plain_items, plain, plain_async
from benchmarks.propagation import as_parent, in_run, passed_on, written_by_a_new_run
from benchmarks.traceable import (
    clew_block,
    items,
    items_later,
    stepped,
    traced,
    traced_each,
    traced_each_later,
    traced_later,
    under_unsampled,
    unsampled,
)

__all__ = ("SECTIONS",)


def one_item(_: int) -> None:
    for _item in traced_each(1):
        pass


def one_item_later(_: int) -> None:
    async def consume() -> None:
        async for _item in traced_each_later(1):
            pass

    with contextlib.suppress(StopIteration):
        consume().send(None)


def each_way(*scopes) -> tuple:
    """
    Return the cases of a traced function of each kind, and of a block, with each batch in these scopes.
    """
    return (
        Case("a call", calls(traced, *scopes)),
        Case("a coroutine", calls(stepped(traced_later), *scopes)),
        Case("a generator of one item", calls(one_item, *scopes)),
        Case("an async generator of one item", calls(one_item_later, *scopes)),
        Case("a block", calls(clew_block, *scopes)),
    )


def injected(loops: int) -> float:
    run: Measure = in_run(lambda _: lambda _: clew.get_current_headers())
    return run(loops)


SECTIONS = (
    Section("recorded", each_way(clew.record)),
    Section("off", each_way()),
    Section(
        "an item",
        (
            Case("context_generator", plain_items(clew.context_generator(plain))),
            Case("context_generator, async", async_items(clew.context_generator(plain_async))),
            Case("traceable, recorded", items(traced_each, clew.record)),
            Case("traceable, recorded, async", items_later(traced_each_later, clew.record)),
        ),
    ),
    Section(
        "executors",
        (
            Case("submit", submit_and_wait(ours)),
            Case("submit, wrap_executor", submit_and_wait(wrapped)),
            Case("a bound call", calls(clew.bind(lambda value: value))),
        ),
    ),
    Section(
        "headers",
        (
            Case("inject", injected),
            Case("inject, from a new run", in_run(written_by_a_new_run)),
            Case("inject, recording off", passed_on),
            Case("extract", calls(as_parent)),
        ),
    ),
    # Last, as they leave a sampler behind.
    Section("root, not sampled", each_way(unsampled)),
    Section("below a root that is not sampled", each_way(under_unsampled)),
)
