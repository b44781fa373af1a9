"""
Random bodies of generators of both kinds: small programs, and what performs them.

Who takes the steps is in `_consumers`.
"""

from __future__ import annotations

import platform
import re
import sys
import weakref
from contextvars import ContextVar
from typing import Any, List, Tuple

from hypothesis import strategies as st

from tests.context._coroutines import suspend

Program = List[Tuple[Any, ...]]

VARIABLES: List[ContextVar[str]] = [ContextVar("own"), ContextVar("first"), ContextVar("second")]
IS_COUNTED = platform.python_implementation() != "PyPy"  # so that what nobody holds is gone at once
_MISSING: Any = object()


class RefusedError(Exception):
    """Be an exception that a weak reference can watch."""


_RAISED = [RefusedError, KeyError, RuntimeError, StopIteration, StopAsyncIteration, KeyboardInterrupt, GeneratorExit]
_CAUGHT = [RefusedError, KeyError, Exception, BaseException, BaseException, GeneratorExit, StopIteration]
# Each of these is as likely as the others, and what keeps a body going comes more often than what ends it.
_SIMPLE: List[Program] = [
    [("yield",), ("text",)],
    [("echo",)],
    [("set", which) for which in range(len(VARIABLES))],
    [("reset", number) for number in range(3)],
    [("scope", which) for which in range(len(VARIABLES))],
    [(what, error) for what in ("raise", "raise", "raise from") for error in _RAISED] + [("raise again",), ("return",)],
]
_AWAITING: List[Program] = [[("suspend", 1)], [("suspend", 2)]]


def _programs_of(simple: List[Program], *guards: str, depth: int = 2) -> st.SearchStrategy[Program]:
    instructions = [st.sampled_from(each) for each in simple]
    if depth:
        inner = _programs_of(simple, *guards, depth=depth - 1)
        # What is there to be left half-way begins with something that can be left.
        left = inner.map(lambda program: [*simple[0], *program])
        caught = st.sampled_from(_CAUGHT)
        instructions += [
            st.tuples(st.just("delegate"), inner),
            *[st.tuples(st.just(guard), caught, inner) for guard in ("guard", *guards)],
            st.tuples(st.just("try"), left, caught, inner),
            st.tuples(st.just("finally"), left, inner),
        ]
    return st.lists(st.one_of(instructions), min_size=depth + 1, max_size=depth + 3)


programs = _programs_of(_SIMPLE)
async_programs = _programs_of(_AWAITING + _SIMPLE, "guard await")


