"""
G12 and G17 in Starlette: its own `iterate_in_threadpool` and `StreamingResponse`, which read in a thread a step.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import ExitStack
from contextvars import copy_context
from time import monotonic
from typing import Any, Callable, Iterator, List, Tuple

import pytest
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse
from starlette.routing import Route

import clew
from tests.context._loops import run_on_asyncio
from tests.edges._threads import DEADLINE, as_ada, in_empty_context, user
from tests.foreign._sdk_streams import STREAMS
from tests.foreign._sse import WORDS, Notes, serving

Wrap = Callable[[Any], Any]


def bare(stream: Any) -> Any:
    return stream


def read_in_threadpool(open_stream: Any, wrap: Wrap) -> Tuple[Notes, List[str], bool]:
    notes = Notes()

    async def read(stream: Any) -> Tuple[List[str], bool]:
        user.set("someone else")
        before = dict(copy_context())
        items = [str(item) async for item in iterate_in_threadpool(stream)]
        return items, dict(copy_context()) == before

    with ExitStack() as stack:
        url = stack.enter_context(serving(notes))
        stream = as_ada(lambda: wrap(stack.enter_context(open_stream(url, notes))))
        items, is_unchanged = in_empty_context(run_on_asyncio, lambda: read(stream))
    return notes, items, is_unchanged


@pytest.mark.parametrize("open_stream", STREAMS)
def test_threadpool_reads_a_bare_stream_in_the_consumers_context(open_stream: Any) -> None:
    notes, _, _ = read_in_threadpool(open_stream, bare)
    assert len(notes.read) >= len(WORDS)
    assert set(notes.read) == {"someone else"}


@pytest.mark.parametrize("open_stream", STREAMS)
def test_threadpool_reads_a_stream_in_the_context_of_whoever_wrapped_it(open_stream: Any) -> None:
    notes, items, is_unchanged = read_in_threadpool(open_stream, clew.wrap_stream)
    assert len(notes.read) >= len(WORDS)
    assert set(notes.read) == {"ada"}
    assert items == read_in_threadpool(open_stream, bare)[1]
    assert is_unchanged


def tell_resets(resets: List[object]) -> Iterator[str]:
    """Give three words, and note how each token fares that was taken before one and is reset after it."""
    for _ in range(3):
        token = user.set(f"{user.get()}'s")
        try:
            yield user.get()
        finally:
            try:
                user.reset(token)
            except ValueError as error:
                resets.append(type(error))
            else:
                resets.append("fine")


def served(words: Callable[[List[object]], Any], *, stays: bool) -> Tuple[List[str], List[object]]:
    """Return what a streaming response has sent, to a client that stays or goes, and how its tokens fared."""
    resets: List[object] = []

    async def endpoint(_: Any) -> StreamingResponse:
        token = user.set("ada")
        try:
            return StreamingResponse(words(resets))
        finally:
            user.reset(token)  # the request has returned when the first word is read

    app = Starlette(routes=[Route("/", endpoint)])
    sent: List[str] = []

    async def main() -> None:
        may_go = asyncio.Event()

        async def receive() -> Any:
            await may_go.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message.get("body"):
                sent.append(message["body"].decode("ascii"))
                if not stays:
                    may_go.set()

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "root_path": ""}
        await app({**scope, "asgi": {"version": "3.0", "spec_version": "2.0"}}, receive, send)

    in_empty_context(run_on_asyncio, main)
    # The thread that was at the next word may be at it still, and has the generator.
    deadline = monotonic() + DEADLINE
    while gc.collect() or (not resets and monotonic() < deadline):
        pass
    return sent, resets


@pytest.mark.parametrize("stays", [True, False], ids=["client stays", "client goes"])
def test_bare_streaming_response_has_lost_its_request(stays: bool) -> None:
    sent, resets = served(tell_resets, stays=stays)
    assert sent[0] == "nobody's"
    assert ValueError in resets


@pytest.mark.parametrize("wrap", [clew.wrap_stream, clew.wrap_generator])
def test_streaming_response_keeps_its_requests_context(wrap: Any) -> None:
    assert served(lambda resets: wrap(tell_resets(resets)), stays=True) == (["ada's"] * 3, ["fine"] * 3)


def test_streaming_response_keeps_its_requests_context_when_its_client_goes() -> None:
    # What is left of the response is a garbage cycle: there, it takes a `context_generator`.
    sent, resets = served(clew.context_generator(tell_resets), stays=False)
    assert set(sent) == {"ada's"}
    assert set(resets) == {"fine"}
