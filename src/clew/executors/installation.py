"""
`install()`: patches of the stdlib's own threads and pools, for code that you cannot edit.

Nothing is patched before `install` is called.

Guarantees:
    - The last `uninstall` puts back the very objects that were there before the first `install`.
    - A patch that cannot be taken away, as somebody has patched the same method since, calls only what it replaced.
    - clew's own classes, and pools that pickle their jobs, are left alone.
    - An interrupt of a call leaves all methods patched or none.
"""

from __future__ import annotations

import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context
from functools import partial, wraps
from multiprocessing.pool import ThreadPool
from threading import Thread
from types import TracebackType
from typing import Any, Callable, ContextManager, Dict, List, Optional, Type

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew._shared.one_use import EnteredOnce
from clew.errors import NotInstalledError
from clew.executors._mapping import map_by_submitting
from clew.executors._pool_jobs import job_in_copy, start_job, tasks_in_copies
from clew.executors._starting import ContextStart, start_in_context
from clew.executors._submitting import runs_in_threads, submit_in_copy
from clew.executors.multiprocessing_pool import ContextThreadPool
from clew.executors.thread_pool import ContextThreadPoolExecutor

__all__ = ("install", "installed", "uninstall")


def install() -> None:
    """
    Make the stdlib's own threads, timers and thread pools carry the context, in the whole process.

    It is for code that you cannot edit, for example a library with a pool of its own. In your own code use
    `ContextThreadPoolExecutor`, `ContextThread` and the others, which show a reader what they do.

    From this call on, a `threading.Thread` or `Timer` runs in a copy of the context of the caller of
    `start`. A job of `concurrent.futures.ThreadPoolExecutor` (asyncio's default executor is one) or of
    `multiprocessing.pool.ThreadPool` runs in a copy of the context of its submitter. The threads of the
    stdlib's own pools and queues start with an empty context: a worker that kept the context of the job
    for which it was started would give all later jobs the wrong parent.

    Calls are counted. The patches stay until `uninstall` was called as often as `install`.

    Context:
        *When*: nothing at this call; later at `start`, `submit`, `map` and the like. *What the callee
        sees*: the caller's values, in a copy of its own. *What comes back*: nothing. Thread-safe.

    Example:
        >>> import contextvars, threading, clew
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> token = user.set("ada")
        >>> clew.install()
        >>> thread = threading.Thread(target=lambda: print(user.get()))
        >>> thread.start(); thread.join()
        ada
        >>> clew.uninstall()
    """
    holder = object()
    try:
        _guard.run(_change, _holders.setdefault, holder)
    except BaseException:  # an interrupt: the caller does not know whether anything is installed
        _guard.run(_change, _holders.pop, holder, None)
        raise


def uninstall() -> None:
    """
    Undo one `install`. The last `uninstall` puts back exactly what was there before the first `install`.

    If somebody has patched the same method since, their patch stays, and clew's stays beneath it but does
    nothing any more. That is logged, and counted in `clew.stats()` as ``patches_left_behind``.

    Raises:
        NotInstalledError: every `install` was undone already.
    """
    try:
        _guard.run(_change, _remove_holder, None)
    except NotInstalledError:
        raise
    except BaseException:  # an interrupt
        _guard.run(_change, bool)
        raise


def installed() -> ContextManager[None]:
    """
    Return a ``with`` block in which the stdlib's threads and pools carry the context; see `install`.

    Context:
        *When*: as `install`, from the entry of the block to its exit, in all threads. *What the callee
        sees*: the caller's values, in a copy of its own. *What comes back*: nothing. Each instance is for
        one block; blocks may be nested and may overlap.

    Raises:
        AlreadyEnteredError: the block was entered before.

    Example:
        >>> import contextvars, clew
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> token = user.set("ada")
        >>> with clew.installed(), ThreadPoolExecutor() as pool:
        ...     pool.submit(user.get).result()
        'ada'
    """
    return _Installed()


class _Installed(EnteredOnce):
    __slots__ = ()

    def __enter__(self) -> None:
        self._enter_once("installed()")
        try:
            _guard.run(_change, _holders.setdefault, self)
        except BaseException:  # Python calls no `__exit__` after a failed `__enter__`
            _guard.run(_change, _holders.pop, self, None)
            raise

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        try:
            _guard.run(_change, _remove_holder, self)
        except NotInstalledError:
            raise
        except BaseException:  # an interrupt
            _guard.run(_change, _holders.pop, self, None)
            raise


def _remove_holder(holder: object) -> None:
    """
    Remove a holder. If it is not there, as `uninstall` passes none or has removed the one of a block, remove another.
    """
    if not _holders:
        raise NotInstalledError(
            "expected an install() before each uninstall(), found none left to undo; "
            "use 'with clew.installed():', which keeps the two together"
        )
    del _holders[holder if holder in _holders else next(reversed(_holders))]


def _change(change: Callable[..., object], *args: object) -> None:
    """
    Call `change(*args)`, then patch or put back the methods. A second call completes one that was interrupted.
    """
    change(*args)
    if _holders:
        if not _patches:
            _patches.extend([_Patch(*method) for method in _methods_to_patch()])
        for patch in _patches:
            patch.apply()
        return
    while _patches:
        if not _patches[-1].remove():
            report(
                "patches_left_behind",
                f"{_patches[-1].place} was patched by somebody else after clew.install(), so clew's stays beneath that "
                f"and does nothing any more; call clew.uninstall() after they have undone theirs",
            )
        _patches.pop()


