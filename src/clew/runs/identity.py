"""
Who a run is: its ids, its place under its parent, and what its children inherit. No payload.

This is what the run tree keeps in the context, so it is small and outlives its run.
"""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, Optional, Tuple
from uuid import UUID

from clew._locks import ForkSafeLock

if TYPE_CHECKING:
    from clew.runs.run import RunTree

__all__ = ("Identity", "Inherited", "current_identity", "linked_identities", "now_ns")

now_ns: Callable[[], int] = time.time_ns
_LOW_64 = (1 << 64) - 1
_number_guard = ForkSafeLock()


class Inherited:
    """
    Hold what a run hands down to its children: project, tags, metadata. Never changed once made.
    """

    __slots__ = ("metadata", "project_name", "tags")

    metadata: Mapping[str, Any]
    project_name: Optional[str]
    tags: Tuple[str, ...]

    def __init__(self, project_name: Optional[str], tags: Tuple[str, ...], metadata: Mapping[str, Any]) -> None:
        self.project_name = project_name
        self.tags = tags
        self.metadata = metadata

    def overlaid(self, own: Inherited) -> Inherited:
        """
        Return what a child hands down that has `own` on top of what it inherits from this.
        """
        return Inherited(
            own.project_name or self.project_name,
            (*self.tags, *(tag for tag in own.tags if tag not in self.tags)),
            {**self.metadata, **own.metadata},
        )


class Identity:
    """
    Name one run: enough to nest under it, and to say which trace it belongs to.

    The context holds one of these. While the run is open, `live` leads to it; ending the run deletes
    that slot, so that a timer or task that captured the context keeps no payload in memory.
    """

    __slots__ = ("_number", "exited_to", "inherited", "linked", "live", "name", "parent", "start_time_ns")

    name: str
    parent: Optional[Identity]
    inherited: Optional[Inherited]
    start_time_ns: int
    # The others are filled only when and as long as there is something to fill in, which keeps the
    # start of a run cheap.
    _number: int  # the id, once somebody has asked for it
    live: RunTree  # while the run is open
    exited_to: Optional[Identity]  # once a `trace` block of this run was left out of order
    linked: Tuple[Identity, ...]  # for a root that was started in a `detached` block

    def number(self) -> int:
        """
        Return the UUIDv7 of the run as a number, made when it is first asked for.
        """
        try:
            return self._number
        except AttributeError:
            # Two threads may be the first to ask; both must get the same answer.
            with _number_guard.lock:
                if not hasattr(self, "_number"):
                    self._number = _new_number(self.start_time_ns)
                return self._number

    @property
    def id(self) -> UUID:
        """
        The run's UUIDv7.
        """
        return UUID(int=self.number())

    @property
    def trace_id(self) -> UUID:
        """
        The id of the trace, which is that of its root.
        """
        return UUID(int=self._lineage()[0].number())

    @property
    def span_id(self) -> str:
        """
        The low 64 bits of the id, as 16 hexadecimal digits.
        """
        return f"{self.number() & _LOW_64:016x}"

    @property
    def dotted_order(self) -> str:
        """
        LangSmith's place of the run, which is start time and id of each run from the root down, joined by dots.
        """
        return ".".join(map(_dotted_part, self._lineage()))

    def _lineage(self) -> List[Identity]:
        # A loop: a chain of jobs that each outlive their parent may be deeper than any stack.
        lineage: List[Identity] = [self]
        while lineage[-1].parent is not None:
            lineage.append(lineage[-1].parent)
        lineage.reverse()
        return lineage


# None at the top of a program, and wherever the context was lost.
current_identity: ContextVar[Optional[Identity]] = ContextVar("clew_current_run", default=None)
# What the next root is linked to. Nobody asks where there is a current run.
linked_identities: ContextVar[Tuple[Identity, ...]] = ContextVar("clew_links", default=())


def _new_number(time_ns: int) -> int:
    """
    Return a new UUIDv7 as a number.

    Source:
        RFC 9562, section 5.7, with the fraction of the millisecond in ``rand_a`` (section 6.2, method
        3), so that ids sort by start time; the 62 bits of ``rand_b`` are the system's randomness,
        which needs no re-seeding after a fork and no lock.
    """
    milliseconds, rest_ns = divmod(time_ns, 1_000_000)
    fraction = (rest_ns << 12) // 1_000_000
    random_62 = int.from_bytes(os.urandom(8), "big") >> 2
    return (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random_62


def _dotted_part(identity: Identity) -> str:
    seconds, rest_ns = divmod(identity.start_time_ns, 1_000_000_000)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    return f"{stamp}{rest_ns // 1000:06d}Z{identity.id}"
