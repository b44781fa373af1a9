"""
Nurseries, callbacks and system tasks of trio in a given context.

Where trio itself carries the context correctly, as to threads, clew adds nothing.
"""

from __future__ import annotations

import weakref
from contextvars import Context, copy_context
from functools import partial
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncContextManager,
    Awaitable,
    Callable,
    Literal,
    Optional,
    Tuple,
    Type,
    Union,
)

from typing_extensions import TypeVarTuple, Unpack

from clew.context._stepping.entering import runner_for_thread
from clew.context._stepping.stand_ins import Job
from clew.context.snapshot import Snapshot
from clew.errors import ArgumentValueError, MissingExtraError
from clew.tasks._in_context import TrioTaskCoroutine, function_in_context

try:
    import trio
except ImportError as _missing:
    raise MissingExtraError("clew.tasks.trio", "trio") from _missing

__all__ = ("open_nursery", "run_sync_soon", "spawn_system_task")

Ts = TypeVarTuple("Ts")

# Looked up once: a program may replace trio's functions by clew's, which would then call themselves.
_open_nursery = trio.open_nursery
_spawn_system_task = trio.lowlevel.spawn_system_task

if not TYPE_CHECKING:
    Nursery = trio.Nursery
else:

    class Nursery(trio.Nursery):  # type: ignore[misc]  # trio's class is final
        """
        A nursery whose methods take ``context=``. At run time it is trio's own nursery, with two methods replaced.
        """

        def start_soon(
            self,
            async_fn: Callable[[Unpack[Ts]], Awaitable[object]],
            *args: Unpack[Ts],
            name: object = None,
            context: Union[Context, Snapshot, None] = None,
        ) -> None:
            """
            Start a task, in `context` if it is given.
            """

        async def start(
            self,
            async_fn: Callable[..., Awaitable[object]],
            *args: object,
            name: object = None,
            context: Union[Context, Snapshot, None] = None,
        ) -> Any:
            """
            Start a task, in `context` if it is given, and wait until it calls ``task_status.started()``.
            """


def open_nursery(
    strict_exception_groups: Optional[bool] = None,  # noqa: FBT001  as trio's
    *,
    inherit_from: Literal["spawner", "opener"] = "spawner",
) -> AsyncContextManager[Nursery]:
    """
    Open a nursery, as `trio.open_nursery` does, that can start tasks in a given context.

    The nursery is trio's own. Its `start_soon` and `start` also take ``context=``: a `contextvars.Context`, which is
    shared, or a `Snapshot`, of which the task gets a copy.

    Context:
        *When*: with ``inherit_from="spawner"``, at each `start_soon` or `start`, as in trio; with
        ``inherit_from="opener"``, at the entry of the block, for all tasks. *What the callee sees*:
        those values, or those in ``context=``, which is the context of the whole task, also for
        `trio.from_thread` and system tasks. *What comes back*: a `Context` given as ``context=`` has the
        ContextVar changes of the task; otherwise no change comes back.

    Args:
        strict_exception_groups: as `trio.open_nursery`.
        inherit_from: for tasks without ``context=``: ``"spawner"`` for the values at the start of the task,
            ``"opener"`` for the values at the opening of the nursery. With the second, a nursery that outlives
            requests starts its tasks in the context of none of them.

    Raises:
        ArgumentValueError: an unknown `inherit_from`.
        ArgumentTypeError: from the methods, if ``context=`` is neither of the two.
        ContextInUseError: in the task, at its first step, if other code is running in its context.

    Example:
        >>> import contextvars, trio
        >>> from clew.tasks.trio import open_nursery
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def log_in(name):
        ...     user.set(name)
        >>> async def main():
        ...     context = contextvars.copy_context()
        ...     async with open_nursery() as nursery:
        ...         nursery.start_soon(log_in, "ada", context=context)
        ...     return context[user], user.get()
        >>> trio.run(main)
        ('ada', 'nobody')
    """
    if inherit_from not in ("spawner", "opener"):
        raise ArgumentValueError(
            f"expected inherit_from='spawner' or inherit_from='opener', got {inherit_from!r}; the first gives "
            f"a task the values at its start, the second those at the opening of the nursery"
        )
    return _NurseryManager(_open_nursery(strict_exception_groups), inherits_from_opener=inherit_from == "opener")


