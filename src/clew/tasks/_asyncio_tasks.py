"""
How a coroutine is started as a task of asyncio's in a given context: natively where that can be, stepped elsewhere.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from asyncio import get_running_loop
from contextvars import Context
from functools import partial
from typing import Any, Callable, Dict, FrozenSet, Optional, Tuple
from weakref import WeakKeyDictionary

from clew.context._stepping.captured import checked_context
from clew.context._stepping.carrying import Carried
from clew.context._stepping.coroutines import ContextCoroutine, check_coroutine, is_current
from clew.context._stepping.entering import is_refusal, prepare_for_here
from clew.context.snapshot import Snapshot
from clew.tasks._placing import TaskCoroutine

__all__ = ("run_in_new_loop", "start")

# By this name, as somebody may put clew's in its place.
_asyncio_run = asyncio.run

# 3.11+: create_task(context=); drop the other way with 3.10.
_HAS_CONTEXT = sys.version_info >= (3, 11)


# In C, so that seeing whether a context can be entered takes next to no time.
_nothing = bool


def start(
    create_task: Callable[..., Any], coro: Any, name: Optional[str], context: Any, options: Dict[str, Any]
) -> Any:
    """
    Return what `create_task`, a loop's or a group's, makes of a coroutine in a context, under any task factory.
    """
    factory = get_running_loop().get_task_factory()
    if factory is None and not options:
        # As it is for most. What there is to find out otherwise takes as long as the task.
        if context is None:
            return create_task(coro, name=name)
        if _HAS_CONTEXT and context.__class__ is Context:
            try:
                context.run(_nothing)
            except RuntimeError:
                pass  # somebody is in it: see below
            else:
                return create_task(coro, name=name, context=context)
    if context is not None:
        given, carried = _given(context)
        may_be_eager = factory is not None or "eager_start" in options
        takes_context = _HAS_CONTEXT and (factory is None or _takes(factory, "context"))
        if takes_context and not carried and not _is_in_the_way(given, even_if_current=may_be_eager):
            options["context"] = given
        else:
            coro = _stepped(coro, given, carried, may_be_eager=may_be_eager)
            # A task has a context, too, which would keep the values of the caller.
            create_task = partial(given.copy().run, create_task)
    return _named(name, factory, partial(create_task, coro, **options))


def _named(name: Optional[str], factory: Any, create: Callable[..., Any]) -> Any:
    if name is None:
        return create()
    if factory is None or _takes(factory, "name"):
        return create(name=name)
    task = create()
    try:
        if hasattr(task, "set_name"):
            task.set_name(name)
        return task
    finally:
        del task  # it may have failed already, and its traceback has this frame


def _given(context: Any) -> Tuple[Context, Carried]:
    context = checked_context(context)
    if isinstance(context, Snapshot):
        # The values of accessors are about a thread, which all tasks share: they come and go with each step.
        return prepare_for_here(context.context()), context._carried
    return context, ()


def _stepped(coro: Any, context: Context, carried: Carried, *, may_be_eager: bool = False) -> ContextCoroutine:
    check_coroutine(coro, "create_task(f())")
    # 3.12+: eager tasks. One makes its first step while whoever starts it is in the context still.
    if may_be_eager and sys.version_info >= (3, 12) and is_current(context):
        return _LaterCoroutine(coro, context, carried)
    return ContextCoroutine(coro, context, carried)


class _LaterCoroutine(TaskCoroutine):
    """
    Let the event loop have a turn before the first step.
    """

    __slots__ = ("_had_a_turn",)

    def __next__(self, value: Any = None) -> Any:
        if not hasattr(self, "_had_a_turn"):
            self._had_a_turn = True
            return None
        try:
            return super().__next__(value)
        finally:
            del value  # as there


def _is_in_the_way(context: Context, *, even_if_current: bool) -> bool:
    """
    Return whether somebody is in `context` who will still be there at the first step, as far as one can tell.

    A loop that cannot enter a task's context says so to its exception handler, and the task waits for
    ever. Stepped, the task fails with an error.
    """
    try:
        context.run(_nothing)
    except RuntimeError as error:
        if not is_refusal(error):
            raise
        return even_if_current or not is_current(context)
    return False


# What each task factory takes, as it takes ten times as long as a task to find that out.
_parameters: WeakKeyDictionary[Any, FrozenSet[str]] = WeakKeyDictionary()
_ANY = "**"


def _takes(factory: Any, option: str) -> bool:
    try:
        found = _parameters.get(factory)
    except TypeError:  # nothing can be remembered of it
        found = _parameters_of(factory)
    if found is None:
        found = _parameters[factory] = _parameters_of(factory)
    return option in found or _ANY in found


def _parameters_of(factory: Any) -> FrozenSet[str]:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # of some that are written in C
        return frozenset({_ANY})
    return frozenset(_ANY if each.kind is each.VAR_KEYWORD else name for name, each in parameters.items())


def run_in_new_loop(main: Any, context: Any, *, debug: Optional[bool], loop_factory: Any) -> Any:
    """
    Do what `asyncio.run` does, in a context and with a loop of one's own on every version.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    options: Dict[str, Any] = {}
    if context is not None:
        given, carried = _given(context)
        # Who is in the context at this call is in it until the loop has ended.
        if _HAS_CONTEXT and not carried and not _is_in_the_way(given, even_if_current=True):
            options["context"] = given
        else:
            main = _stepped(main, given, carried)
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
