"""
An exporter that sends finished runs to LangSmith, with the client of LangSmith's own package.

Headers in LangSmith's format are in `clew.propagation.langsmith`.
"""

from __future__ import annotations

import copy
import os
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set

from clew.errors import MissingExtraError, RunsRefusedError
from clew.runs._tree.serialising import encode_json
from clew.runs.finished import Run

if TYPE_CHECKING:
    from langsmith import Client
else:
    Client = Any  # for hints: the package is loaded where a client is made


__all__ = ("LangSmithExporter",)

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_UUID_CHARS = 36
# The types that LangSmith's server knows. It refuses a whole request if one run in it has another type.
_RUN_TYPES = frozenset({"chain", "embedding", "llm", "parser", "prompt", "retriever", "tool"})
# A server takes 20 MiB in one request. Each run takes its JSON and the headers of its parts.
_MOST_BYTES = 20_000_000
_PART_HEADERS_BYTES = 2_000
# The HTTP status of a request that the server will never take: it is not valid, or too large.
_FINAL = frozenset({400, 413, 422})
# If the first runs, this many, are all refused, the server is taken to be broken, and the batch comes again.
_MOST_REFUSED = 8


class LangSmithExporter:
    """
    Sends finished runs to LangSmith in batches, each run once and whole.

    A run whose parent comes from W3C's headers is a root at LangSmith, as LangSmith's format has no place for such a
    parent. The metadata has what LangSmith has no field for: ``clew.status`` for a cancelled run, ``clew.run_type``
    for a type that LangSmith does not know, ``clew.service`` and ``clew.links``. The client adds variables of the
    environment and the state of the git repository to its own runs; this exporter does not.

    Args:
        client: a ``langsmith.Client``; by default a new one, with the environment's ``LANGSMITH_API_KEY`` and
            ``LANGSMITH_ENDPOINT``. The client's own sampling and hiding apply.
        project_name: the project of runs that have none; by default ``LANGSMITH_PROJECT``.

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
        # For a batch that will come again: the ids of runs that need not be sent again, and the errors of those among
        # them that the server refused.
        self._settled: Set[str] = set()
        self._refusals: List[Exception] = []
        self._use(Client(auto_batch_tracing=False) if client is None else client)

    def export(self, runs: Sequence[Run]) -> None:
        """
        Send the runs in one request, or in several if they are too large. Halve a request that the server refuses.
        """
        self._renew_after_fork()
        waiting = [run for run in runs if run._identity.id_text() not in self._settled]
        if len(waiting) == len(runs):
            self._forget()
        for part in self._parts_of(waiting):
            self._send_or_halve(part)
        refusals = self._refusals
        self._forget()
        if refusals:
            raise RunsRefusedError(
                f"expected runs that LangSmith takes, found one refused: {refusals[0]!r}", len(refusals)
            ) from refusals[0]

    def _renew_after_fork(self) -> None:
        if self._pid != os.getpid():  # a forked child must not use its parent's connections
            if self._is_own:
                self._use(self._make_client(auto_batch_tracing=False))
            else:
                self._client.session.close()
                self._pid = os.getpid()

    def shutdown(self, timeout: float) -> None:  # noqa: ARG002  closing takes none
        """
        Close the connections, if the client is the exporter's own.
        """
        if self._is_own:
            self._client.session.close()

    def _use(self, client: Client) -> None:
        self._client: Any = _watched(client, self._failures, self._conflict)
        self._pid = os.getpid()

    def _forget(self) -> None:
        self._settled = set()
        self._refusals = []

    def _settle(self, runs: Sequence[Run], refusal: Optional[Exception] = None) -> None:
        self._settled.update([run._identity.id_text() for run in runs])
        if refusal is not None:
            self._refusals.append(refusal)

    def _parts_of(self, runs: Sequence[Run]) -> Iterator[List[Run]]:
        """
        Yield the runs in parts that fit into one request; refuse runs that cannot be written as JSON.
        """
        part: List[Run] = []
        part_bytes = 0
        for run in runs:
            try:
                # As pure ASCII, which is at least as long as what the client sends.
                run_bytes = len(encode_json(self._fields_of(run))) + _PART_HEADERS_BYTES
            except Exception as error:  # noqa: BLE001  one bad run must not lose the others
                self._settle([run], error)
                continue
            if part and part_bytes + run_bytes > _MOST_BYTES:
                yield part
                part, part_bytes = [], 0
            part.append(run)
            part_bytes += run_bytes
        if part:
            yield part

    def _send_or_halve(self, part: List[Run]) -> None:
        waiting = [part]
        while waiting:
            runs = waiting.pop()
            try:
                self._send(runs)
            except _RefusalError as refusal:
                # If the server has taken no run at all, the runs are not the reason: try all of them again later.
                if len(self._refusals) >= _MOST_REFUSED and len(self._refusals) == len(self._settled):
                    raise refusal.error from None
                if len(runs) > 1:
                    middle = len(runs) // 2
                    waiting += [runs[middle:], runs[:middle]]
                else:
                    self._settle(runs, refusal.error)
            else:
                self._settle(runs)

    def _send(self, runs: Sequence[Run]) -> None:
        if self._has_multipart:
            try:
                self._call("multipart_ingest", runs)
                return
            except self._not_found:  # an older, self-hosted server
                self._has_multipart = False
        self._call("batch_ingest_runs", runs)

    def _call(self, method: str, runs: Sequence[Run]) -> None:
        self._failures.clear()
        # Made again for each try, as the client changes the dicts that it gets.
        create = [self._fields_of(run) for run in runs]
        try:
            getattr(self._client, method)(create=create)
        except Exception as error:
            if not self._failures:  # the client failed before sending, in a user's `hide_inputs` for example
                raise _RefusalError(error) from error
        failures = list(self._failures.values())
        for failure in failures:
            if not _is_final(failure):
                raise failure
        if failures:
            raise _RefusalError(failures[0]) from failures[0]

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
            # A cancelled run, by an early `break` for example, is no error although it has a traceback.
            "error": run.error if run.status == "error" else None,
            "inputs": dict(run.inputs),
            "outputs": None if run.outputs is None else dict(run.outputs),
            "tags": list(run.tags),
            "extra": {"metadata": metadata},
            "events": [_event(event) for event in run.events],
            # At LangSmith a trace is in one project, that of its root.
            "session_name": _project_of_root(run) or self._project_name or self._default_project(),
        }


class _RefusalError(Exception):
    """
    The server has refused a request for good; sending it again is useless.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _is_final(failure: Exception) -> bool:
    # The client's own errors have no status; one of the errors that caused them has.
    error: Optional[BaseException] = failure
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return status in _FINAL
        error = error.__cause__ or error.__context__
    return False


