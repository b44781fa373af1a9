"""
Serve two requests. The first one starts a worker, which refreshes a cache for both.

    clew run examples/lazy_worker.py            the worker belongs to no request
    clew run examples/lazy_worker.py --bare     all runs of the worker are in the first request
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from typing import Any, Callable, Dict, List

from clew import detached, traceable
from clew.tasks.asyncio import TaskGroup, run


@traceable
async def refresh(page: str) -> str:
    await asyncio.sleep(0)
    return f"<{page}>"


class Cache:
    """
    A cache of pages. The first request for a page starts a worker, which fetches all pages.
    """

    def __init__(self, group: TaskGroup, outside: Callable[[], Any]) -> None:
        self._group = group
        self._outside = outside
        self._wanted: asyncio.Queue[str] = asyncio.Queue()
        self._workers: List[asyncio.Task[None]] = []
        self._pages: Dict[str, str] = {}

    async def get(self, page: str) -> str:
        """
        Return a page after the worker has fetched it again.
        """
        if not self._workers:
            with self._outside():
                self._workers.append(self._group.create_task(self._work(), name="cache worker"))
        self._wanted.put_nowait(page)
        await self._wanted.join()
        return self._pages[page]

    async def _work(self) -> None:
        while True:
            page = await self._wanted.get()
            self._pages[page] = await refresh(page)
            self._wanted.task_done()

    def close(self) -> None:
        """
        Stop the worker.
        """
        for worker in self._workers:
            worker.cancel()


@traceable
async def request(cache: Cache, page: str) -> str:
    return await cache.get(page)


async def main(outside: Callable[[], Any]) -> None:
    async with TaskGroup() as group:
        cache = Cache(group, outside)
        for page in "home", "news":
            print(await request(cache, page))
        cache.close()


if __name__ == "__main__":
    run(main(nullcontext if "--bare" in sys.argv else detached))
