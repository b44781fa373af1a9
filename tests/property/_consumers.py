"""
Random scripts of what consumers do with a generator of either kind, and the trace that one leaves.

What the generators do is in `_generators`.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Tuple

from hypothesis import strategies as st

from tests.context._coroutines import in_thread
from tests.context._traces import TRACEBACK
from tests.edges._threads import nothing
from tests.property._generators import IS_COUNTED, VARIABLES, LivePerformance, Performance, told

Script = List[Tuple[Any, ...]]
Trace = List[Tuple[Any, ...]]

THROWN: Dict[str, Callable[[Performance], Tuple[Any, ...]]] = {
    "a class": lambda _: (KeyError,),
    "an instance": lambda _: (KeyError("thrown"),),
    "three": lambda _: (KeyError, KeyError("of three"), TRACEBACK),
    "a watched one": lambda performance: (_watched(performance),),
    "one again": lambda performance: (performance.error,),
    "StopIteration": lambda _: (StopIteration("thrown"),),
    "the class StopIteration": lambda _: (StopIteration,),
    "StopAsyncIteration": lambda _: (StopAsyncIteration("thrown"),),
    "KeyboardInterrupt": lambda _: (KeyboardInterrupt(),),
    "GeneratorExit": lambda _: (GeneratorExit(),),
    "the class GeneratorExit": lambda _: (GeneratorExit,),
}


def _watched(performance: Performance) -> BaseException:
    error = type(performance.error)("watched")
    performance.watch("an exception", error)
    return error


# Each step is one draw; where there is a flag, the step is taken while the consumer handles an exception of its own.
# (On PyPy what is thrown in meanwhile gets its context from the frame that it passes through.)
_FLAGS = (False, True) if IS_COUNTED else (False,)
_OPERATIONS: Script = [("anext",), ("anext",), ("asend",), ("aclose",)]
_THROWS: Script = [("athrow", thrown) for thrown in THROWN]
_CUTS = [*THROWN, *["GeneratorExit"] * 6]
_DROPS: Script = [("drop", flag) for flag in _FLAGS] if IS_COUNTED else []
_SOME = range(3)

_STEPS: Script = [
    *[(what, flag) for what in ("next", "next", "send") for flag in _FLAGS] * 15,
    *[("throw", flag, thrown) for thrown in THROWN for flag in _FLAGS],
    *[("close", flag) for flag in _FLAGS],
    *_DROPS,
]
_ASYNC_STEPS: Script = [
    # An operation from its start to its end, as with `await`.
    *[("await", flag, *operation) for operation in _OPERATIONS[:3] for flag in _FLAGS] * 30,
    *[("await", flag, *operation) for operation in _THROWS + _OPERATIONS[3:] for flag in _FLAGS],
    # One that is cancelled, at once or when it has awaited something.
    *[(what, False, times, thrown) for what in ("cut", "cut and run") for times in _SOME for thrown in _CUTS] * 2,
    # Half-way.
    *[("leave", False, times) for times in (1, 1, 2)] * 12,
    *[("start", flag, *operation) for operation in _OPERATIONS for flag in _FLAGS] * 3,
    *[("start", False, *operation) for operation in _THROWS],
    *[("resume", flag, number) for number in _SOME for flag in _FLAGS] * 3,
    *[("cancel", False, 0, thrown) for thrown in THROWN],
    *[(what, False, number) for what in ("send into", "close one", "drop one") for number in _SOME],
    *_DROPS,
]
_CHANGES: Script = [(what, which) for what in ("set", "set", "reset") for which in _SOME] * 4


def _scripts_of(steps: Script) -> st.SearchStrategy[Script]:
    return st.lists(st.sampled_from(steps), min_size=5, max_size=12)


scripts = _scripts_of(_STEPS)
async_scripts = _scripts_of(_ASYNC_STEPS)
changing_scripts = _scripts_of(_STEPS + _CHANGES * 2)
changing_async_scripts = _scripts_of(_ASYNC_STEPS + _CHANGES * 5)


class Consumer:
    """Take each step here, in one context."""

    def __init__(self) -> None:
        self._tokens: List[Tuple[int, Any]] = []

    def run(self, fn: Callable[[], Any]) -> Any:
        return fn()

    def set(self, which: int, value: str) -> None:
        self._tokens.append((which, VARIABLES[which].set(value)))

    def reset(self, number: int) -> None:
        if self._tokens:
            which, token = self._tokens.pop(-1 - number % len(self._tokens))
            VARIABLES[which].reset(token)

    def values(self) -> List[str]:
        return [variable.get("unset") for variable in VARIABLES]

    def look(self, before: List[str]) -> object:
        """Tell, after a step, whether the values are those from before it."""
        return self.values() == before


class ConsumerOfBare(Consumer):
    """Have a context that is the body's, too."""

    def look(self, before: List[str]) -> object:
        return True


