"""
One send, throw or close of somebody else's coroutine inside a Context: what everything that is stepped stands on.

No event loop is known here and no task is made: each step runs in whoever's it is.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any, Coroutine as CoroutineOf, TypeVar, Union

from clew.context._stepping.captured import checked_context
from clew.context._stepping.coroutines import ContextCoroutine, check_coroutine
from clew.context._stepping.entering import capture_carried
from clew.context.snapshot import Snapshot

__all__ = ("wrap_coroutine",)

T = TypeVar("T")


def wrap_coroutine(coro: CoroutineOf[Any, Any, T], context: Union[Context, Snapshot]) -> CoroutineOf[Any, Any, T]:
    """
    Return a coroutine object that runs `coro` in `context`, in whichever task awaits it.

    Every step of it, which is what runs between two suspensions, enters the context and leaves it
    again: no task is made, so timeouts, cancel scopes and `current_task()` are those of the awaiting
    task. It works with asyncio, trio, any other event loop, and with none.

    Context:
        *When*: nothing is captured but the values of registered accessors, at this call. *What the
        callee sees*: the values in `context`, and what it sets itself, from its first step to its
        last. *What comes back*: the result or the exception; ContextVar changes are in `context` if
        that is a `Context`, and nowhere if it is a `Snapshot`. A context that is the current one
        already is stepped in as it is.

    Args:
        coro: a coroutine that was not started yet. It must not be awaited elsewhere as well.
        context: a `contextvars.Context`, to be shared and not copied, as `asyncio.create_task` does,
            or a `Snapshot`, for a copy of what it holds.

    Returns:
        A `collections.abc.Coroutine` with `send`, `throw`, `close` and the ``cr_`` attributes of `coro`.

    Raises:
        ArgumentTypeError: `coro` is no coroutine object, or `context` neither of the two.
        AlreadyEnteredError: `coro` is being awaited already; at this call, or at the first step of
            the second of two that were given the same one. (One that has ended says so when awaited.)
        ContextInUseError: at a step, if something else, elsewhere, is running in `context`; the
            coroutine is closed.

    Example:
        >>> import asyncio, contextvars, clew
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def greet():
        ...     await asyncio.sleep(0)
        ...     return "hello " + user.get()
        >>> token = user.set("ada")
        >>> snapshot = clew.capture()
        >>> user.reset(token)
        >>> async def main():
        ...     return await clew.wrap_coroutine(greet(), snapshot)
        >>> asyncio.run(main())
        'hello ada'
    """
    check_coroutine(coro, "wrap_coroutine(f(), context)")
    context = checked_context(context)
    if isinstance(context, Snapshot):
        return ContextCoroutine(coro, context.context(), context._carried, is_copy=True)
    return ContextCoroutine(coro, context, capture_carried())
