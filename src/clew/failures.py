"""
What is kept of the exceptions of a run: whether they are failures, and their text, bounded.

Nothing is done to the exception, and nothing that one of its own methods raises gets out of here. What is kept of
values is in `clew.payloads`.
"""

from __future__ import annotations

import builtins
import sys
from types import TracebackType
from typing import Optional, Sequence

from clew.payloads import MAX_STRING_CHARS, cut

__all__ = ("describe_error", "status_of")

MAX_FRAMES = 50


def describe_error(error: BaseException, traceback: Optional[TracebackType]) -> str:
    """
    Return the exception as Python prints it, with its traceback and its causes, bounded.
    """
    try:
        from traceback import format_exception, walk_tb  # here, as a program that does not fail needs none

        # An error that passes through a thousand traced calls is told a thousand times.
        left_out = sum(1 for _ in walk_tb(traceback)) - MAX_FRAMES
        head = f"<cut: {left_out} outer frames>\n" if left_out > 0 else ""
        lines = format_exception(type(error), error, traceback, limit=-MAX_FRAMES)
        return cut(head + "".join(lines), MAX_STRING_CHARS)
    except Exception as failure:  # noqa: BLE001  an attribute or a __str__ of the user's exception
        return f"<{type(error).__name__} that cannot be formatted: {type(failure).__name__}>"


def status_of(error: BaseException) -> str:
    """
    Return "cancelled" for what stops a piece of work from outside, "error" for all else.
    """
    if isinstance(error, GeneratorExit):
        return "cancelled"
    # A loop that raised its own exception is loaded; one that is not need not be, to ask.
    for library, name in (("asyncio", "CancelledError"), ("trio", "Cancelled")):
        cancelled = getattr(sys.modules.get(library), name, None)
        if cancelled is not None and isinstance(error, cancelled):
            return "cancelled"
    # 3.11+ has groups of its own; on older releases a task group raises those of the backport.
    for home in (builtins, sys.modules.get("exceptiongroup")):
        group = getattr(home, "BaseExceptionGroup", None)
        if group is not None and isinstance(error, group):
            members: Sequence[BaseException] = getattr(error, "exceptions", ())
            return "cancelled" if all(status_of(one) == "cancelled" for one in members) else "error"
    return "error"
