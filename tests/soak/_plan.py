"""
The random program of one round: a tree of pieces of work, and how each of them is reached from the one above.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, List, Optional, Tuple

import clew
from tests.soak._ledger import Ledger

value: ContextVar[object] = ContextVar("value")

# What a piece of work is. Each makes one run, except for the last two.
KINDS = ("call", "block", "by hand", "generator", "returned generator", "context generator", "plain")
# How it is reached. The context must arrive by each of them.
SYNC_EDGES = (
    *("here", "pool", "map", "callback", "thread", "timer", "bound", "snapshot", "attached", "wrapped executor"),
    *("thread pool", "installed", "headers", "late", "detached", "tracing_context", "baggage", "not enabled"),
    *("live", "isolated", "asyncio", "trio"),
)
ASYNC_EDGES = (
    *("here", "task", "task in context", "task group", "anyio", "to_thread", "wrapped coroutine", "gather", "sync"),
    *("call_soon", "cancelled", "detached", "tracing_context"),
)


@dataclass(frozen=True)
class Work:
    """A piece of work."""

    kind: str
    sync_edge: str
    async_edge: str
    end: str  # "success", "error", or for a generator how it is left
    collects: bool
    children: Tuple[Work, ...]


def draw(random: Random, depth: int) -> Work:
    """Return a random piece of work with others in it."""
    children = tuple(draw(random, depth - 1) for _ in range(random.randrange(4))) if depth else ()
    return Work(
        kind=random.choice(KINDS),
        sync_edge=random.choice(SYNC_EDGES),
        async_edge=random.choice(ASYNC_EDGES),
        end=random.choices(("success", "error", "break", "drop", "close"), (6, 2, 1, 1, 1))[0],
        collects=random.random() < 0.02,
        children=children,
    )


@dataclass
class Late:
    """The jobs that run after the program which has started them."""

    may_run: threading.Event = field(default_factory=threading.Event)
    threads: List[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Here:
    """What must be true in the current context."""

    ledger: Ledger
    late: Late
    key: Optional[int] = None  # of the current run
    parent_id: Optional[str] = None  # of a current run in another process
    value: object = None  # of the program's own variable
    is_recorded: bool = True
    loop: str = ""

    def inside(self, **changes: Any) -> Here:
        """Return the same with changes."""
        return replace(self, **changes)

    def enter(self, status: str) -> Optional[int]:
        """Expect a run below the current one, if anything is recorded; return its key."""
        return self.ledger.enter(self.key, status, self.parent_id) if self.is_recorded else None

    def check(self, place: str) -> None:
        """Check the program's variable and the current run."""
        found = value.get(None)
        if found != self.value:
            self.ledger.fail(f"{place}: the variable is {found!r}, expected {self.value!r}")
        run = clew.get_current_run_tree()
        if not self.is_recorded or self.parent_id is not None:
            return
        # A run that has ended, or came by headers, has no inputs.
        key = None if run is None else (run.inputs or {}).get("key", self.key)
        if key != self.key or (run is None) != (self.key is None):
            self.ledger.fail(f"{place}: the current run is {run!r} with {key}, expected {self.key}")
