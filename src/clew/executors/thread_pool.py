"""
`ContextThreadPoolExecutor`: the stdlib's thread pool, each job in the context of its submitter.

Other executors, and pools of processes, are not here.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from typing import Any, Callable, Iterable, Iterator, Optional, TypeVar

from clew._shared.hints import ParamSpec
from clew.executors._mapping import map_by_submitting
from clew.executors._submitting import submit_in_copy, submit_to_pool

__all__ = ("ContextThreadPoolExecutor",)

T = TypeVar("T")
P = ParamSpec("P")


class ContextThreadPoolExecutor(ThreadPoolExecutor):
    """
    A `concurrent.futures.ThreadPoolExecutor` that runs each job in the context of its submitter.

    A drop-in replacement: same arguments, futures, errors, cancellation and shutdown. Every job gets its own
    copy of the submitter's context, so no job sees what another one has set.

    Context:
        *When*: at `submit` and at `map`, on the calling thread. *What the callee sees*: the values of
        the caller, in a copy of its own. `initializer` and an idle worker see an empty context, also
        where threads inherit one by default. *What comes back*: the result or the exception, and no
        ContextVar change. Thread-safe and re-entrant.

    Example:
        >>> import contextvars
        >>> from clew import ContextThreadPoolExecutor
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> token = user.set("ada")
        >>> with ContextThreadPoolExecutor() as pool:
        ...     pool.submit(user.get).result()
        'ada'
    """

    # Whether `super().submit` is the stdlib's. If it is, `submit` need not call it, which is faster.
    _super_is_stdlib = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        after = cls.__mro__[cls.__mro__.index(ContextThreadPoolExecutor) + 1 :]
        cls._super_is_stdlib = next(base for base in after if "submit" in vars(base)) is ThreadPoolExecutor

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        Schedule `fn(*args, **kwargs)` and return its `concurrent.futures.Future`.

        Context:
            *When*: at this call. *What the callee sees*: the caller's values, in a copy of its own.
            *What comes back*: only the result. Each callback of the future runs in a copy of the
            context in which it was added. Thread-safe.

        Raises:
            RuntimeError: the executor or the interpreter is shutting down.
            concurrent.futures.thread.BrokenThreadPool: an initializer has failed.
        """
        if self._super_is_stdlib:
            return submit_to_pool(self, fn, args, kwargs)
        return submit_in_copy(super().submit, fn, args, kwargs)

    if sys.version_info < (3, 9):
        # 3.8 still takes fn as a keyword, and says that it is deprecated; drop with 3.8.
        _submit = submit

        def submit(self, /, *args: Any, **kwargs: Any) -> Any:  # noqa: D102  the docstring is set below
            if not args and "fn" in kwargs:
                import warnings

                warnings.warn("Passing 'fn' as keyword argument is deprecated", DeprecationWarning, stacklevel=2)
                args = (kwargs.pop("fn"),)
            return self._submit(*args, **kwargs)

        submit.__doc__ = _submit.__doc__
        # `inspect.signature` still shows the signature that people should use.
        submit.__text_signature__ = ThreadPoolExecutor.submit.__text_signature__

    # 3.14+: with this flag, a new thread copies the context of the thread that starts it. A worker keeps it for life.
    if getattr(sys.flags, "thread_inherit_context", False):

        def _adjust_thread_count(self) -> None:
            Context().run(super()._adjust_thread_count)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: Optional[float] = None,
        chunksize: int = 1,  # noqa: ARG002  part of the stdlib's signature
        buffersize: Optional[int] = None,
    ) -> Iterator[T]:
        """
        Return an iterator over `fn(*items)` for the items of the iterables, in their order.

        Without `buffersize`, this reads the iterables to their end and submits all jobs before it
        returns. With it, at most that many jobs are ahead of the results taken, so the iterables may
        be endless. (The stdlib has `buffersize` from 3.14; here it works everywhere.)

        Context:
            *When*: once, at this call; also for items that are submitted later. *What the callee
            sees*: the caller's values at this call, each job in a copy of its own. The iterables
            themselves are read in the context of the caller of `map` or `next`. *What comes back*:
            only the results. Thread-safe; the returned iterator is for one thread at a time.

        Args:
            timeout: seconds, counted from this call, until `next` raises `TimeoutError`.
            chunksize: accepted, as the stdlib's signature has it; thread pools have no use for it.
            buffersize: how many jobs may be ahead of the results; an int greater than 0, or None.

        Raises:
            ArgumentTypeError: `buffersize` is no integer.
            ArgumentValueError: `buffersize` is less than 1.
            RuntimeError: the executor or the interpreter is shutting down.
        """
        return map_by_submitting(self, fn, iterables, timeout=timeout, buffersize=buffersize)
