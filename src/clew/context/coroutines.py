"""
`wrap_coroutine`: a coroutine that runs in a given Context, in the task that awaits it.

Nothing here creates a task or knows an event loop.
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

    Each step of the coroutine (from one suspension to the next) enters the context and leaves it again.
    No task is created, so timeouts, cancel scopes and `current_task()` are those of the awaiting task.
    It works with asyncio, trio and any other event loop, and without an event loop.

    Context:
        *When*: at this call, and only the values of registered accessors; ContextVars have their values
        in `context`. *What the callee sees*: the values in `context`, and the values that it sets itself,
        from its first step to its last. *What comes back*: the result or the exception. ContextVar changes
        stay in `context` if that is a `Context`, and in the copy if it is a `Snapshot`. If `context` is
        the current context, the steps run in it directly. One task at a time may await the coroutine.

    Args:
        coro: a coroutine that was not started. Only the returned coroutine may be awaited.
        context: a `contextvars.Context`, which is shared and not copied, as by `asyncio.create_task`, or
            a `Snapshot`, which is copied.

    Returns:
        A `collections.abc.Coroutine` with `send`, `throw`, `close` and the ``cr_`` attributes of `coro`.

    Raises:
        ArgumentTypeError: `coro` is not a coroutine object, or `context` is neither a Context nor a Snapshot.
        AlreadyEnteredError: `coro` is being awaited already: at this call, or at the first step if `coro`
            was wrapped twice. (A coroutine that has ended raises Python's error when it is awaited.)
        ContextInUseError: at a step, if other code elsewhere is running in `context`; the coroutine is
            closed.

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
