"""
The ids of the current run in each event of structlog's, by a processor.

It is a plain function, and structlog itself is not imported.
"""

from __future__ import annotations

from typing import Any, MutableMapping

from clew.integrations._correlation import current_ids

__all__ = ("add_run_context",)


def add_run_context(
    logger: Any,  # noqa: ARG001  what structlog calls a processor with
    method_name: str,  # noqa: ARG001  as above
    event_dict: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    """
    Add ``trace_id``, ``span_id`` and ``run_id`` of the current run to an event: a processor of structlog's.

    They are strings, written as in W3C's headers and, for ``run_id``, as a UUID. What there is none of is left out: all
    three where there is no run, and ``run_id`` under the headers of a request in which no run has begun. What an event
    has already, it keeps.

    Context:
        *When*: as the processor is called, in the context of whoever logs; structlog's methods for async code, such
        as ``ainfo``, take that along to their thread. Thread-safe.

    Example:
        >>> import clew, structlog
        >>> from clew.integrations.structlog import add_run_context
        >>> log = structlog.wrap_logger(
        ...     structlog.PrintLogger(), processors=[add_run_context, structlog.processors.KeyValueRenderer()]
        ... )
        >>> headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
        >>> with clew.tracing_context(parent=headers):
        ...     log.info("sold")
        event='sold' trace_id='4bf92f3577b34da6a3ce929d0e0e4736' span_id='00f067aa0ba902b7'
    """
    ids = current_ids()
    if ids is not None:
        trace_id, span_id, run_id = ids
        event_dict.setdefault("trace_id", trace_id)
        event_dict.setdefault("span_id", span_id)
        if run_id:
            event_dict.setdefault("run_id", run_id)
    return event_dict
