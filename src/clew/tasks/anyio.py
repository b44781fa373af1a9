"""
Task groups of anyio in a given context, on asyncio and on trio, and blocks of a portal that keep their context.

Where anyio itself carries the context correctly, as to threads, clew adds nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import lru_cache
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncContextManager,
    Callable,
    Coroutine,
    Dict,
    Iterator,
    Optional,
    Type,
    TypeVar,
    Union,
)

import anyio
import anyio.abc
from anyio.from_thread import BlockingPortal
from typing_extensions import Self, TypeVarTuple, Unpack

from clew._shared.hints import subscriptable
from clew.context._stepping.blocks import Scope, Undo, set_values
from clew.context._stepping.captured import checked_context
from clew.context._stepping.coroutines import close_unstarted
from clew.context.snapshot import Snapshot
from clew.errors import ArgumentTypeError
from clew.tasks._in_context import (
    FunctionInContext,
    TaskCoroutine,
    TrioTaskCoroutine,
    coroutine_in_context,
    function_in_context,
)

if TYPE_CHECKING:
    from anyio import TaskHandle  # 4.14+
else:
    TaskHandle = getattr(anyio, "TaskHandle", subscriptable(Any))  # for the hints

__all__ = ("TaskGroup", "create_task_group", "wrap_async_context_manager")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Looked up once: a program may replace anyio's function by clew's, which would then call itself.
_create_task_group = anyio.create_task_group

# 4.14+: tasks have handles, and are created from coroutines, too.
_HAS_HANDLES = hasattr(anyio.abc.TaskGroup, "create_task")


def create_task_group() -> TaskGroup:
    """
    Create a task group, as `anyio.create_task_group` does, that can start tasks in a given context.

    It is the task group of anyio's backend for the running event loop, and its methods also take ``context=``.
    A `contextvars.Context` is shared with the task; anyio itself copies it.

    Context:
        *When*: at each call of `TaskGroup.start_soon`, `TaskGroup.start` or `TaskGroup.create_task`.
        *What the callee sees*: see `TaskGroup`. *What comes back*: nothing, except in a given `Context`.

    Returns:
        A `TaskGroup`, for one ``async with``.

    Example:
        >>> import anyio, contextvars
        >>> from clew.tasks.anyio import create_task_group
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def log_in(name):
        ...     user.set(name)
        >>> async def main():
        ...     context = contextvars.copy_context()
        ...     async with create_task_group() as group:
        ...         group.start_soon(log_in, "ada", context=context)
        ...     return context[user], user.get()
        >>> anyio.run(main)
        ('ada', 'nobody')
    """
    group: Any = _create_task_group()
    kind: Any = type(group)
    group.__class__ = _with_contexts(kind)
    return group  # type: ignore[no-any-return]


class TaskGroup(anyio.abc.TaskGroup):
    """
    A task group of anyio's that starts each task in a copy of its caller's context, or in ``context=``.

    `create_task_group` makes them.

    Context:
        *When*: at each call of a method. *What the callee sees*: the values of the caller, in a copy of
        its own, or those in ``context=``; on trio that is the context of the whole task, for
        `anyio.from_thread`, too. *What comes back*: ContextVar changes are in ``context=`` if that is a
        `contextvars.Context`, which is shared and not copied, and nowhere otherwise.

    Raises:
        ArgumentTypeError: from the methods, if ``context=`` is neither a `contextvars.Context` nor a `Snapshot`.
        ContextInUseError: in the task, if something else is running in its context.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        _kind: Type[TaskCoroutine]

        async def __aenter__(self) -> Self:
            """
            Open the group.
            """
            return self

    def start_soon(  # type: ignore[misc]  # with an option more than what is final from 4.14 on
        self,
        func: Callable[[Unpack[Ts]], Coroutine[Any, Any, T]],
        *args: Unpack[Ts],
        name: object = None,
        context: Union[Context, Snapshot, None] = None,
    ) -> TaskHandle[T]:
        """
        Start a task, and wait for nothing.

        Context:
            As `TaskGroup`.

        Args:
            func: an async function.
            args: its positional arguments.
            name: the name of the task.
            context: a `contextvars.Context`, which is shared, or a `Snapshot`, of which the task gets a copy.

        Returns:
            What anyio returns, which is a handle of the task from 4.14 on.
        """
        if context is None:
            return super().start_soon(func, *args, name=name)
        return super().start_soon(self._function(func, context), *args, name=name)

    async def start(
        self,
        func: Callable[..., Coroutine[Any, Any, Any]],
        *args: object,
        name: object = None,
        context: Union[Context, Snapshot, None] = None,
        **options: Any,
    ) -> Any:
        """
        Start a task, and wait until it calls ``task_status.started()``.

        Context:
            As `TaskGroup`.

        Args:
            func: an async function that takes the keyword ``task_status``.
            args: its positional arguments.
            name: the name of the task.
            context: a `contextvars.Context`, which is shared, or a `Snapshot`, of which the task gets a copy.
            options: further options of anyio, such as ``return_handle`` from 4.14 on.

        Returns:
            What the task passed to ``started()``.

        Raises:
            RuntimeError: the task has ended without calling it.
        """
        if context is not None:
            func = self._function(func, context)
        above: Any = super()
        return await above.start(func, *args, name=name, **options)

    if TYPE_CHECKING or _HAS_HANDLES:

        def create_task(
            self,
            coro: Coroutine[Any, Any, T],
            *,
            name: object = None,
            context: Union[Context, Snapshot, None] = None,
        ) -> TaskHandle[T]:
            """
            Start a task of a coroutine; with anyio 4.14 or later.

            Context:
                As `TaskGroup`.

            Args:
                coro: what an async function returns; not a coroutine that was started.
                name: the name of the task.
                context: a `contextvars.Context`, which is shared, or a `Snapshot`, of which the task gets a copy.

            Returns:
                A handle of the task.
            """
            if context is not None:
                try:
                    checked_context(context)
                except ArgumentTypeError:
                    close_unstarted(coro)
                    raise
                coro = coroutine_in_context(coro, context, self._kind)
            above: Any = super()
            handle: TaskHandle[T] = above.create_task(coro, name=name)
            return handle

    def _function(self, func: Any, context: Any) -> Any:
        return function_in_context(
            func, context, self._kind, stand_in=FunctionInContext if _HAS_HANDLES else _NativeInContext
        )