class Value:
    """Be a value that a weak reference can watch, and that is told by its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


class Performance:
    """Perform programs, and keep what was seen, as text, and who is still there of the values that were made."""

    def __init__(self, *, is_read: bool = True) -> None:
        self.seen: List[object] = []
        self.error = RefusedError("thrown again and again")
        self._is_read = is_read
        self._watched: List[Tuple[str, weakref.ref[Any]]] = []
        self._tokens: List[Tuple[int, Any]] = []

    def new(self, name: str) -> Value:
        value = Value(f"{name} {len(self._watched)}")
        self.watch(repr(value), value)
        return value

    def watch(self, name: str, value: object) -> None:
        self._watched.append((name, weakref.ref(value)))

    def forget(self) -> None:
        self.seen.clear()
        self._watched.clear()
        self._tokens.clear()

    def alive(self) -> List[str]:
        return [name for name, reference in self._watched if reference() is not None] if IS_COUNTED else []

    def look(self) -> None:
        if self._is_read:
            self.seen.append([variable.get("unset") for variable in VARIABLES])
        self.seen.append(told(sys.exc_info()[1], inside=True))

    def set(self, which: int) -> None:
        self._tokens.append((which, VARIABLES[which].set(f"set {len(self._watched)} {len(self.seen)}")))

    def reset(self, number: int) -> None:
        if self._tokens:
            which, token = self._tokens.pop(-1 - number % len(self._tokens))
            VARIABLES[which].reset(token)

    def do(self, operation: str, *args: Any) -> None:
        if operation == "set":
            self.set(*args)
        elif operation == "reset":
            self.reset(*args)
        elif operation == "raise":
            raise args[0](len(self.seen))
        elif operation == "raise from":
            raise args[0](len(self.seen)) from self.error
        elif operation == "raise again":
            raise  # noqa: PLE0704  what is handled here or, by whoever takes the step, there

    def generator(self, program: Program) -> Any:  # noqa: C901  a table of instructions
        held = received = self.new("held")
        for operation, *args in program:
            self.look()
            if operation == "yield":
                self.seen.append(repr((yield self.new("item"))))
            elif operation == "text":
                self.seen.append(repr((yield "text")))
            elif operation == "echo":
                received = yield received
            elif operation == "scope":
                self.set(args[0])
                received = yield self.new("item")
                self.reset(0)
            elif operation == "guard":
                try:
                    received = yield self.new("item")
                except args[0] as error:
                    self.seen.append(told(error, inside=True))
                    received = yield from self.generator(args[1])
            elif operation == "delegate":
                received = yield from self.generator(args[0])
            elif operation == "try":
                try:
                    received = yield from self.generator(args[0])
                except args[1] as error:
                    self.seen.append(told(error, inside=True))
                    yield from self.generator(args[2])
            elif operation == "finally":
                try:
                    received = yield from self.generator(args[0])
                finally:
                    self.look()
                    yield from self.generator(args[1])
            elif operation == "return":
                return received
            else:
                self.do(operation, *args)
        self.look()
        return self.new(f"result of {held}")

    async def stream(self, program: Program) -> Any:  # noqa: C901  a table of instructions
        held = received = self.new("held")
        for operation, *args in program:
            self.look()
            if operation == "yield":
                self.seen.append(repr((yield self.new("item"))))
            elif operation == "text":
                self.seen.append(repr((yield "text")))
            elif operation == "echo":
                received = yield received
            elif operation == "suspend":
                for _ in range(args[0]):
                    self.seen.append(repr(await suspend(self.new("wait"))))
                    self.look()
            elif operation == "scope":
                self.set(args[0])
                received = yield self.new("item")
                self.reset(0)
            elif operation == "guard":
                try:
                    received = yield self.new("item")
                except args[0] as error:
                    self.seen.append(told(error, inside=True))
                    async for item in self.stream(args[1]):
                        received = yield item
            elif operation == "guard await":
                try:
                    received = await suspend(self.new("wait"))
                except args[0] as error:
                    self.seen.append(told(error, inside=True))
                    async for item in self.stream(args[1]):
                        received = yield item
            elif operation == "delegate":
                async for item in self.stream(args[0]):
                    received = yield item
            elif operation == "try":
                try:
                    async for item in self.stream(args[0]):
                        received = yield item
                except args[1] as error:
                    self.seen.append(told(error, inside=True))
                    async for item in self.stream(args[2]):
                        received = yield item
            elif operation == "finally":
                try:
                    async for item in self.stream(args[0]):
                        received = yield item
                finally:
                    self.look()
                    async for item in self.stream(args[1]):
                        received = yield item
            elif operation == "return":
                return
            else:
                self.do(operation, *args)
        self.look()
        del held


class LivePerformance(Performance):
    """Perform programs, and keep each read of a value that is neither the body's own nor its consumer's."""

    def __init__(self) -> None:
        super().__init__(is_read=False)
        self.step([])
        self._own = [_MISSING] * len(VARIABLES)

    def step(self, values: List[str]) -> None:
        """Begin a step, of a consumer with these values."""
        self._values = values
        self._stale = [_MISSING] * len(VARIABLES)

    def look(self) -> None:
        super().look()
        for which in range(len(VARIABLES)):
            self._read(which)

    def _read(self, which: int) -> str:
        value = VARIABLES[which].get("unset")
        own = self._own[which]
        if value not in ([self._values[which], self._stale[which]] if own is _MISSING else [own]):
            self.seen.append(
                ("read", VARIABLES[which].name, value, "own", own, self._values[which], self._stale[which])
            )
        return value

    def set(self, which: int) -> None:
        before = self._own[which], self._read(which)
        super().set(which)
        number, token = self._tokens.pop()
        self._tokens.append((number, (token, *before)))
        self._own[which] = VARIABLES[which].get()

    def reset(self, number: int) -> None:
        if self._tokens:
            which, (token, own, value) = self._tokens.pop(-1 - number % len(self._tokens))
            VARIABLES[which].reset(token)
            self._own[which] = own
            # The value of the moment of the set may show until the step is over.
            self._stale[which] = value if own is _MISSING else _MISSING


def told(error: Any, depth: int = 4, *, inside: bool = False) -> object:
    """Tell an exception with all that has led to it, and where it was: inside of a body, it was in no driver."""
    if error is None or depth == 0:
        return None
    message = re.sub("0x[0-9a-f]+", "0x", str(error))
    others = [told(each, depth - 1, inside=inside) for each in (error.__cause__, error.__context__)]
    value = repr(getattr(error, "value", None))
    return (type(error).__name__, message, value, _frames_of(error, inside), others, error.__suppress_context__)


def _frames_of(error: BaseException, inside: bool) -> str:
    names: List[str] = []
    # Those of a GeneratorExit are left out, so that what a closed body held goes in the body's own context.
    # (PyPy adds the one of the generator where it finds that this ignores one.)
    traceback = None if isinstance(error, GeneratorExit) or not IS_COUNTED else error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        # Not the one of a generator that was not started, whose driver does not start it for an exception.
        if inside or (code.co_filename == __file__ and traceback.tb_lineno != code.co_firstlineno):
            names.append(code.co_name)
        traceback = traceback.tb_next
    return " ".join(names)
