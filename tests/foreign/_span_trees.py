"""
The tracers of `_tracers.py`, with whose child each span is, and how each has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Set, Tuple, Union

import sentry_sdk

from tests.foreign._tracers import LangSmith, OpenTelemetry, Sentry

if TYPE_CHECKING:
    import pytest

Tree = Dict[str, Optional[str]]


class LangSmithSpans(LangSmith):
    """Open LangSmith's runs with `trace` and `traceable`."""

    reports_cancellation = True

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self._updates: List[Any] = []
        monkeypatch.setattr(self._client, "update_run", lambda run_id, **fields: self._updates.append((run_id, fields)))

    def span(self, name: str) -> Any:
        return self.block(name)

    def traced(self, name: str) -> Callable[[Any], Any]:
        from langsmith import traceable  # not at the top, as in `_tracers`

        decorator: Any = traceable(name=name, client=self._client)
        return decorator  # type: ignore[no-any-return]

    def tree(self) -> Tree:
        runs = {run["id"]: run for run in self._client.created}
        parents = {run["id"]: runs[run["parent_run_id"]] if run.get("parent_run_id") else None for run in runs.values()}
        for run_id, parent in parents.items():
            assert runs[run_id]["trace_id"] == (parent["trace_id"] if parent else run_id)
        return {runs[run_id]["name"]: parent and parent["name"] for run_id, parent in parents.items()}

    def ended(self) -> List[str]:
        return [self._name(run_id) for run_id, fields in self._updates if fields["end_time"] is not None]

    def failed(self) -> Set[str]:
        return {self._name(run_id) for run_id, fields in self._updates if fields["error"] is not None}

    def _name(self, run_id: Any) -> str:
        [name] = [run["name"] for run in self._client.created if run["id"] == run_id]
        return str(name)


class OpenTelemetrySpans(OpenTelemetry):
    """Open OpenTelemetry's spans with `start_as_current_span`."""

    reports_cancellation = False

    def span(self, name: str) -> Any:
        return self._tracer.start_as_current_span(name)

    def tree(self) -> Tree:
        spans = {span.context.span_id: span for span in self._exporter.get_finished_spans()}
        parents = {span_id: spans[span.parent.span_id] if span.parent else None for span_id, span in spans.items()}
        for span_id, parent in parents.items():
            assert parent is None or spans[span_id].context.trace_id == parent.context.trace_id
        roots = [span.context.trace_id for span_id, span in spans.items() if parents[span_id] is None]
        assert len(set(roots)) == len(roots)
        return {spans[span_id].name: parent and parent.name for span_id, parent in parents.items()}

    def ended(self) -> List[str]:
        return [span.name for span in self._exporter.get_finished_spans()]

    def failed(self) -> Set[str]:
        return {span.name for span in self._exporter.get_finished_spans() if not span.status.is_ok}


class SentrySpans(Sentry):
    """Open Sentry's spans, and transactions where there is none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self._opened: List[Tuple[str, Any]] = []

    def span(self, name: str) -> Any:
        is_outside = sentry_sdk.get_current_span() is None
        opened: Any = sentry_sdk.start_transaction(name=name) if is_outside else sentry_sdk.start_span(name=name)
        self._opened.append((name, opened))
        return opened

    def tree(self) -> Tree:
        spans = {opened.span_id: (name, opened) for name, opened in self._opened}
        found: Tree = {}
        for name, opened in self._opened:
            parent, parents = spans[opened.parent_span_id] if opened.parent_span_id else (None, opened)
            assert opened.trace_id == parents.trace_id
            found[name] = parent
        roots = [opened.trace_id for name, opened in self._opened if found[name] is None]
        assert len(set(roots)) == len(roots)
        return found


Spans = Union[LangSmithSpans, OpenTelemetrySpans, SentrySpans]
