"""
The ways to have a `multiprocessing.pool.ThreadPool` call a function, which its edges are tested for one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List

import pytest

from tests.edges._threads import DEADLINE, in_empty_context, nothing

if TYPE_CHECKING:
    from multiprocessing.pool import ThreadPool

Fn = Callable[[Any], Any]


def apply_async(pool: ThreadPool, fn: Fn, items: Iterable[Any]) -> List[Any]:
    results = [pool.apply_async(fn, (item,)) for item in items]
    return [result.get(DEADLINE) for result in results]


def rows(items: Iterable[Any]) -> List[Any]:
    return [(item,) for item in items]


# Each calls a function for some items, and returns what it has returned.
WAYS: Dict[str, Callable[[ThreadPool, Fn, Iterable[Any]], List[Any]]] = {
    "apply": lambda pool, fn, items: [pool.apply(fn, (item,)) for item in items],
    "apply, not a tuple": lambda pool, fn, items: [pool.apply(fn, [item]) for item in items],
    "apply, keyword": lambda pool, fn, items: [pool.apply(lambda *, self: fn(self), (), {"self": i}) for i in items],
    "apply_async": apply_async,
    "map": lambda pool, fn, items: pool.map(fn, items),
    "map, one by one": lambda pool, fn, items: pool.map(fn, items, 1),
    "map, in chunks": lambda pool, fn, items: pool.map(fn, items, chunksize=3),
    "map, unsized": lambda pool, fn, items: pool.map(fn, iter(items)),
    "map_async": lambda pool, fn, items: pool.map_async(fn, items, chunksize=3).get(DEADLINE),
    "starmap": lambda pool, fn, items: pool.starmap(fn, rows(items)),
    "starmap, in chunks": lambda pool, fn, items: pool.starmap(fn, rows(items), chunksize=3),
    "starmap_async": lambda pool, fn, items: pool.starmap_async(fn, rows(items), chunksize=3).get(DEADLINE),
    "imap": lambda pool, fn, items: list(pool.imap(fn, items)),
    "imap, in chunks": lambda pool, fn, items: list(pool.imap(fn, items, chunksize=3)),
    "imap_unordered": lambda pool, fn, items: sorted(pool.imap_unordered(fn, items), key=str),
    "imap_unordered, in chunks": lambda pool, fn, items: sorted(pool.imap_unordered(fn, items, 3), key=str),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
ITEMS = range(8)

# Each starts a call of a function with 5, with callbacks.
STARTS = {
    "apply_async": lambda pool, fn, **callbacks: pool.apply_async(fn, (5,), **callbacks),
    "map_async": lambda pool, fn, **callbacks: pool.map_async(fn, [5], **callbacks),
    "starmap_async": lambda pool, fn, **callbacks: pool.starmap_async(fn, [(5,)], **callbacks),
}
starts = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)


def settle(pool: ThreadPool) -> None:
    """Return when all threads of the pool, which has one worker, have put away what they had before."""
    for _ in range(2):
        in_empty_context(pool.apply_async, nothing).get(DEADLINE)