class _Patch:
    """
    One replaced method of a class.
    """

    __slots__ = ("_name", "_native", "_owner", "_replacement", "is_active")

    def __init__(self, owner: type, name: str, make: Callable[[_Patch, Any], Any]) -> None:
        self.is_active = False
        self._owner = owner
        self._name = name
        self._native = vars(owner).get(name)  # None where it is inherited
        native = getattr(owner, name)
        self._replacement = wraps(native)(make(self, native))

    def apply(self) -> None:
        """
        Replace the method, once.
        """
        if not self.is_active:
            setattr(self._owner, self._name, self._replacement)
            self.is_active = True

    @property
    def place(self) -> str:
        return f"{self._owner.__module__}.{self._owner.__qualname__}.{self._name}"

    def remove(self) -> bool:
        """
        Put the old method back. Return False if somebody has replaced the method since.
        """
        self.is_active = False
        found = vars(self._owner).get(self._name)
        if found is not self._replacement:
            # After an interrupt, the method may have been put back already, or not have been replaced yet.
            return found is self._native
        if self._native is None:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._native)
        return True


_guard = ForkSafeLock()
_holders: Dict[object, None] = {}  # one for each `install` that was not undone, and for each open block
_patches: List[_Patch] = []


def _methods_to_patch() -> List[Any]:
    methods: List[Any] = [
        (Thread, "start", _start),
        (ThreadPoolExecutor, "submit", _submit),
        (ThreadPool, "apply_async", _apply_async),
        (ThreadPool, "map_async", _map_async),
        (ThreadPool, "starmap_async", _map_async),
        (ThreadPool, "_guarded_task_generation", _generate_tasks),
    ]
    # 3.14+: map has a buffersize, with which it submits jobs after the call.
    if sys.version_info >= (3, 14):
        methods.append((ThreadPoolExecutor, "map", _map))
    return methods


def _start(patch: _Patch, native: Any) -> Any:
    def start(self: Thread) -> None:
        # 3.14+: `_context` is the argument context= of the thread.
        if not patch.is_active or isinstance(self, ContextStart) or getattr(self, "_context", None) is not None:
            native(self)
        elif _serves_the_stdlib(self):
            Context().run(native, self)
        else:
            start_in_context(self, partial(native, self))

    return start


# Modules whose threads serve many callers in turn, so that none of them should give the thread its context.
_SERVICES = ("concurrent.futures.", "multiprocessing.", "logging.")


def _serves_the_stdlib(thread: Any) -> bool:
    target = getattr(thread, "_target", None)
    code = type(thread) if target is None else target
    try:
        module = getattr(code, "__module__", "")
    except Exception:  # noqa: BLE001  a target may be a proxy that raises; the thread must start all the same
        return False
    return f"{module}.".startswith(_SERVICES)


def _submit(patch: _Patch, native: Any) -> Any:
    def submit(self: ThreadPoolExecutor, /, *args: Any, **kwargs: Any) -> Any:
        if not patch.is_active or _carries_by_itself(self):
            return native(self, *args, **kwargs)
        if args:
            return submit_in_copy(partial(native, self), args[0], args[1:], kwargs)
        if "fn" in kwargs:  # 3.8 still takes it as a keyword; drop with 3.8
            by_keyword: Any = lambda run, fn, **others: native(self, fn=partial(run, fn), **others)  # noqa: E731
            return submit_in_copy(by_keyword, kwargs.pop("fn"), (), kwargs)
        return native(self, **kwargs)

    return submit


def _map(patch: _Patch, native: Any) -> Any:
    def map(  # noqa: A001  the stdlib's name
        self: ThreadPoolExecutor,
        fn: Any,
        *iterables: Any,
        timeout: Any = None,
        chunksize: int = 1,
        buffersize: Any = None,
    ) -> Any:
        if not patch.is_active or _carries_by_itself(self) or native is not Executor.map:
            return native(self, fn, *iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize)
        return map_by_submitting(self, fn, iterables, timeout=timeout, buffersize=buffersize)

    return map


def _carries_by_itself(executor: ThreadPoolExecutor) -> bool:
    # clew's own pool carries the context already. An interpreter pool pickles its jobs, so no context can go along.
    return isinstance(executor, ContextThreadPoolExecutor) or not runs_in_threads(executor)


def _apply_async(patch: _Patch, native: Any) -> Any:
    def apply_async(  # the stdlib's signature
        self: ThreadPool,
        func: Any,
        args: Any = (),
        kwds: Any = {},  # noqa: B006  it is never changed
        callback: Any = None,
        error_callback: Any = None,
    ) -> Any:
        if not patch.is_active or isinstance(self, ContextThreadPool):
            return native(self, func, args, kwds, callback, error_callback)
        return start_job(partial(native, self), job_in_copy(func, args, kwds), callback, error_callback)

    return apply_async


def _map_async(patch: _Patch, native: Any) -> Any:
    def map_async(
        self: ThreadPool,
        func: Any,
        iterable: Any,
        chunksize: Any = None,
        callback: Any = None,
        error_callback: Any = None,
    ) -> Any:
        if not patch.is_active or isinstance(self, ContextThreadPool):
            return native(self, func, iterable, chunksize, callback, error_callback)
        return start_job(partial(native, self), (func, iterable, chunksize), callback, error_callback)

    return map_async


# Every `map`, `starmap` and `imap` calls this; see `ContextThreadPool`.
def _generate_tasks(patch: _Patch, native: Any) -> Any:
    def _guarded_task_generation(self: ThreadPool, *args: Any) -> Any:
        tasks = native(self, *args)
        carries_by_itself = not patch.is_active or isinstance(self, ContextThreadPool)
        return tasks if carries_by_itself else tasks_in_copies(tasks)

    return _guarded_task_generation
