"""
The contexts for `inherit="live"` and `isolate`: values flow between a generator's context and its consumer's.

Python has no layers of contexts, so each step sets the variables whose values differ between the two contexts.

Guarantees: the tokens of the body and of the consumer stay valid, each in its own context.

Assumes: a generator makes one step at a time.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from contextvars import Context, ContextVar, Token, copy_context
from functools import partial
from typing import Any, Callable, Dict, FrozenSet, Sequence
from weakref import ref

from clew._shared.locks import RUNS_WITHOUT_GIL
from clew.context._stepping import carrying
from clew.context._stepping.carrying import live_carrier
from clew.context._stepping.collecting import CALLBACK, Collectable

__all__ = ("IsolatedContext", "LiveContext", "Runner")

Runner = Callable[..., Any]


# Each step asks whether a context has changed. `Context ==` would call the `__eq__` of the values, so the step compares
# mappings: a Context refers to one object, an immutable mapping, which it shares with its unchanged copies.
def _finds_mappings(referents: Callable[[Context], Sequence[object]]) -> bool:
    variable: ContextVar[int] = ContextVar("clew_mapping")
    context = Context()
    context.run(variable.set, 1)
    copy = context.copy()
    found = [*referents(context), *referents(copy)]
    copy.run(variable.set, 2)
    found += referents(copy)
    return len(found) == 3 and found[0] is found[1] is not found[2]


# Other interpreters may have no such mapping. Without a GIL, `get_referents` stops all other threads. There, every
# step compares all variables.
_mapping: Callable[[Context], Sequence[object]]
_has_mappings = not RUNS_WITHOUT_GIL and _finds_mappings(gc.get_referents)
_mapping = gc.get_referents if _has_mappings else lambda _: (object(),)

_MISSING: Any = object()


class _Layer(Collectable):
    """
    A context into which every step copies the consumer's values.

    The context starts empty, so `_show` gets the token of a variable's first `set`. Only that token can unset it.
    """

    __slots__ = ("_context", "_seen", "_tokens")

    def __init__(self) -> None:
        self._context = Context()
        self._seen: object = None  # the consumer's mapping that this context reflects
        self._tokens: Dict[ContextVar[Any], Token[Any]] = {}

    def _show(self, variable: ContextVar[Any], value: Any, before: Any) -> None:
        token = variable.set(value)
        if before is _MISSING:
            self._tokens[variable] = token


class LiveContext(_Layer):
    """
    ``inherit="live"``: each step sees the consumer's values, except for variables that the body has set itself.

    Source:
        PEP 568, which proposes the same for Python.
    """

    __slots__ = ("_is_hiding", "_run", "_shown")

    _run: Runner

    def __init__(self) -> None:
        super().__init__()
        self._shown: Dict[ContextVar[Any], Any] = {}  # the values that `_copy_in` has set
        self._is_hiding = False  # whether a value of the body's hides a newer one of the consumer

    def begin(self) -> Runner:
        carriers = tuple(map(live_carrier, carrying.registered))
        run: Any = self._context.run
        self._run = partial(run, *carriers) if carriers else run
        return self._step

    # Defaults instead of globals, which the interpreter may clear at its exit while a generator is still open.
    def _step(self, fn: Runner, *args: Any, copy: Any = copy_context, mapping: Any = _mapping) -> Any:
        now = copy()
        if self._is_hiding or mapping(now)[0] is not self._seen:
            self._is_hiding = self._context.run(self._copy_in, now)
            # Last: if a signal handler raises before, the next step copies again.
            self._seen = mapping(now)[0]
        try:
            return self._run(fn, *args)
        finally:
            del args  # they may hold an exception whose traceback holds this frame

    def _copy_in(self, now: Context) -> bool:
        """
        Copy the consumer's values in. Return whether a value of the body's hides one: then the next step tries again.
        """
        shown = self._shown
        is_hiding = False
        for variable, value in now.items():
            before = shown.get(variable, _MISSING)
            if value is before:
                continue
            if variable.get(_MISSING) is not before:
                is_hiding = True
                continue
            self._show(variable, value, before)
            shown[variable] = value
        for variable in [each for each in shown if each not in now]:
            if variable.get(_MISSING) is not shown[variable]:
                is_hiding = True
                continue
            variable.reset(self._tokens.pop(variable))
            del shown[variable]
        return is_hiding


class IsolatedContext(_Layer):
    """
    ``isolate=[...]``: the named variables belong to the generator. All others are copied in and out at every step.
    """

    __slots__ = ("_before", "_mapping_before", "_outer_tokens", "_own")

    def __init__(self, own: FrozenSet[ContextVar[Any]]) -> None:
        super().__init__()
        self._own = own
        # These unset the variables that `_copy_out` has set in the consumer's context.
        self._outer_tokens: Dict[ContextVar[Any], Token[Any]] = {}
        self._mapping_before: object = None
        self._reference = ref(self, CALLBACK)
        for variable in own:
            value = variable.get(_MISSING)
            if value is not _MISSING:
                self._context.run(variable.set, value)

    def begin(self) -> Runner:
        return self._step

    # Defaults as in `LiveContext._step`.
    def _step(self, fn: Runner, *args: Any, copy: Any = copy_context, mapping: Any = _mapping) -> Any:
        now = copy()
        if mapping(now)[0] is not self._seen:
            self._context.run(self._copy_in, now)
            self._remember()
            # Last, as in `LiveContext._step`.
            self._seen = mapping(now)[0]
        try:
            return self._context.run(fn, *args)
        finally:
            del args  # as in `LiveContext._step`
            if mapping(self._context)[0] is not self._mapping_before:
                self._copy_out()

    def _remember(self) -> None:
        self._before = self._context.copy()  # from before the step
        self._mapping_before = _mapping(self._before)[0]

    def _copy_in(self, now: Context) -> None:
        """
        Copy the consumer's values in, except for the generator's own variables.
        """
        for variable, value in now.items():
            if variable not in self._own:
                here = variable.get(_MISSING)
                if value is not here:
                    self._show(variable, value, here)
        for variable in [each for each in self._tokens if each not in now]:
            token = self._tokens.pop(variable)
            if variable.get(_MISSING) is not _MISSING:
                variable.reset(token)

    def _copy_out(self) -> None:
        """
        Copy the values that the step has changed to the consumer's context.
        """
        if self.is_collected():  # nothing may be set then
            return
        context, before = self._context, self._before
        for variable, value in context.items():
            if variable in self._own or before.get(variable, _MISSING) is value:
                continue
            is_new = variable.get(_MISSING) is _MISSING
            token = variable.set(value)
            if is_new:
                self._outer_tokens[variable] = token
        for variable in before:
            if variable not in context and variable not in self._own:
                self._unset(variable)
        self._remember()
        self._seen = _mapping(copy_context())[0]

    def _unset(self, variable: ContextVar[Any]) -> None:
        token = self._outer_tokens.pop(variable, None)
        if token is not None and variable.get(_MISSING) is not _MISSING:
            # A token from another consumer's context cannot unset the variable here.
            with suppress(ValueError):
                variable.reset(token)
