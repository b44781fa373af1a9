"""
The future of the context-carrying executors: each callback runs in the context in which it was added.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Callable, MutableMapping, Optional, Type, TypeVar
from weakref import WeakKeyDictionary, ref

from clew.context._stepping.entering import runner_for_thread

__all__ = ("ContextFuture", "with_context_callbacks")

T = TypeVar("T")


class ContextFuture(Future):  # type: ignore[type-arg]  # 3.9+: Future[T] exists at run time; drop with 3.8
    """
    A `concurrent.futures.Future` that runs each callback in a copy of the context in which it was added.

    The stdlib runs a callback in the context of the thread that calls it: while the future is pending that is a
    worker, whose context is empty; once the future is done it is the caller of `add_done_callback`.
    """

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """
        Call `fn(future)` when the future is done or cancelled; at once if it is already.

        Context:
            *When*: at this call. *What the callee sees*: the values of the caller, in a copy of its own.
            *What comes back*: nothing. Thread-safe.
        """
        super().add_done_callback(_ContextCallback(runner_for_thread(), fn))


class _ContextCallback:
    __slots__ = ("_fn", "_run")

    def __init__(self, run: Callable[..., Any], fn: Callable[[Future[Any]], object]) -> None:
        self._run: Optional[Callable[..., Any]] = run
        self._fn = fn

    def __call__(self, future: Future[Any]) -> None:
        # A future keeps its callbacks after calling them; release the context now.
        run, self._run = self._run, None
        if run is not None:
            run(self._fn, future)


def with_context_callbacks(future: Future[T]) -> Future[T]:
    """
    Make a future that an executor has just created run its callbacks as a `ContextFuture` does, and return it.
    """
    future_class = type(future)
    if future_class is Future:
        future.__class__ = ContextFuture
    elif not issubclass(future_class, ContextFuture):
        # The class of some futures cannot be changed (written in C, or final). Their callbacks run where the executor
        # runs them.
        with suppress(TypeError):
            future.__class__ = _derived(future_class)
    return future


# For each class of futures: the class derived from it and from ContextFuture. Weak, because a derived class refers to
# its base, which is the key. Classes are in reference cycles, so one that is in use is seldom derived twice.
_derived_classes: MutableMapping[Type[Any], ref[Type[Any]]] = WeakKeyDictionary()


def _derived(future_class: Type[Any]) -> Type[Any]:
    known = _derived_classes.get(future_class)
    derived = None if known is None else known()
    if derived is None:
        names = {"__module__": future_class.__module__, "__qualname__": future_class.__qualname__, "__slots__": ()}
        # Two threads may each make one at the same time; both classes work.
        derived = type(future_class.__name__, (ContextFuture, future_class), names)
        _derived_classes[future_class] = ref(derived)
    return derived
