"""
The base of ``with`` blocks whose instances can be entered once.

A wrapped coroutine or generator that is used twice is refused in `clew.context`.
"""

from __future__ import annotations

from clew._shared.locks import RUNS_WITHOUT_GIL, set_once
from clew.errors import AlreadyEnteredError

__all__ = ("EnteredOnce", "already_entered")


class EnteredOnce:
    """
    A ``with`` block that keeps what it must undo at its exit, so that one instance cannot serve two blocks.

    A subclass calls `_enter_once` at the top of its `__enter__`. One that has an `__init__` sets `_is_entered` there,
    which costs less than to call this one.
    """

    __slots__ = ("_is_entered",)

    def __init__(self) -> None:
        self._is_entered = False

    def _enter_once(self, block: str) -> None:
        """
        Note the entry, or refuse a second one.

        Args:
            block: what opened the block, for the message, such as ``"tracing_context"``.
        """
        # With a GIL, no other thread comes between the two lines.
        if self._is_entered or (RUNS_WITHOUT_GIL and not set_once(self, "_is_entered")):
            raise already_entered(block)
        self._is_entered = True


def already_entered(block: str) -> AlreadyEnteredError:
    """
    Return the error for a second entry.
    """
    return AlreadyEnteredError(
        f"expected each {block} block to be entered once, found it entered before; write a new one for each block"
    )