class _NativeInContext(FunctionInContext):
    """
    As `FunctionInContext`, with native coroutines, which anyio requires before 4.14.
    """

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        coro = super().__call__(*args, **kwargs)
        return _awaiting(coro) if isinstance(coro, TaskCoroutine) else coro


async def _awaiting(coro: Any) -> Any:
    return await coro


@lru_cache(maxsize=None)  # of the two classes that anyio has
def _with_contexts(kind: Any) -> Any:
    # On trio a task has its context as an attribute.
    coroutine = TrioTaskCoroutine if kind.__module__.endswith("_trio") else TaskCoroutine
    return type("TaskGroup", (TaskGroup, kind), {"__slots__": (), "__module__": __name__, "_kind": coroutine})


@contextmanager
def wrap_async_context_manager(portal: BlockingPortal, cm: AsyncContextManager[T]) -> Iterator[T]:
    """
    Return `cm` as a plain context manager, as `BlockingPortal.wrap_async_context_manager` does.

    ContextVars that `cm` sets at its entry are also set in the block, as in a plain ``with``. `BlockingPortal.call`
    copies the context of its caller, so it sees them.

    Context:
        *When*: at the entry of the block. *What the callee sees*: `cm` sees the values of the caller, in
        one copy for its entry and its exit. *What comes back*: the values that `cm` sets at its entry, until
        the exit of the block.

    Args:
        portal: a portal of the event loop that `cm` needs.
        cm: an async context manager.

    Raises:
        WrongContextError: at the exit, if it is in another context than the entry.

    Example:
        >>> import contextvars
        >>> from contextlib import asynccontextmanager
        >>> from anyio.from_thread import start_blocking_portal
        >>> from clew.tasks.anyio import wrap_async_context_manager
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> @asynccontextmanager
        ... async def logged_in(name):
        ...     token = user.set(name)
        ...     yield
        ...     user.reset(token)
        >>> with start_blocking_portal() as portal:
        ...     with wrap_async_context_manager(portal, logged_in("ada")):
        ...         portal.call(user.get), user.get()
        ('ada', 'ada')
    """
    watched = _Watched(cm)
    with portal.wrap_async_context_manager(watched) as value, Scope("wrap_async_context_manager", watched.repeat):
        yield value


class _Watched:
    """
    An async context manager that notes the values that its entry sets.
    """

    __slots__ = ("_cm", "_found")

    def __init__(self, cm: Any) -> None:
        self._cm = cm
        self._found: Dict[ContextVar[Any], Any] = {}

    async def __aenter__(self) -> Any:
        before = copy_context()
        value = await self._cm.__aenter__()
        for variable, found in copy_context().items():
            if variable not in before or before[variable] is not found:
                self._found[variable] = found
        return value

    def __aexit__(
        self, exc_type: Optional[Type[BaseException]], exc: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> Any:
        return self._cm.__aexit__(exc_type, exc, traceback)

    def repeat(self, undo: Undo) -> None:
        """
        Set the noted values in the current context.
        """
        set_values(self._found, undo)
