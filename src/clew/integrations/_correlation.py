"""
The ids of the run in which a line of a log is written.

How they get into the line is each logging library's own.
"""

from __future__ import annotations

from typing import Optional, Tuple

from clew._shared.incidents import report
from clew.runs._tree.blocks import current_identity
from clew.runs._tree.identity import Remote

__all__ = ("current_ids",)


def current_ids() -> Optional[Tuple[str, str, str]]:
    """
    Return the ids of the current trace, span and run as they are written; None where there is none.

    Where the headers of a request are the parent and no run has begun yet, the run is an empty string.
    """
    identity = current_identity.get()
    if identity is None:
        return None
    try:
        run_id = "" if isinstance(identity, Remote) else identity.id_text()
        return identity.trace_hex(), identity.span_id, run_id
    except Exception as error:  # noqa: BLE001  the line is to be written all the same
        report("log_lines_failed", "the ids of a run could not be added to a line of the log", error=error)
        return None
