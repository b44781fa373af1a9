"""
The contexts of generators, according to the options `context`, `inherit` and `isolate`.

Guarantees: with `inherit="creation"`, the values are captured when the generator is created. If other code is running
in a shared context, a step raises `ContextInUseError` in the generator, which then ends in a copy of that context.

Assumes: each object serves one generator, which makes one step at a time.

The contexts for `inherit="live"` and `isolate` are in `clew.context._stepping.layers`.
"""

from __future__ import annotations

from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, Callable, FrozenSet, Iterable, Optional, Protocol, Union
from weakref import ref

from clew.context._stepping.captured import Captured, checked_context
from clew.context._stepping.carrying import Carried, carriers
from clew.context._stepping.collecting import CALLBACK, Collectable
from clew.context._stepping.coroutines import is_current
from clew.context._stepping.entering import IN_USE, capture_carried, is_refusal, prepare_to_keep
from clew.context._stepping.layers import IsolatedContext, LiveContext, Runner
from clew.context._stepping.neighbours import take_loop_from_here
from clew.context._stepping.throwing import Thrown, step_codes, without_frames
from clew.errors import ArgumentTypeError, ArgumentValueError, ContextInUseError

__all__ = ("CreationContext", "GeneratorContext", "Runner", "inheriting")

Given = Union[Context, Captured, None]


class GeneratorContext(Protocol):
    """
    The context of one generator. It is created together with the generator.
    """

    def begin(self) -> Runner:
        """
        Return a function that calls `(fn, *args)` in the context. The generator's first step calls this, once.
        """
        raise NotImplementedError  # a protocol: the contexts below and those of traced streams have the method


def inheriting(
    context: Given, inherit: str, isolate: Optional[Iterable[ContextVar[Any]]]
) -> Callable[[], GeneratorContext]:
    """
    Return a function that creates the context of one generator, according to the three options.

    Raises:
        ArgumentTypeError: an option has the wrong type.
        ArgumentValueError: an unknown `inherit`, or two options that exclude each other.
    """
    if inherit not in ("creation", "live"):
        raise ArgumentValueError(
            f"expected inherit='creation' or inherit='live', got {inherit!r}; the first shows the body the values at "
            f"the call, the second the values of its consumer at each step"
        )
    if isolate is not None:
        _refuse_together("isolate", context, inherit)
        return partial(IsolatedContext, _variables(isolate))
    if inherit == "live":
        _refuse_together("inherit='live'", context)
        return LiveContext
    if context is None:
        return lambda: CreationContext(copy_context(), capture_carried())
    given = checked_context(context)
    if isinstance(given, Captured):
        return lambda: CreationContext(given.context(), given._carried)
    return partial(SharedContext, given)


def _refuse_together(option: str, context: Given, inherit: str = "creation") -> None:
    other = "context=" if context is not None else "inherit='live'" if inherit != "creation" else None
    if other is not None:
        raise ArgumentValueError(
            f"expected {option} or {other}, got both, which name two different contexts for one generator; "
            f"leave one of them out"
        )


def _variables(isolate: Iterable[ContextVar[Any]]) -> FrozenSet[ContextVar[Any]]:
    if isinstance(isolate, ContextVar):
        raise ArgumentTypeError(f"expected a list of ContextVars, got one: {isolate!r}; pass isolate=[it]")
    try:
        variables = tuple(isolate)
    except TypeError:
        raise ArgumentTypeError(
            f"expected a list of ContextVars, got {type(isolate).__name__} {isolate!r}; pass isolate=[variable]"
        ) from None
    for each in variables:
        if not isinstance(each, ContextVar):
            raise ArgumentTypeError(
                f"expected ContextVars in isolate, found {type(each).__name__} {each!r}; "
                f"pass the variables themselves, not their names or values"
            )
    return frozenset(variables)


class CreationContext:
    """
    ``inherit="creation"``: a fresh copy of the captured context. No other code enters it.
    """

    __slots__ = ("_carried", "context")

    def __init__(self, context: Context, carried: Carried) -> None:
        self.context = prepare_to_keep(context)
        self._carried = carried

    def begin(self) -> Runner:
        take_loop_from_here(self.context)
        return _runner(self.context, self._carried)


def _runner(context: Context, carried: Carried) -> Runner:
    run: Any = context.run  # Any: it is typed as taking a function first, and here takes a carrier
    return partial(run, *carriers(carried)) if carried else run


class SharedContext(Collectable):
    """
    ``context=``: a context that other code may enter, too.
    """

    __slots__ = ("_carried", "_context", "_run")

    _run: Runner

    def __init__(self, context: Context) -> None:
        self._context = context
        self._carried = capture_carried()
        self._reference = ref(self, CALLBACK)

    def begin(self) -> Runner:
        self._run = _runner(self._context, self._carried)
        return self._step

    def _step(self, fn: Callable[..., Any], *args: Any) -> Any:
        try:
            try:
                return self._run(fn, *args)
            except RuntimeError as error:
                if not is_refusal(error):
                    raise
            return self._step_refused(fn, *args)
        finally:
            del args  # they may hold an exception whose traceback holds this frame

    def _step_refused(self, fn: Callable[..., Any], *args: Any) -> Any:
        try:
            # `is_current` sets a variable in the current context, which a finaliser must not do.
            if not self.is_collected() and is_current(self._context):
                call, *rest = (*self._run.args, fn) if isinstance(self._run, partial) else (fn,)
                return call(*rest, *args)
            # Continue in a copy, because the generator must end in some context, now or when the consumer closes it.
            self._run = _runner(self._context.copy(), self._carried)
            method: Any = args[0] if fn in (next, without_frames) else fn
            target = method if fn is next else method.__self__
            if isinstance(target, Thrown) or method == target.throw:
                return self._run(fn, *args)
            return self._run(target.throw, ContextInUseError(IN_USE))
        finally:
            del args


_STEPS = (LiveContext._step, IsolatedContext._step, SharedContext._step, SharedContext._step_refused)
step_codes.update(step.__code__ for step in _STEPS)
