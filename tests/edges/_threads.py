"""
What the thread edges share: a variable, a value that can be watched, and an empty context to start in.
"""

from __future__ import annotations

import gc
import platform
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Callable, Iterator, TypeVar

from clew._shared.locks import RUNS_WITHOUT_GIL

if TYPE_CHECKING:
    import weakref

T = TypeVar("T")

DEADLINE = 30  # seconds; only a test that fails gets near it

user: ContextVar[Any] = ContextVar("user", default="nobody")

# The users in whose contexts a bare object may be finalised that is dropped where the user is "someone else". Without a
# GIL, the thread that made the object does it, some time later.
FINALISED_BY = {"someone else", "nobody"} if RUNS_WITHOUT_GIL else {"someone else"}


class Value:
    """Be a value of a ContextVar that a weak reference can watch."""


def nothing(*args: object) -> None:
    pass


def in_empty_context(fn: Callable[..., T], *args: Any) -> T:
    return Context().run(fn, *args)


def as_ada(fn: Callable[[], T]) -> T:
    """Call in a context in which the user is "ada", and nothing else is set."""

    def call() -> T:
        user.set("ada")
        return fn()

    return in_empty_context(call)


@contextmanager
def in_use_by_a_thread(context: Context) -> Iterator[None]:
    """Have a thread sit in a context for a block."""
    is_in, is_over = threading.Event(), threading.Event()

    def sit() -> None:
        is_in.set()
        assert is_over.wait(DEADLINE)

    thread = threading.Thread(target=context.run, args=(sit,))
    thread.start()
    try:
        assert is_in.wait(DEADLINE)
        yield
    finally:
        is_over.set()
        thread.join(DEADLINE)


def look(*_: object) -> object:
    """Return the user that is seen here, whatever the arguments."""
    return user.get()


def settle(pool: Executor) -> None:
    """Return when the pool's one worker has put away what it ran before, and holds nothing of ours."""
    for _ in range(2):
        in_empty_context(pool.submit, nothing).result(DEADLINE)


def is_gone(reference: weakref.ref[Any]) -> bool:
    """Tell whether the object is dead: where objects are counted, without the help of the collector."""
    if platform.python_implementation() == "PyPy":
        for _ in range(3):
            gc.collect()
    return reference() is None


def reset_inside() -> str:
    """Take a token and reset it, which fails in any other Context than the one it was taken in."""
    before = user.get()
    token = user.set("inside")
    user.reset(token)
    assert user.get() == before
    return before


BARE = ThreadPoolExecutor