class ConsumerOfIsolatedBare(Consumer):
    """Have a context that is the body's, too, and leave the first variable to that."""

    def set(self, which: int, value: str) -> None:
        super().set(which or 1, value)

    def look(self, before: List[str]) -> object:
        return True, self.values()[1:]


class ConsumerOfIsolated(ConsumerOfIsolatedBare):
    """Have a value of one's own of the first variable, which no body may see or change."""

    def __init__(self) -> None:
        super().__init__()
        VARIABLES[0].set("kept")

    def look(self, before: List[str]) -> object:
        return self.values()[0] == "kept", self.values()[1:]


class Elsewhere(Consumer):
    """Take each step in a context of its own, with values that only it has."""

    def __init__(self) -> None:
        super().__init__()
        self._context = copy_context()
        self._steps = 0

    def run(self, fn: Callable[[], Any]) -> Any:
        context = self._context.copy()
        for number, variable in enumerate(VARIABLES):
            if number != self._steps % 5:
                context.run(variable.set, f"{variable.name} of {self._steps}")
        self._steps += 1
        return self._enter(context, fn)

    def _enter(self, context: Context, fn: Callable[[], Any]) -> Any:
        return context.run(fn)

    def set(self, which: int, value: str) -> None:
        self._context.run(super().set, which, value)

    def reset(self, number: int) -> None:
        self._context.run(super().reset, number)


class InThreads(Elsewhere):
    """Take each step in a thread of its own."""

    def _enter(self, context: Context, fn: Callable[[], Any]) -> Any:
        return in_thread(context.run, fn)


CONSUMERS = {each.__name__: each for each in (Consumer, Elsewhere, InThreads)}


@contextmanager
def heard(hear: Callable[[object], object]) -> Iterator[None]:
    """Have what is said in finalizers, and about what nobody has awaited, heard by a function."""

    def on_warning(message: object, *_: object, **__: object) -> None:
        if IS_COUNTED:
            hear(str(message))

    def on_failure(failed: Any) -> None:
        if IS_COUNTED:
            hear(("failed", told(failed.exc_value)))

    before = sys.unraisablehook
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.showwarning = on_warning
            sys.unraisablehook = on_failure
            yield
    finally:
        sys.unraisablehook = before


