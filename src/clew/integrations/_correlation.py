"""
Find the ids that the log integrations add to each log line.

Adding them is up to the module for each logging library.
"""

from __future__ import annotations

from typing import Optional, Tuple

from clew._shared.incidents import report
from clew.runs._tree.blocks import current_identity
from clew.runs._tree.identity import Remote

__all__ = ("current_ids",)


def current_ids() -> Optional[Tuple[str, str, str]]:
    """
    Return the ids of the current trace, span and run as text; None if there is no current run.

    If the parent is in the headers of a request and no run has started yet, the id of the run is empty.
    """
    identity = current_identity.get()
    if identity is None:
        return None
    try:
        run_id = "" if isinstance(identity, Remote) else identity.id_text()
        return identity.trace_hex(), identity.span_id, run_id
    except Exception as error:  # noqa: BLE001  the log line is written without the ids
        report("log_lines_failed", "the ids of a run could not be added to a log line", error=error)
        return None
