"""
What is kept of the exceptions of a run: whether they are failures, and their text, bounded.

Nothing is done to the exception, and nothing that one of its own methods raises gets out of here. What is kept of
values is in `clew.payloads`.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Dict, Iterator, List, Optional, Tuple

from clew.payloads import MAX_STRING_CHARS, call_unrecorded, cut

__all__ = ("describe_error", "status_of")

MAX_FRAMES = 50
MAX_MEMBERS = 10_000


def describe_error(error: BaseException, traceback: Optional[TracebackType]) -> str:
    """
    Return the exception as Python prints it, with its traceback and its causes, bounded.
    """
    try:
        from traceback import format_exception, walk_tb  # here, as a program that does not fail needs none

        # An error that passes through a thousand traced calls is told a thousand times.
        left_out = sum(1 for _ in walk_tb(traceback)) - MAX_FRAMES
        head = f"<cut: {left_out} outer frames>\n" if left_out > 0 else ""
        lines = call_unrecorded(lambda: format_exception(type(error), error, traceback, limit=-MAX_FRAMES))
        return cut(head + "".join(lines), MAX_STRING_CHARS)
    except Exception as failure:  # noqa: BLE001  an attribute or a __str__ of the user's exception
        return f"<{type(error).__name__} that cannot be formatted: {type(failure).__name__}>"


def status_of(error: BaseException) -> str:
    """
    Return "cancelled" for what stops a piece of work from outside, "error" for all else.

    A group is cancelled if all that is in it is.
    """
    try:
        return "cancelled" if _is_cancellation(error) else "error"
    except Exception:  # noqa: BLE001  a class of somebody's that has a say in what is an instance of it, or of what a group is made
        return "error"


def _is_cancellation(error: BaseException) -> bool:
    # A loop that raised its own exception is loaded; one that is not need not be, to ask.
    cancellations = (GeneratorExit, *_classes(("asyncio", "CancelledError"), ("trio", "Cancelled")))
    # 3.11+ has groups of its own; on older releases a task group raises those of the backport.
    groups = tuple(_classes(("builtins", "BaseExceptionGroup"), ("exceptiongroup", "BaseExceptionGroup")))
    # Without recursion: groups may be nested deeper than the stack. One may also contain itself, by a property.
    waiting: List[object] = [error]
    seen: Dict[int, object] = {}  # which keeps them, as what a property has made may be gone, and its id be another's
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


def _classes(*names: Tuple[str, str]) -> Iterator[type]:
    for library, name in names:
        found = getattr(sys.modules.get(library), name, None)
        if isinstance(found, type):  # and not what a stub in a test has in its place
            yield found
