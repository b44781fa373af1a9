"""
`wrap_executor`: any executor, wrapped so that each job runs in the context of its submitter.

The thread pool that does so by itself is in `clew.executors.thread_pool`.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Callable, Iterable, Iterator, Optional, TypeVar, cast

from clew._shared.hints import ParamSpec
from clew.context._stepping.captured import runner_of_captured
from clew.context._stepping.seams import unwrappers
from clew.context._stepping.stand_ins import StandIn
from clew.context.snapshot import Snapshot, capture
from clew.errors import ArgumentTypeError
from clew.executors._mapping import map_by_submitting
from clew.executors._submitting import runs_in_threads, submit_in_copy, submit_to_pool
from clew.executors.thread_pool import ContextThreadPoolExecutor

__all__ = ("wrap_executor",)

T = TypeVar("T")
P = ParamSpec("P")
ExecutorT = TypeVar("ExecutorT", bound=Executor)


def wrap_executor(executor: ExecutorT) -> ExecutorT:
    """
    Return an executor that submits to `executor`, each job in the context of its submitter.

    For executors that you do not make yourself, or for which clew has no class: loky's, dask's, a
    framework's. To `isinstance`, the result is an instance of the class of `executor`, and it has its
    attributes. `copy.copy` of it submits to the same executor. A wrapped executor and a
    `ContextThreadPoolExecutor` are returned unchanged. `unwrap` gives back the wrapped executor.

    Context:
        *When*: at `submit` and at `map`, on the calling thread; nothing at this call. *What the callee
        sees*: the values of the caller, in a copy of its own. A job that is sent to another process
        runs there without them, as with the bare executor. *What comes back*: the result or the
        exception, and no ContextVar change. Each callback of a future runs in a copy of the context in
        which it was added. Thread-safe and re-entrant.

    Args:
        executor: an instance of a subclass of `concurrent.futures.Executor`.

    Raises:
        ArgumentTypeError: `executor` is something else.

    Example:
        >>> import contextvars, clew
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> token = user.set("ada")
        >>> with ThreadPoolExecutor() as pool:
        ...     clew.wrap_executor(pool).submit(user.get).result()
        'ada'
    """
    if not isinstance(executor, Executor):
        if isinstance(executor, type) and issubclass(executor, Executor):
            found, remedy = f"the class {executor.__name__}", f"pass an instance: wrap_executor({executor.__name__}())"
        else:
            found, remedy = f"{type(executor).__name__} {executor!r}", "for a function there is bind"
        raise ArgumentTypeError(f"expected an instance of concurrent.futures.Executor, found {found}; {remedy}")
    if type(executor) is _WrappedExecutor or isinstance(executor, ContextThreadPoolExecutor):
        return executor
    return cast("ExecutorT", _WrappedExecutor(executor))  # to `isinstance` it is one, see below


class _WrappedExecutor(Executor):
    def __init__(self, executor: Any) -> None:
        self._wrapped_executor = executor
        # Whether the executor has the stdlib's own `submit`, queue and threads.
        self._is_native = type(executor).submit is ThreadPoolExecutor.submit and runs_in_threads(executor)

    # For `isinstance`: asyncio, for one, takes no other default executor than a ThreadPoolExecutor.
    @property  # type: ignore[misc]  # in object it can be set, too, which is of no use here
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # the same
        return type(self._wrapped_executor)

    def __getattr__(self, name: str) -> Any:
        if name == "_wrapped_executor":  # of an object that was made without __init__
            raise AttributeError(name)
        return getattr(self._wrapped_executor, name)

    def __reduce__(self) -> Any:
        # A copy submits to the same executor. A deep copy and a pickle are what the executor makes of them.
        return wrap_executor, (self._wrapped_executor,)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._is_native:
            return submit_to_pool(self._wrapped_executor, fn, args, kwargs)
        return submit_in_copy(self._wrapped_executor.submit, fn, args, kwargs, may_pickle=True)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: Optional[float] = None,
        chunksize: int = 1,
        **options: Any,
    ) -> Iterator[T]:
        executor = self._wrapped_executor
        if type(executor).map is Executor.map:  # the stdlib's takes one more option, buffersize, from 3.14 on
            options = {"buffersize": None, **options}
            # The executor itself is passed, as this object may be gone before the last job is submitted.
            return map_by_submitting(executor, fn, iterables, timeout=timeout, submit=_submit_wrapped, **options)
        results: Iterator[T] = executor.map(
            _EachJob(capture(), fn), *iterables, timeout=timeout, chunksize=chunksize, **options
        )
        return results

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        self._wrapped_executor.shutdown(*args, **kwargs)

    def __enter__(self) -> Any:
        self._wrapped_executor.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> Any:
        return self._wrapped_executor.__exit__(*exc_info)

    def __repr__(self) -> str:
        return f"<clew.wrap_executor({self._wrapped_executor!r})>"


def _submit_wrapped(executor: Executor, /, *job: Any) -> Future[Any]:
    return _WrappedExecutor(executor).submit(*job)


unwrappers[_WrappedExecutor] = lambda wrapped: wrapped._wrapped_executor


class _EachJob(StandIn):
    __slots__ = ("_snapshot",)

    def __init__(self, snapshot: Snapshot, fn: Callable[..., Any]) -> None:
        self._snapshot = snapshot
        self._fn = fn

    def __call__(self, /, *args: Any) -> Any:
        return runner_of_captured(self._snapshot)(self._fn, *args)
