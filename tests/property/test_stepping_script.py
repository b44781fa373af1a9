"""
Random coroutines under random scripts of sends, throws and closes: a wrapped one does what the bare one does.

The bare one has a context to itself. The wrapped one is stepped by consumers that change everything between steps.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import Any, List, Tuple, Type

import pytest
from hypothesis import given, settings, strategies as st

import clew
from tests.context._coroutines import awaiting, context_with, suspend, var
from tests.context._traces import STEPS, Trace, trace

other: ContextVar[int] = ContextVar("other")

numbers = st.integers(0, 3)
errors: st.SearchStrategy[Type[BaseException]] = st.sampled_from(
    [KeyError, RuntimeError, StopIteration, StopAsyncIteration, KeyboardInterrupt, GeneratorExit]
)
results = st.sampled_from([None, (), (1, 2), ValueError("a value"), StopIteration(1)])
programs = st.deferred(lambda: st.lists(instructions, max_size=4))
suspended = programs.map(lambda program: [("suspend", 0), *program])
instructions = st.one_of(
    st.tuples(st.just("suspend"), numbers),
    st.tuples(st.just("suspend"), numbers),
    st.tuples(st.just("set"), numbers),
    st.tuples(st.just("look")),
    st.tuples(st.just("raise"), errors),
    st.tuples(st.just("return"), results),
    st.tuples(st.just("await"), programs),
    st.tuples(st.just("try"), suspended, programs),
    st.tuples(st.just("finally"), suspended, programs),
)
# What keeps a coroutine going comes often, and so does what closes it.
scripts = st.lists(st.sampled_from(["send None"] * 9 + ["close"] * 3 + sorted(STEPS)), min_size=1, max_size=12)


async def perform(program: List[Tuple[Any, ...]], seen: List[object]) -> Any:  # noqa: C901  a table of instructions
    tokens = []
    for operation, *args in program:
        if operation == "suspend":
            seen.append(repr(await suspend(args[0])))
        elif operation == "set":
            tokens.append(var.set(args[0]))
        elif operation == "look":
            seen.append((var.get(), other.get("unset")))
        elif operation == "raise":
            raise args[0](len(seen))
        elif operation == "return":
            return args[0]
        elif operation == "await":
            seen.append(repr(await perform(args[0], seen)))
        elif operation == "try":
            try:
                await perform(args[0], seen)
            except BaseException as error:
                seen.append((repr(error), var.get()))
                return await perform(args[1], seen)
        elif operation == "finally":
            try:
                await perform(args[0], seen)
            finally:
                seen.append(var.get())
                await perform(args[1], seen)
    while tokens:
        var.reset(tokens.pop())
    return len(seen)


class FromElsewhere:
    """Step a coroutine each time in another context, whose values are not those that the body has."""

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine
        self.left: List[Context] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)

    def send(self, value: Any) -> Any:
        return self._run(self._coroutine.send, value)

    def throw(self, *exception: Any) -> Any:
        return self._run(self._coroutine.throw, *exception)

    def close(self) -> Any:
        return self._run(self._coroutine.close)

    def _run(self, fn: Any, *args: Any) -> Any:
        context = context_with("of a consumer")
        context.run(other.set, len(self.left))
        self.left.append(context)
        return context.run(fn, *args)


def trace_of(program: Any, script: List[str], wrap: Any) -> Tuple[Trace, List[object]]:
    seen: List[object] = []
    coroutine = perform(program, seen)
    found = trace(wrap(coroutine), script)
    coroutine.close()  # which nobody has awaited, if the first step was no step
    return found, seen


@pytest.mark.filterwarnings("ignore:.*signature of throw:DeprecationWarning")
@settings(deadline=None, max_examples=200)
@given(programs, scripts, st.booleans())
def test_wrapped_coroutine_leaves_the_trace_of_the_bare_one(
    program: List[Tuple[Any, ...]], script: List[str], is_awaited: bool
) -> None:
    consumers = []

    def stepped_from_elsewhere(coroutine: Any) -> Any:
        wrapped = clew.wrap_coroutine(coroutine, context_with("ada"))
        consumers.append(FromElsewhere(awaiting(wrapped) if is_awaited else wrapped))
        return consumers[0]

    expected = context_with("ada").run(trace_of, program, script, awaiting if is_awaited else lambda bare: bare)
    assert trace_of(program, script, stepped_from_elsewhere) == expected
    for number, context in enumerate(consumers[0].left):
        assert (context[var], context[other]) == ("of a consumer", number)