class _NurseryManager:
    __slots__ = ("_inherits_from_opener", "_manager")

    def __init__(self, manager: Any, *, inherits_from_opener: bool) -> None:
        self._manager = manager
        self._inherits_from_opener = inherits_from_opener

    # As in trio: once the nursery is open, Ctrl-C is raised in the block.
    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Nursery:
        nursery: Any = await self._manager.__aenter__()
        # A weak reference, because the nursery refers to these two methods.
        given = weakref.ref(nursery), copy_context() if self._inherits_from_opener else None
        nursery.start_soon = partial(_start_soon, *given)
        nursery.start = partial(_start, *given)
        return nursery  # type: ignore[no-any-return]

    # Not a coroutine function: one frame less in each traceback.
    def __aexit__(
        self, exc_type: Optional[Type[BaseException]], exc: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> Any:
        return self._manager.__aexit__(exc_type, exc, traceback)

    # trio's own raise the error that says to use `async with`.
    def __enter__(self) -> Any:
        return self._manager.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        self._manager.__exit__(*exc_info)


def _start_soon(
    reference: Callable[[], Any],
    opener: Optional[Context],
    async_fn: Any,
    /,
    *args: Any,
    name: object = None,
    context: Any = None,
) -> None:
    nursery = _alive(reference)
    if context is not None:
        async_fn, name = _stand_in_and_name(async_fn, context, name)
    elif opener is not None:
        opener.copy().run(partial(trio.Nursery.start_soon, nursery, async_fn, *args, name=name))
        return
    trio.Nursery.start_soon(nursery, async_fn, *args, name=name)


async def _start(
    reference: Callable[[], Any],
    opener: Optional[Context],
    async_fn: Any,
    /,
    *args: Any,
    name: object = None,
    context: Any = None,
) -> Any:
    if context is None and opener is not None:
        context = opener.copy()
    if context is not None:
        async_fn, name = _stand_in_and_name(async_fn, context, name)
    return await trio.Nursery.start(_alive(reference), async_fn, *args, name=name)


def _stand_in_and_name(async_fn: Any, context: Any, name: object) -> Tuple[Any, object]:
    # trio names a task after its function, which must not be the stand-in.
    return function_in_context(async_fn, context, TrioTaskCoroutine), async_fn if name is None else name


def _alive(reference: Callable[[], Any]) -> Any:
    nursery = reference()
    if nursery is None:
        raise RuntimeError("Nursery is closed to new arrivals")
    return nursery


def run_sync_soon(
    fn: Callable[[Unpack[Ts]], object],
    /,
    *args: Unpack[Ts],
    idempotent: bool = False,
    trio_token: Optional[trio.lowlevel.TrioToken] = None,
) -> None:
    """
    Call `fn(*args)` soon, as `trio.lowlevel.TrioToken.run_sync_soon` does, but in the caller's context.

    Context:
        *When*: at this call; also the values of accessors. *What the callee sees*: the values of the
        caller, in a copy, instead of those of `trio.run`. *What comes back*: nothing. Thread-safe and
        re-entrant, also in a signal handler.

    Args:
        fn: a plain function. An exception of it crashes trio.
        args: its positional arguments.
        idempotent: whether to drop this call, and its context, if an equal one is still waiting.
        trio_token: the token of a running trio; required on other threads.

    Raises:
        RuntimeError: `trio_token` is required.
        trio.RunFinishedError: trio has ended.

    Example:
        >>> import contextvars, trio, trio.testing
        >>> from clew.tasks.trio import run_sync_soon
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def main():
        ...     user.set("ada")
        ...     run_sync_soon(lambda: print(user.get()))
        ...     await trio.testing.wait_all_tasks_blocked()
        >>> trio.run(main)
        ada
    """
    token = trio.lowlevel.current_trio_token() if trio_token is None else trio_token
    job: Any = _Soon(runner_for_thread(), fn)
    token.run_sync_soon(job, *args, idempotent=idempotent)


class _Soon(Job):
    __slots__ = ()

    # trio compares idempotent calls.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Soon) and self._fn == other._fn

    def __hash__(self) -> int:
        return hash(self._fn)


def spawn_system_task(
    async_fn: Callable[[Unpack[Ts]], Awaitable[object]],
    /,
    *args: Unpack[Ts],
    name: object = None,
    context: Union[Context, Snapshot, None] = None,
) -> trio.lowlevel.Task:
    """
    Start a system task, as `trio.lowlevel.spawn_system_task` does, but in the caller's context.

    Context:
        *When*: at this call. *What the callee sees*: the values of the caller, in a copy, instead of
        those of `trio.run`; or those in `context`. *What comes back*: a `Context` given as `context` is
        shared, so it has the ContextVar changes of the task; otherwise no change comes back.

    Args:
        async_fn: an async function. An exception of it crashes trio.
        args: its positional arguments.
        name: the name of the task, or an object to name it after.
        context: a `contextvars.Context`, which is shared, or a `Snapshot`, of which the task gets a copy.

    Raises:
        ArgumentTypeError: `context` is neither of the two.
        RuntimeError: trio is not running here, or is about to end.

    Example:
        >>> import contextvars, trio
        >>> from clew.tasks.trio import spawn_system_task
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def main():
        ...     user.set("ada")
        ...     task = spawn_system_task(trio.sleep_forever)
        ...     return task.context[user]
        >>> trio.run(main)
        'ada'
    """
    if context is None:
        return _spawn_system_task(async_fn, *args, name=name, context=copy_context())
    stand_in, name = _stand_in_and_name(async_fn, context, name)
    return _spawn_system_task(stand_in, *args, name=name)