class Consumption:
    """Take the steps of a script, and keep the trace: what came of each, who is alive, and the state."""

    def __init__(self, generator: Any, consumer: Consumer, performance: Performance, *, has_loop: bool = False) -> None:
        self._generator = generator
        self._consumer = consumer
        self._performance = performance
        self._hooks = (self._started, self._finalize) if has_loop else (None, None)
        self._operations: List[Any] = []
        self._events: List[object] = []
        self._trace: Trace = []

    def take(self, script: Script) -> Trace:
        """Take the steps, end what is left, and return the trace."""
        with heard(self._events.append):
            for step in script:
                if step[0] in ("set", "reset"):
                    self._change(*step)
                else:
                    self._consumer.run(partial(self._take, *step))
            for step in self._last_steps():
                self._consumer.run(partial(self._take, *step))
        return self._trace

    def _last_steps(self) -> Script:
        return [("drop", False)] if IS_COUNTED else [("close", False)] * 20

    def _change(self, what: str, which: int) -> None:
        if what == "set":
            self._consumer.set(which, f"set by the consumer {len(self._trace)}")
        else:
            self._consumer.reset(which)
        self._trace.append((what, []))

    def _take(self, what: str, is_handling: bool, *args: Any) -> None:
        before = self._consumer.values()
        if isinstance(self._performance, LivePerformance):
            self._performance.step(before)
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(*self._hooks)
        try:
            if is_handling:
                try:
                    raise LookupError("handled by the consumer")
                except LookupError:
                    outcome = self._outcome(what, *args)
            else:
                outcome = self._outcome(what, *args)
            assert tuple(sys.get_asyncgen_hooks()) == self._hooks
        finally:
            sys.set_asyncgen_hooks(*hooks)
        performance = self._performance
        state = self._state(), self._consumer.look(before)
        self._trace.append((what, outcome, state, [*self._events], [*performance.seen], performance.alive()))
        self._events.clear()
        performance.seen.clear()
        # What it has led through would be kept by it.
        performance.error.__traceback__ = performance.error.__context__ = None

    def _outcome(self, what: str, *args: Any) -> object:
        try:
            return ("gave", repr(self._do(what, *args)))
        except BaseException as error:
            return ("raised", told(error))

    def _do(self, what: str, *args: Any) -> Any:
        generator = self._generator
        if what == "drop":
            self._generator = None
        elif generator is None:
            return None
        elif what == "next":
            return next(generator)
        elif what == "send":
            return generator.send(self._performance.new("sent"))
        elif what == "throw":
            return generator.throw(*THROWN[args[0]](self._performance))
        elif what == "close":
            return generator.close()
        return None

    def _state(self) -> object:
        generator = self._generator
        return None if generator is None else (generator.__qualname__, inspect.getgeneratorstate(generator))

    def _started(self, generator: Any) -> None:
        self._events.append(("started", generator.__qualname__))

    def _finalize(self, generator: Any) -> None:
        """Close a generator that was dropped, right here, which an event loop does soon."""
        if IS_COUNTED:
            self._events.append(("dropped", generator.__qualname__))
            self._events.append(self._outcome("run", generator.aclose()))


class AsyncConsumption(Consumption):
    """Take the steps of a script with an async generator by hand."""

    def _last_steps(self) -> Script:
        if IS_COUNTED:
            return [("drop one", False, 0)] * len(self._operations) + [("drop", False)]
        return [("await", False, "aclose")] * 20

    def _do(self, what: str, *args: Any) -> Any:  # noqa: C901  a table of steps
        if what == "drop":
            self._generator = None
        elif what == "run":
            return _run(args[0])
        elif what == "await":
            return _run(self._start(*args), self._performance.new if args[0] == "asend" else nothing)
        elif what in ("leave", "cut", "cut and run") and self._generator is not None:
            self._operations.append(self._generator.__anext__())
            for _ in range(args[0]):
                self._operations[-1].send(None)
            if what == "leave":
                return None
            given = self._operations[-1].throw(*THROWN[args[1]](self._performance))
            return given if what == "cut" else _run(self._operations[-1], self._performance.new)
        elif what == "start":
            self._operations.append(self._start(*args))
        elif not what.startswith(("cut", "leave")) and self._operations:
            position = -1 - args[0] % len(self._operations)
            if what == "resume":
                return self._operations[position].send(None)
            if what == "send into":
                return self._operations[position].send(self._performance.new("sent into it"))
            if what == "cancel":
                return self._operations[position].throw(*THROWN[args[1]](self._performance))
            if what == "close one":
                return self._operations[position].close()
            del self._operations[position]
        return None

    def _start(self, kind: str, *args: Any) -> Any:
        generator = self._generator
        if generator is None:
            return None
        if kind == "anext":
            return generator.__anext__()
        if kind == "asend":
            return generator.asend(self._performance.new("sent"))
        if kind == "athrow":
            return generator.athrow(*THROWN[args[0]](self._performance))
        return generator.aclose()

    def _state(self) -> object:
        generator = self._generator
        if generator is None:
            return None
        frame, awaited = generator.ag_frame, generator.ag_await
        return (
            generator.__qualname__,
            generator.ag_running,
            frame is None,
            awaited is None,
            getattr(generator, "ag_suspended", None),
        )


def _run(operation: Any, new: Callable[[str], Any] = nothing) -> None:
    """Run an operation until it raises, as each does in the end; a body that suspends is sent what is new."""
    operation.send(None)
    for _ in range(1000):
        operation.send(new("sent into it"))
