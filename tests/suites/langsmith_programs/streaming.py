"""
The programs of LangSmith's pages on streaming, with the parent handed over as those say, and with that left out.
"""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Dict, Iterator, List

from tests.suites.langsmith_programs._programs import GENERATION, TASKS_TAKE_A_CONTEXT, Programs

PROGRAMS = Programs()
TOKENS = ["green", "tea"]


async def listed(stream: Any) -> List[Any]:
    return [chunk async for chunk in stream]


@PROGRAMS.add("""
    tokens
    tokens later
""")
def generators(sdk: Any) -> None:
    @sdk.traceable
    def tokens() -> Iterator[str]:
        yield from TOKENS

    @sdk.traceable(name="tokens later")
    async def tokens_later() -> AsyncIterator[str]:
        for token in TOKENS:
            yield token

    assert list(tokens()) == asyncio.run(listed(tokens_later())) == TOKENS


@PROGRAMS.add("""
    tokens
    tokens later
""")
def generators_whose_chunks_are_put_together(sdk: Any) -> None:
    @sdk.traceable(reduce_fn="".join)
    def tokens() -> Iterator[str]:
        yield from TOKENS

    @sdk.traceable(name="tokens later", reduce_fn="".join)
    async def tokens_later() -> AsyncIterator[str]:
        for token in TOKENS:
            yield token

    assert list(tokens()) == asyncio.run(listed(tokens_later())) == TOKENS


# LangSmith for 3.8 has one for each chunk.
@PROGRAMS.add("chat", differs=("events",) if GENERATION < 9 else ())
def model_whose_chunks_are_put_together(sdk: Any) -> None:
    def put_together(chunks: List[Dict[str, Any]]) -> Dict[str, Any]:
        text = "".join(chunk["choices"][0]["message"]["content"] for chunk in chunks)
        return {"choices": [{"message": {"content": text, "role": "assistant"}}]}

    @sdk.traceable(run_type="llm", reduce_fn=put_together, metadata={"ls_provider": "shop", "ls_model_name": "leaf"})
    def chat(messages: List[Dict[str, str]]) -> Iterator[Dict[str, Any]]:
        for text in ("You said: ", messages[-1]["content"]):
            yield {"choices": [{"message": {"content": text, "role": "assistant"}}]}

    assert len(list(chat([{"role": "user", "content": "tea"}]))) == 2


@PROGRAMS.add("tokens", since=9)
def generator_whose_chunks_are_masked(sdk: Any) -> None:
    @sdk.traceable(process_chunk=len)
    def tokens() -> Iterator[str]:
        yield from TOKENS

    assert list(tokens()) == TOKENS


HANDED_OVER = """
    outside
      inside
        step
        step
"""


def inside_of(sdk: Any) -> Any:
    @sdk.traceable
    async def step() -> None:
        await asyncio.sleep(0)

    @sdk.traceable
    async def inside(text: str) -> AsyncIterator[str]:
        for token in TOKENS:
            await step()
            yield token

    return inside


@PROGRAMS.add(HANDED_OVER)
def parent_handed_over_to_a_stream(sdk: Any) -> None:
    inside = inside_of(sdk)

    @sdk.traceable
    async def outside(text: str, run_tree: sdk.RunTree) -> AsyncIterator[str]:
        async for token in inside(text, langsmith_extra={"parent": run_tree}):
            yield token

    assert asyncio.run(listed(outside("tea"))) == TOKENS


@PROGRAMS.add(HANDED_OVER)
def parent_handed_over_to_a_stream_by_block(sdk: Any) -> None:
    inside = inside_of(sdk)

    @sdk.traceable
    async def outside(text: str, run_tree: sdk.RunTree) -> AsyncIterator[str]:
        with sdk.tracing_context(parent=run_tree):
            async for token in inside(text):
                yield token

    assert asyncio.run(listed(outside("tea"))) == TOKENS


@PROGRAMS.add(HANDED_OVER)
def streams_without_any_hand_over(sdk: Any) -> None:
    inside = inside_of(sdk)

    @sdk.traceable
    async def outside(text: str) -> AsyncIterator[str]:
        async for token in inside(text):
            yield token

    assert asyncio.run(listed(outside("tea"))) == TOKENS


@PROGRAMS.add("""
    request
      show
      show
      tokens
        step
        step
""")
def stream_and_what_its_consumer_does(sdk: Any) -> None:
    @sdk.traceable
    def step() -> None:
        pass

    @sdk.traceable
    def tokens() -> Iterator[str]:
        for token in TOKENS:
            step()
            yield token

    @sdk.traceable
    def show(token: str) -> None:
        pass

    @sdk.traceable
    def request() -> None:
        for token in tokens():
            show(token)

    request()


@PROGRAMS.add("""
    request
      show
      show
      tokens
        step
        step
""")
def async_stream_and_what_its_consumer_does(sdk: Any) -> None:
    @sdk.traceable
    async def step() -> None:
        pass

    @sdk.traceable
    async def tokens() -> AsyncIterator[str]:
        for token in TOKENS:
            await step()
            yield token

    @sdk.traceable
    async def show(token: str) -> None:
        pass

    @sdk.traceable
    async def request() -> None:
        async for token in tokens():
            await show(token)

    asyncio.run(request())


