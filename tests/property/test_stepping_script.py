"""
Random coroutines under random scripts of sends, throws and closes: a wrapped one does what the bare one does.

The bare one has a context to itself. The wrapped one is stepped by consumers that change everything between steps.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import Any, Callable, List, Tuple, Type

import pytest
from hypothesis import given, settings, strategies as st

import clew
from tests.context._coroutines import awaiting, context_with, suspend, var
from tests.context._traces import STEPS, Trace, put_away, trace

Program = List[Tuple[Any, ...]]
Wrap = Callable[[Any], Any]

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


class Performance:
    """Perform a program, and keep what was seen, and each coroutine that was made for it."""

    def __init__(self) -> None:
        self.seen: List[object] = []
        self._coroutines: List[Any] = []

    def of(self, program: Program) -> Any:
        coroutine = self._perform(program)
        self._coroutines.append(coroutine)
        return coroutine

    async def _perform(self, program: Program) -> Any:  # noqa: C901  a table of instructions
        tokens = []
        for operation, *args in program:
            if operation == "suspend":
                self.seen.append(repr(await suspend(args[0])))
            elif operation == "set":
                tokens.append(var.set(args[0]))
            elif operation == "look":
                self.seen.append((var.get(), other.get("unset")))
            elif operation == "raise":
                raise args[0](len(self.seen))
            elif operation == "return":
                return args[0]
            elif operation == "await":
                self.seen.append(repr(await self.of(args[0])))
            elif operation == "try":
                try:
                    await self.of(args[0])
                except BaseException as error:
                    self.seen.append((repr(error), var.get()))
                    return await self.of(args[1])
            elif operation == "finally":
                try:
                    await self.of(args[0])
                finally:
                    self.seen.append(var.get())
                    await self.of(args[1])
        while tokens:
            var.reset(tokens.pop())
        return len(self.seen)

    def put_away(self) -> None:
        """Close what nobody has awaited, and what did not want to close."""
        while self._coroutines:
            put_away(self._coroutines.pop())


class FromElsewhere:
    """Step a coroutine each time in another context, whose values are not those that the body has."""

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine
        self._contexts: List[Context] = []

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
        context.run(other.set, len(self._contexts))
        self._contexts.append(context)
        return context.run(fn, *args)

    def check(self) -> None:
        for number, context in enumerate(self._contexts):
            assert (context[var], context[other]) == ("of a consumer", number)


def trace_of_bare(program: Program, script: List[str], wrap: Wrap) -> Tuple[Trace, List[object]]:
    performance = Performance()
    found = trace(wrap(performance.of(program)), script), [*performance.seen]
    performance.put_away()
    return found


def trace_of_wrapped(program: Program, script: List[str], wrap: Wrap) -> Tuple[Trace, List[object]]:
    performance = Performance()
    wrapped = clew.wrap_coroutine(performance.of(program), context_with("ada"))
    consumers = FromElsewhere(wrap(wrapped))
    found = trace(consumers, script), [*performance.seen]
    consumers.check()
    performance.put_away()
    return found


@pytest.mark.filterwarnings("ignore:.*signature of throw:DeprecationWarning")
@settings(deadline=None, max_examples=200)
@given(programs, scripts, st.sampled_from([lambda coroutine: coroutine, awaiting]))
def test_wrapped_coroutine_leaves_the_trace_of_the_bare_one(program: Program, script: List[str], wrap: Wrap) -> None:
    expected = context_with("ada").run(trace_of_bare, program, script, wrap)
    assert trace_of_wrapped(program, script, wrap) == expected
