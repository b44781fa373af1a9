"""
The future of the context-carrying executors: its callbacks run in the context that registered them.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Callable, MutableMapping, Optional, Type, TypeVar
from weakref import WeakKeyDictionary

from clew.context._stepping.entering import runner_for_thread

__all__ = ("ContextFuture", "with_context_callbacks")

T = TypeVar("T")


class ContextFuture(Future):  # type: ignore[type-arg]  # 3.9+: Future[T] exists at run time; drop with 3.8
    """
    Be a `concurrent.futures.Future` whose callbacks run in a copy of the context of their registration.

    The stdlib's runs them in whatever context the finishing thread has: the worker's empty one while
    the future is pending, the registering caller's own once it is done.
    """

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """
        Have `fn(future)` called when the future is done, cancelled, or already either.

        Context:
            *When*: at this call. *What the callee sees*: the values of the registering caller, in a
            copy of its own. *What comes back*: nothing. Thread-safe.
        """
        super().add_done_callback(_ContextCallback(runner_for_thread(), fn))


class _ContextCallback:
    __slots__ = ("_fn", "_run")

    def __init__(self, run: Callable[..., Any], fn: Callable[[Future[Any]], object]) -> None:
        self._run: Optional[Callable[..., Any]] = run
        self._fn = fn

    def __call__(self, future: Future[Any]) -> None:
        # A future keeps its callbacks after it has called them; the context must not stay with them.
        run, self._run = self._run, None
        if run is not None:
            run(self._fn, future)


def with_context_callbacks(future: Future[T]) -> Future[T]:
    """
    Return a future that nobody else has yet, made one whose callbacks run as `ContextFuture`'s do.
    """
    made_by_the_executor = type(future)
    if made_by_the_executor is Future:
        future.__class__ = ContextFuture
    elif not issubclass(made_by_the_executor, ContextFuture):
        # One written in C, or final, stays as it is, and its callbacks run where its maker runs them.
        with suppress(TypeError):
            future.__class__ = _derived(made_by_the_executor)
    return future


# A class for each class of future that some executor makes.
_derived_classes: MutableMapping[Type[Any], Type[Any]] = WeakKeyDictionary()


def _derived(future_class: Type[Any]) -> Type[Any]:
    derived = _derived_classes.get(future_class)
    if derived is None:
        names = {"__module__": future_class.__module__, "__qualname__": future_class.__qualname__, "__slots__": ()}
        # Two threads may both make one, which does no harm.
        derived = type(future_class.__name__, (ContextFuture, future_class), names)
        _derived_classes[future_class] = derived
    return derived