def _project_of_root(run: Run) -> Optional[str]:
    identity = run._identity
    while identity.parent is not None:
        identity = identity.parent
    inherited = identity.inherited
    resource = run._resource
    return (None if inherited is None else inherited.project_name) or (
        None if resource is None else resource.project_name
    )


def _moment(time_ns: int) -> datetime:
    # In whole microseconds, rounded down as in the dotted order.
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def _event(event: Mapping[str, Any]) -> Dict[str, Any]:
    fields = dict(event)
    time_ns = fields.pop("time_ns", None)
    if type(time_ns) is int:
        with suppress(OverflowError):  # the program may have set any number
            fields["time"] = _moment(time_ns).isoformat()
    return fields


def _watched(client: Client, failures: Dict[str, Exception], conflict: type) -> Any:
    """
    Return a copy of `client` that shares everything with it and also stores errors that `client` would only log.

    Unlike `client`, the copy adds no variables of the environment and no state of the git repository to runs.

    Args:
        client: the client to copy.
        failures: where to store errors, by the path of the request.
        conflict: the client's error for a run that is at the server already.
    """
    kind: Any = type(client)

    # Newer clients change from the multipart endpoint to the batch endpoint by themselves, after several tries.
    def request_with_retries(self: Any, method: str, pathname: str, **options: Any) -> Any:
        failures.pop(f"{pathname.rpartition('/')[0]}/multipart", None)
        try:
            return kind.request_with_retries(self, method, pathname, **options)
        except Exception as error:
            # After a conflict the run is at the server: an earlier try delivered it, and only its answer was lost.
            if method == "POST" and not isinstance(error, conflict):
                failures[pathname] = error
            raise

    changed = {
        "__slots__": (),
        "_insert_runtime_env": lambda *_, **__: None,
        "request_with_retries": request_with_retries,
    }
    watched = copy.copy(client)
    watched.__class__ = type(kind.__name__, (kind,), changed)
    return watched
