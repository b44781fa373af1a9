"""
Errors inside clew that must not reach the traced program: each kind is counted, and logged once.

Errors in the *use* of clew are raised instead; they are in `clew.errors`.
"""

from __future__ import annotations

from collections import Counter
from typing import Counter as CounterOf, Dict, Optional

from clew._shared.locks import ForkSafeLock

__all__ = ("report", "stats")

_counts: CounterOf[str] = Counter()
_logged: Dict[str, object] = {}
_guard = ForkSafeLock()


def report(kind: str, remedy: str, *, error: Optional[BaseException] = None) -> None:
    """
    Count one incident, and log the first one of its kind together with the remedy.

    The log goes to the logger ``clew`` and never through `warnings`, which ``-W error`` would turn
    into a failure of the traced program.

    Args:
        kind: a short plural noun with underscores, such as ``"payloads_dropped"``.
        remedy: what happened and what to do, as one sentence without a full stop.
        error: the exception behind it, if there is one.
    """
    # In C, so that a signal handler that counts the same kind cannot come in between. The lock is for other threads.
    _guard.run(_counts.update, (kind,))
    first = object()
    if _logged.setdefault(kind, first) is not first:
        return
    try:
        import logging  # here, as most programs never need it

        logging.getLogger("clew").warning(
            "%s (counted as %r in clew.stats(), logged once)", remedy, kind, exc_info=error
        )
    except Exception:  # noqa: BLE001, S110  a user's log handler may raise; the count stands
        pass


def stats() -> Dict[str, int]:
    """
    Return how often each kind of incident has happened in this process.

    Returns:
        A new dict from the kind to its count; kinds that never happened are left out.

    Example:
        >>> import clew
        >>> clew.stats().get("no_such_thing_ever_happens", 0)
        0
    """
    return _guard.run(dict, _counts)
