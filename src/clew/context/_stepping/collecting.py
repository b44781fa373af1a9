"""
How an object notices that the garbage collector is taking it away, and with it the body that it steps.

What is done differently then is not here, but where bodies are closed.
"""

from __future__ import annotations

import sys
from contextvars import copy_context
from typing import Any, ClassVar
from weakref import ref

__all__ = ("CALLBACK", "Collectable")

# 3.14+: the collector clears only the references that have a callback before it finalises anything. The callback of a
# reference that is garbage itself is not called. Any function will do.
CALLBACK: Any = id if sys.version_info >= (3, 14) else None


class Collectable:
    """
    Know whether the garbage collector has found it; a subclass sets `_reference` to ``ref(self, CALLBACK)``.

    Guarantees:
        What the garbage collector closes neither sets nor resets a variable in the context that is current then.
        A collection may begin at any allocation. Before CPython 3.12 that can be in the middle of a `ContextVar.set`
        in this very context: the mapping that it works on would be freed, and the interpreter would crash. So the
        body is closed in a copy of the context. The run tree's variables are set there as ever, and so are the body's
        own. The body cannot reset a token of its own there. No program can rely on that: which context a collection
        finds is chance, and a reset in any other one fails as well.

        What is closed by `close`, or because the last reference to it goes, is closed in the current context, as an
        undecorated generator is. The program does that itself, between two instructions, and never in the middle of
        a `ContextVar.set`. A body that is left by ``break`` can undo there what it has set. In a copy its ``reset``
        would fail, and its values, the current span of another tracer for one, would stay with the consumer.

    Assumes:
        The collector clears the weak references to all that it has found before it finalises any of it. So the
        reference is dead in every finaliser of that garbage, and in all that such a finaliser closes, such as this
        body if an undecorated generator around it is collected. Anywhere else it lives as long as the object does.
        (An object that a finaliser brings back to life counts as collected from then on.)
    """

    __slots__ = ("__weakref__", "_reference")

    _reference: ref[Any]

    def is_collected(self) -> bool:
        """
        Return whether the garbage collector has found this object.
        """
        return self._reference() is None

    # Found on the class, as a global name may be gone when the interpreter exits.
    _copy: ClassVar[Any] = copy_context  # a builtin function, which does not become a method
