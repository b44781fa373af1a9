"""
Assertions about memory: what must be gone after its use, and chains of jobs that must not grow.

The shape of a trace is checked by `clew.Recording.assert_tree`.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from reprlib import repr as short_repr
from types import FrameType
from typing import Any, Callable, List
from weakref import ref

from clew.errors import ArgumentTypeError, ArgumentValueError, LifetimeError

__all__ = ("assert_flat", "assert_released")


def assert_released(use: Callable[[], object], *, times: int = 100, spare: int = 0) -> None:
    """
    Check that nothing keeps an object alive after its use: a class, function, executor, stream or payload, say.

    Args:
        use: makes an object, uses it, and returns it; or a tuple of several objects. It is called several times.
        times: how often.
        spare: how many objects may be alive at the end, for example those that an idle thread keeps until its next
            job.

    Raises:
        LifetimeError: more objects are alive; the message shows what refers to one of them.
        ArgumentTypeError: an object cannot be weakly referenced, or an option is not an int.

    Example:
        >>> import clew
        >>> from clew.testing.lifetimes import assert_released
        >>> def use():
        ...     def job():
        ...         return 1
        ...     clew.bind(job)()
        ...     return job
        >>> assert_released(use)
    """
    _check_count(times, "times", least=1)
    _check_count(spare, "spare", least=0)
    references: List[ref[Any]] = []
    for _ in range(times):
        references.extend(_references(use()))
    _collect()
    alive = [found for found in (each() for each in references) if found is not None]
    if len(alive) <= spare:
        return
    holders = [each for each in gc.get_referrers(alive[0]) if each is not alive and type(each) is not FrameType]
    shown = "".join([f"\n- {type(each).__name__}: {short_repr(each)}" for each in holders[:5]])
    raise LifetimeError(
        f"expected at most {spare} of {len(references)} objects to be alive after their use, found {len(alive)}; "
        f"{short_repr(alive[0])} is referred to by:{shown or ' an object that the collector does not know'}"
    )


def assert_flat(
    chain: Callable[[int], object], *, short: int = 100, long: int = 1_000, spare_bytes: int = 20_000
) -> None:
    """
    Check that a long chain of jobs, each started by the one before, holds no more memory than a short one.

    The memory is that of all threads, counted by `tracemalloc` while the result of `chain` is alive. Threads that are
    still ending get a second for it. On Python 3.8, `threading` itself keeps about 100 bytes of each thread that is
    never joined. PyPy has no `tracemalloc`.

    Args:
        chain: makes a chain of so many jobs, and waits for all of them. It returns an object that keeps what the last
            job could keep, such as ``clew.capture()`` or ``contextvars.copy_context()`` from that job.
        short: the number of jobs in the short chain.
        long: the number of jobs in the long chain.
        spare_bytes: how many bytes more the long chain may hold.

    Raises:
        LifetimeError: the long chain holds more; the message shows the lines that have allocated most of it.
        ArgumentTypeError: an option is not an int.
        ArgumentValueError: `long` is not greater than `short`, or an option is negative.

    Example:
        >>> import clew
        >>> from clew.testing.lifetimes import assert_flat
        >>> def chain(length):
        ...     snapshot = clew.capture()
        ...     for _ in range(length):
        ...         snapshot = snapshot.run(clew.capture)
        ...     return snapshot
        >>> assert_flat(chain)
    """
    _check_count(short, "short", least=1)
    _check_count(long, "long", least=1)
    _check_count(spare_bytes, "spare_bytes", least=0)
    if long <= short:
        raise ArgumentValueError(f"expected long to be greater than short, got {long!r} and {short!r}; pass 10 * short")
    chain(short)  # threads and caches are there before anything is counted
    is_ours = not tracemalloc.is_tracing()
    if is_ours:
        tracemalloc.start()
    try:
        held = []
        for length in (short, long):
            before = _bytes_in_use()
            kept = chain(length)
            held.append(_bytes_in_use() - before)
            for _ in range(20):  # a second for threads that are still ending
                if held[-1] - held[0] <= spare_bytes:
                    break
                time.sleep(0.05)
                held[-1] = _bytes_in_use() - before
            if held[-1] - held[0] > spare_bytes:
                lines = tracemalloc.take_snapshot().statistics("lineno")[:5]
                shown = "".join([f"\n- {line}" for line in lines])
                raise LifetimeError(
                    f"expected a chain of {long} to hold at most {spare_bytes} bytes more than one of {short}, found "
                    f"{held[1]} bytes after {held[0]}; most of the memory in use was allocated at:{shown}"
                )
            del kept
    finally:
        if is_ours:
            tracemalloc.stop()


def _references(made: object) -> List[ref[Any]]:
    try:
        return [ref(each) for each in (made if type(made) is tuple else (made,))]
    except TypeError:
        raise ArgumentTypeError(
            f"expected use() to return an object that can be weakly referenced, or a tuple of them, got {made!r}; "
            f"return an instance of a class of your own"
        ) from None


def _bytes_in_use() -> int:
    _collect()
    return tracemalloc.get_traced_memory()[0]


def _collect() -> None:
    # What a finaliser releases may be in a cycle, which the next collection finds.
    for _ in range(3):
        gc.collect()


def _check_count(value: Any, option: str, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentTypeError(f"expected {option} as an int, got {type(value).__name__} {value!r}; pass 100")
    if value < least:
        raise ArgumentValueError(f"expected {option} to be at least {least}, got {value!r}; pass 100")
