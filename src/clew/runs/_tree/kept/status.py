"""
The status of a run that an exception has ended: "cancelled" or "error".

The text of the exception is made in `clew.runs._tree.kept.errors`.
"""

from __future__ import annotations

import sys
from typing import Dict, Iterator, List, Tuple

__all__ = ("group_classes", "status_of")

MAX_MEMBERS = 10_000


def status_of(error: BaseException) -> str:
    """
    Return "cancelled" for an exception that stops work from outside, "error" for any other.

    An exception group is "cancelled" if all of its members are.
    """
    # In every library, cancellations derive from BaseException only, so that `except Exception` does not catch them.
    if isinstance(error, Exception):
        return "error"
    try:
        return "cancelled" if _is_cancellation(error) else "error"
    except Exception:  # noqa: BLE001  the program's own `__instancecheck__`, or property `exceptions`
        return "error"


def _is_cancellation(error: BaseException) -> bool:
    # A library that has raised its exception is loaded; no other needs to be.
    cancellations = (GeneratorExit, *_classes(("asyncio", "CancelledError"), ("trio", "Cancelled")))
    groups = group_classes()
    # No recursion: groups may be nested deeper than the stack. Through a property, a group may even contain itself.
    waiting: List[object] = [error]
    seen: Dict[int, object] = {}  # by id; the values keep the ids from being used again
    while waiting:
        one = waiting.pop()
        if isinstance(one, cancellations) or id(one) in seen:
            continue
        members = getattr(one, "exceptions", None) if isinstance(one, groups) else None
        if not isinstance(members, (list, tuple)) or not members or len(seen) == MAX_MEMBERS:
            return False
        seen[id(one)] = one
        waiting.extend(members)
    return True


def group_classes() -> Tuple[type, ...]:
    """
    Return the classes of exception groups.
    """
    # 3.11+ has one; on older releases, task groups raise those of the backport.
    return tuple(_classes(("builtins", "BaseExceptionGroup"), ("exceptiongroup", "BaseExceptionGroup")))


def _classes(*names: Tuple[str, str]) -> Iterator[type]:
    for library, name in names:
        found = getattr(sys.modules.get(library), name, None)
        if isinstance(found, type):  # not the mock of a stubbed library
            yield found
