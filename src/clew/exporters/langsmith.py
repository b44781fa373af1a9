"""
Finished runs to LangSmith, through the client of its own package.

Headers in LangSmith's format are another matter: see `clew.propagation.langsmith`.
"""

from __future__ import annotations

import copy
import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence

from clew.errors import MissingExtraError
from clew.runs.recording import Run
from clew.runs.sampling import settings

if TYPE_CHECKING:
    from langsmith import Client

__all__ = ("LangSmithExporter",)

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_UUID_CHARS = 36
# What LangSmith's server knows; one run of another type would have it refuse all that come with it.
_RUN_TYPES = frozenset({"chain", "embedding", "llm", "parser", "prompt", "retriever", "tool"})


class LangSmithExporter:
    """
    Send finished runs to LangSmith, each once and whole, in batches.

    A run under a parent that W3C's headers name is a root there, as LangSmith's format has no place for that parent.
    What LangSmith has no field for is in the metadata: ``clew.status`` where a run was cancelled, ``clew.run_type``
    where it is none of LangSmith's, ``clew.service`` and ``clew.links``.

    Args:
        client: a ``langsmith.Client``; by default one that is made of LangSmith's own variables of the environment,
            ``LANGSMITH_API_KEY`` and ``LANGSMITH_ENDPOINT``. Its sampling and what it hides hold as ever.
        project_name: of the runs that have none; by default ``LANGSMITH_PROJECT``.

    Raises:
        MissingExtraError: the package `langsmith` is not installed.

    Source:
        LangSmith's run data format: a run's ``dotted_order`` ends with its ``id``, begins with its ``trace_id``, and
        has its ``parent_run_id`` before the last dot.
    """

    def __init__(self, client: Optional[Client] = None, project_name: Optional[str] = None) -> None:
        try:
            from langsmith import Client, utils  # late, as it takes long to load
        except ImportError as error:
            raise MissingExtraError("clew.exporters.langsmith", "langsmith") from error
        self._make_client = Client
        self._is_own = client is None
        self._pid = os.getpid()
        self._not_found = utils.LangSmithNotFoundError
        self._conflict = utils.LangSmithConflictError
        self._project_name = project_name
        self._default_project: Any = utils.get_tracer_project
        self._failures: Dict[str, Exception] = {}
        self._has_multipart = True
        self._use(Client(auto_batch_tracing=False) if client is None else client)

    def export(self, runs: Sequence[Run]) -> None:
        """
        Send the runs, in one request if they are not too large.
        """
        if self._pid != os.getpid():  # a connection of the parent's is no good in a forked child
            if self._is_own:
                self._use(self._make_client(auto_batch_tracing=False))
            else:
                self._client.session.close()
                self._pid = os.getpid()
        try:
            if self._has_multipart:
                self._send("multipart_ingest", runs)
                return
        except self._not_found:  # a server of one's own may be older
            self._has_multipart = False
        self._send("batch_ingest_runs", runs)

    def shutdown(self, timeout: float) -> None:  # noqa: ARG002  closing takes none
        """
        Close the connections, if the client is the exporter's own.
        """
        if self._is_own:
            self._client.session.close()

    def _use(self, client: Client) -> None:
        self._client: Any = _watched(client, self._failures, self._conflict)
        self._pid = os.getpid()

    def _send(self, method: str, runs: Sequence[Run]) -> None:
        self._failures.clear()
        # Made anew for each try, as the client changes what it is given.
        getattr(self._client, method)(create=[self._fields_of(run) for run in runs])
        for error in self._failures.values():
            raise error

    def _fields_of(self, run: Run) -> Dict[str, Any]:
        order = run.dotted_order
        above = order.rpartition(".")[0]
        metadata = dict(run.metadata)
        if run.run_type not in _RUN_TYPES:
            metadata["clew.run_type"] = run.run_type
        if run.status == "cancelled":
            metadata["clew.status"] = run.status
        if run.service is not None:
            metadata["clew.service"] = run.service
        if run.links:
            metadata["clew.links"] = [f"{link.trace_id.hex}-{link.span_id}" for link in run.links]
        return {
            "id": order[-_UUID_CHARS:],
            "trace_id": order.partition(".")[0][-_UUID_CHARS:],
            "parent_run_id": above[-_UUID_CHARS:] or None,
            "dotted_order": order,
            "name": run.name,
            "run_type": run.run_type if run.run_type in _RUN_TYPES else "chain",
            "start_time": _moment(run.start_time_ns),
            "end_time": None if run.end_time_ns is None else _moment(run.end_time_ns),
            # An early `break` is no error, though it has a traceback.
            "error": run.error if run.status == "error" else None,
            "inputs": dict(run.inputs),
            "outputs": None if run.outputs is None else dict(run.outputs),
            "tags": list(run.tags),
            "extra": {"metadata": metadata},
            "events": [_event(event) for event in run.events],
            # A trace is in one project there, that of its root.
            "session_name": _project_of_root(run) or self._project_name or self._default_project(),
        }


def _project_of_root(run: Run) -> Optional[str]:
    identity = run._identity
    while identity.parent is not None:
        identity = identity.parent
    inherited = identity.inherited
    return (None if inherited is None else inherited.project_name) or settings.project_name


def _moment(time_ns: int) -> datetime:
    # In whole microseconds, cut as those of the dotted order are.
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def _event(event: Mapping[str, Any]) -> Dict[str, Any]:
    fields = dict(event)
    time_ns = fields.pop("time_ns", None)
    return fields if type(time_ns) is not int else {**fields, "time": _moment(time_ns).isoformat()}


def _watched(client: Client, failures: Dict[str, Exception], conflict: type) -> Any:
    """
    Return a client that shares everything with `client` and notes what fails for good, which `client` but logs.
    """
    kind: Any = type(client)

    # What counts for each server is its last answer: newer clients turn from one endpoint to the other by themselves.
    def request_with_retries(self: Any, method: str, pathname: str, **options: Any) -> Any:
        try:
            response = kind.request_with_retries(self, method, pathname, **options)
        except Exception as error:
            # A run that is there already has been delivered by the last try, which was not answered.
            if method == "POST" and not isinstance(error, conflict):
                failures[pathname.rpartition("/")[0]] = error
            raise
        failures.pop(pathname.rpartition("/")[0], None)
        return response

    watched = copy.copy(client)
    watched.__class__ = type(kind.__name__, (kind,), {"__slots__": (), "request_with_retries": request_with_retries})
    return watched
