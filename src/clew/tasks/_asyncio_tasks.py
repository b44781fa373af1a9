"""
How a coroutine is started as an asyncio task in a given context.

asyncio does it itself where it can, from 3.11 on. Elsewhere clew enters the context for each step of the coroutine.

Guarantees:
    - The task runs in the given context on every Python version and under any task factory.
    - If another task or thread is running in the context, the task fails with `ContextInUseError`. asyncio would
      report that to the loop's exception handler, and whoever awaits the task would wait for ever.

Assumes:
    - The caller leaves its own context before the first step of a task, unless the task may be eager. Anybody else
      who is in the context when the task is started is still there at the first step.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from asyncio import get_running_loop
from contextvars import Context
from functools import partial
from typing import Any, Callable, Dict, FrozenSet, Literal, Optional, Tuple
from weakref import WeakKeyDictionary

from clew.context._stepping.captured import checked_context
from clew.context._stepping.carrying import Carried
from clew.context._stepping.coroutines import ContextCoroutine, check_coroutine, is_current
from clew.context._stepping.entering import is_refusal, prepare_for_here
from clew.context.snapshot import Snapshot
from clew.tasks._in_context import TaskCoroutine

__all__ = ("run_in_new_loop", "start_task")

# Looked up once: a program may replace `asyncio.run` by clew's `run`, which would then call itself.
_asyncio_run = asyncio.run

# 3.11+: create_task(context=); drop the other way with 3.10.
_HAS_CONTEXT = sys.version_info >= (3, 11)
# 3.12+: eager tasks, which make their first step while they are created; drop with 3.11.
_HAS_EAGER_TASKS = sys.version_info >= (3, 12)


def start_task(
    create_task: Callable[..., Any], coro: Any, name: Optional[str], context: Any, options: Dict[str, Any]
) -> Any:
    """
    Start a coroutine as a task in a context, under any task factory.

    Args:
        create_task: that of a loop or of a task group.
        coro: the coroutine.
        name: the task's name, or None.
        context: a Context, a Snapshot, or None for asyncio's own way, a copy of the current context.
        options: more keyword arguments for `create_task`; changed by this function.
    """
    factory = get_running_loop().get_task_factory()
    if context is not None:
        shared, carried = (context, ()) if type(context) is Context else _context_and_carried(context)
        user = _user_of(shared)
        if user is None and not carried and factory is None and not options and _HAS_CONTEXT:
            return create_task(coro, name=name, context=shared)  # the usual case; merging no options costs time
        may_be_eager = factory is not None or "eager_start" in options
        is_free = user is None or (user == "caller" and not may_be_eager)
        if is_free and not carried and _HAS_CONTEXT and (factory is None or _takes(factory, "context")):
            options["context"] = shared
        else:
            check_coroutine(coro, "create_task(f())")
            is_stepped_too_early = user == "caller" and may_be_eager and _HAS_EAGER_TASKS
            coro = (_LaterCoroutine if is_stepped_too_early else ContextCoroutine)(coro, shared, carried)
            # The task has a context of its own besides, which would otherwise be a copy of the caller's and keep the
            # caller's values alive.
            create_task = partial(shared.copy().run, create_task)
    if factory is None:
        return create_task(coro, name=name, **options)
    if name is not None and _takes(factory, "name"):
        options["name"] = name
        name = None
    task = create_task(coro, **options)
    try:
        if name is not None and hasattr(task, "set_name"):
            task.set_name(name)
        return task
    finally:
        del task  # an eager task may have failed already; its traceback refers to this frame


def _context_and_carried(context: Any) -> Tuple[Context, Carried]:
    context = checked_context(context)
    if isinstance(context, Snapshot):
        # Accessors' values belong to a thread, which all tasks share. They are set and put back around each step.
        return prepare_for_here(context.context()), context._carried
    return context, ()


# A function in C, so that trying to enter a context takes next to no time.
_do_nothing = bool


def _user_of(context: Context) -> Optional[Literal["caller", "another"]]:
    """
    Return who is running in `context` now: the caller, another task or thread, or nobody (None).
    """
    try:
        context.run(_do_nothing)
    except RuntimeError as error:
        if not is_refusal(error):
            raise
        return "caller" if is_current(context) else "another"
    return None


class _LaterCoroutine(TaskCoroutine):
    """
    A coroutine that suspends once before its first step, so that the caller can leave the context.
    """

    __slots__ = ("_is_suspended",)

    def __next__(self, value: Any = None) -> Any:
        if not hasattr(self, "_is_suspended"):
            self._is_suspended = True
            return None
        try:
            return super().__next__(value)
        finally:
            del value  # as in ContextCoroutine: it may be the exception whose traceback refers to this frame


# For each task factory the names of its parameters: reading a signature takes ten times as long as starting a task.
_parameters: WeakKeyDictionary[Any, FrozenSet[str]] = WeakKeyDictionary()
_ANY = "**"


def _takes(factory: Any, option: str) -> bool:
    try:
        found = _parameters.get(factory)
    except TypeError:  # the factory has no hash or no weak references
        found = _parameters_of(factory)
    if found is None:
        found = _parameters[factory] = _parameters_of(factory)
    return option in found or _ANY in found


def _parameters_of(factory: Any) -> FrozenSet[str]:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # some functions in C have no signature; assume that they take everything
        return frozenset({_ANY})
    return frozenset(_ANY if each.kind is each.VAR_KEYWORD else name for name, each in parameters.items())


def run_in_new_loop(main: Any, context: Any, *, debug: Optional[bool], loop_factory: Any) -> Any:
    """
    Run `main` as `asyncio.run` does, with ``context=`` and ``loop_factory=`` on every Python version.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    options: Dict[str, Any] = {}
    if context is not None:
        shared, carried = _context_and_carried(context)
        # Anybody who is in the context now, the caller too, stays there until the loop has ended.
        if _HAS_CONTEXT and not carried and _user_of(shared) is None:
            options["context"] = shared
        else:
            check_coroutine(main, "run(f())")
            main = ContextCoroutine(main, shared, carried)
    # 3.11+: asyncio.Runner; drop the other ways with 3.10.
    if sys.version_info >= (3, 11):
        with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
            return runner.run(main, **options)
    if loop_factory is None:
        return _asyncio_run(main, debug=debug)
    return _run_before_311(main, loop_factory(), debug=debug)


def _run_before_311(main: Any, loop: Any, *, debug: Optional[bool]) -> Any:
    runners: Any = asyncio.runners
    try:
        asyncio.set_event_loop(loop)
        if debug is not None:
            loop.set_debug(debug)
        return loop.run_until_complete(main)
    finally:
        try:
            runners._cancel_all_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            if sys.version_info >= (3, 9):
                loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
