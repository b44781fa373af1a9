"""
From the options `context`, `inherit` and `isolate` to the function that makes each step of a generator.

One object serves one generator. It captures when the generator is created, and returns the function at the first step.
The classes for `inherit="live"` and `isolate` are in `clew.context._stepping.layers`.
"""

from __future__ import annotations

from abc import abstractmethod
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, Callable, FrozenSet, Iterable, Optional, Protocol, Union
from weakref import ref

from clew.context._stepping.captured import Captured, checked_context
from clew.context._stepping.carrying import Carried, carriers
from clew.context._stepping.collecting import CALLBACK, Collectable
from clew.context._stepping.coroutines import is_current
from clew.context._stepping.entering import IN_USE, capture_carried, is_refusal, prepare_to_keep
from clew.context._stepping.layers import Isolated, Live, Runner
from clew.context._stepping.neighbours import take_loop_from_here
from clew.context._stepping.throwing import Thrown, step_codes, without_frames
from clew.errors import ArgumentTypeError, ArgumentValueError, ContextInUseError

__all__ = ("Beginning", "Creation", "Runner", "inheriting")

Given = Union[Context, Captured, None]


class Beginning(Protocol):
    """
    The values that were captured for one generator, until its first step.
    """

    @abstractmethod
    def begin(self) -> Runner:
        """
        Return a function that calls `(fn, *args)` in the generator's context. The consumer's first step calls this.
        """


def inheriting(context: Given, inherit: str, isolate: Optional[Iterable[ContextVar[Any]]]) -> Callable[[], Beginning]:
    """
    Return a function that captures for one generator, according to the three options.

    Raises:
        ArgumentTypeError: an option has the wrong type.
        ArgumentValueError: an unknown `inherit`, or two options that exclude each other.
    """
    if inherit not in ("creation", "live"):
        raise ArgumentValueError(
            f"expected inherit='creation' or inherit='live', got {inherit!r}; the first gives the body the values at "
            f"the call, the second those of its consumer at each step"
        )
    if isolate is not None:
        _refuse_together("isolate", context, inherit)
        return partial(Isolated, _variables(isolate))
    if inherit == "live":
        _refuse_together("inherit='live'", context)
        return Live
    if context is None:
        return Creation.here
    context = checked_context(context)
    if isinstance(context, Captured):
        return partial(Creation.of, context.context(), context._carried)
    return partial(Shared, context)


def _refuse_together(option: str, context: Given, inherit: str = "creation") -> None:
    other = "context=" if context is not None else "inherit='live'" if inherit != "creation" else None
    if other is not None:
        raise ArgumentValueError(
            f"expected {option} or {other}, got both, which name two different contexts for the same body; "
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


class Creation:
    """
    ``inherit="creation"``: the body has the values of the call, in a copy that nobody else enters.
    """

    __slots__ = ("_carried", "context")

    def __init__(self, context: Context, carried: Carried) -> None:
        self.context = context
        self._carried = carried

    @classmethod
    def here(cls) -> Creation:
        return cls(prepare_to_keep(copy_context()), capture_carried())

    @classmethod
    def of(cls, captured: Context, carried: Carried) -> Creation:
        return cls(prepare_to_keep(captured.copy()), carried)

    def begin(self) -> Runner:
        take_loop_from_here(self.context)
        return _runner(self.context, self._carried)


def _runner(context: Context, carried: Carried) -> Runner:
    run: Any = context.run  # which is typed as taking a function first
    return partial(run, *carriers(carried)) if carried else run


class Shared(Collectable):
    """
    ``context=``: the body's steps run in a context that other code runs in, too.
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
            # To ask whether it is the current one sets a variable in that.
            if not self.is_collected() and is_current(self._context):
                call, *rest = (*self._run.args, fn) if isinstance(self._run, partial) else (fn,)
                return call(*rest, *args)
            # Continue in a copy: the body must end in some context, now or when its consumer closes it.
            self._run = _runner(self._context.copy(), self._carried)
            method: Any = args[0] if fn in (next, without_frames) else fn
            body = method if fn is next else method.__self__
            if isinstance(body, Thrown) or method == body.throw:
                return self._run(fn, *args)
            return self._run(body.throw, ContextInUseError(IN_USE))
        finally:
            del args


step_codes.update(fn.__code__ for fn in (Live._step, Isolated._step, Shared._step, Shared._step_refused))