OPEN = """
    tokens
      open
        step
        step
"""


# Where LangSmith cannot step an async generator in a context of its own, it puts the stream's run back at each step.
FORGOTTEN = (
    None
    if TASKS_TAKE_A_CONTEXT
    else """
    tokens
      open
        step
      step
"""
)


@PROGRAMS.add(OPEN)
def block_that_is_open_at_a_yield(sdk: Any) -> None:
    @sdk.traceable
    def step() -> None:
        pass

    @sdk.traceable
    def tokens() -> Iterator[str]:
        with sdk.trace("open"):
            for token in TOKENS:
                step()
                yield token

    assert list(tokens()) == TOKENS


@PROGRAMS.add(OPEN, bare=FORGOTTEN)
def block_that_is_open_at_an_async_yield(sdk: Any) -> None:
    @sdk.traceable
    def step() -> None:
        pass

    @sdk.traceable
    async def tokens() -> AsyncIterator[str]:
        with sdk.trace("open"):
            for token in TOKENS:
                step()
                yield token

    assert asyncio.run(listed(tokens())) == TOKENS


@PROGRAMS.add(OPEN, bare=FORGOTTEN)
def async_block_that_is_open_at_an_async_yield(sdk: Any) -> None:
    @sdk.traceable
    async def step() -> None:
        await asyncio.sleep(0)

    @sdk.traceable
    async def tokens() -> AsyncIterator[str]:
        async with sdk.trace("open"):
            for token in TOKENS:
                await step()
                yield token

    assert asyncio.run(listed(tokens())) == TOKENS


@PROGRAMS.add("""
    request
      inside
        step
        step
      inside
        step
        step
""")
def streams_in_tasks(sdk: Any) -> None:
    inside = inside_of(sdk)

    @sdk.traceable
    async def request() -> List[Any]:
        return list(await asyncio.gather(*[listed(inside(text)) for text in ("green", "black")]))

    assert asyncio.run(request()) == [TOKENS, TOKENS]


# To LangSmith, each of the two is over when it has returned, and what it has returned is its output.
RETURNED = """
    request
      make
        step
        step
"""
OVER = """
    request
      make
      step
      step
"""


@PROGRAMS.add(RETURNED, bare=OVER, differs=("outputs",))
def function_that_returns_a_generator(sdk: Any) -> None:
    @sdk.traceable
    def step() -> None:
        pass

    def tokens() -> Iterator[str]:
        for token in TOKENS:
            step()
            yield token

    @sdk.traceable
    def make() -> Iterator[str]:
        return tokens()

    @sdk.traceable
    def request() -> List[str]:
        return list(make())

    assert request() == TOKENS


@PROGRAMS.add(RETURNED, bare=OVER, differs=("outputs",))
def coroutine_function_that_returns_an_async_generator(sdk: Any) -> None:
    @sdk.traceable
    def step() -> None:
        pass

    async def tokens() -> AsyncIterator[str]:
        for token in TOKENS:
            step()
            yield token

    @sdk.traceable
    async def make() -> AsyncIterator[str]:
        return tokens()

    @sdk.traceable
    async def request() -> List[str]:
        return await listed(await make())

    assert asyncio.run(request()) == TOKENS


# That is a failure to LangSmith.
@PROGRAMS.add(
    """
    request
      tokens
        step
    """,
    differs=("has_failed", "outputs"),
)
def stream_that_is_left_early(sdk: Any) -> None:
    @sdk.traceable
    def step() -> None:
        pass

    @sdk.traceable
    def tokens() -> Iterator[str]:
        for token in TOKENS:
            step()
            yield token

    @sdk.traceable
    def request() -> None:
        stream = tokens()
        for _ in stream:
            break
        stream.close()  # type: ignore[attr-defined]

    request()


@PROGRAMS.add(
    """
    request
      inside
        step
    """,
    differs=("has_failed", "outputs"),
)
def async_stream_that_is_left_early(sdk: Any) -> None:
    inside = inside_of(sdk)

    @sdk.traceable
    async def request() -> None:
        stream = inside("tea")
        async for _ in stream:
            break
        await stream.aclose()

    asyncio.run(request())


@PROGRAMS.add("""
    request
      left
        left.step
        left.step
      right
        right.step
        right.step
""")
def streams_that_take_turns(sdk: Any) -> None:
    @sdk.traceable
    def tokens(side: str) -> Iterator[str]:
        for token in TOKENS:
            with sdk.trace(f"{side}.step"):
                yield token

    @sdk.traceable
    def request() -> None:
        streams = [tokens(side, langsmith_extra={"name": side}) for side in ("left", "right")]
        for token in [*TOKENS, None]:
            assert [next(stream, None) for stream in streams] == [token, token]

    request()


@PROGRAMS.add("""
    tokens
    tokens later
""")
def streams_that_fail(sdk: Any) -> None:
    @sdk.traceable
    def tokens() -> Iterator[str]:
        yield TOKENS[0]
        raise KeyError("tea")

    @sdk.traceable(name="tokens later")
    async def tokens_later() -> AsyncIterator[str]:
        yield TOKENS[0]
        raise KeyError("tea")

    for consume in (lambda: list(tokens()), lambda: asyncio.run(listed(tokens_later()))):
        try:
            consume()
        except KeyError:
            continue
        raise AssertionError
