"""
Other people's tracers: the real ones, each with what it would send, and with no network.

What else people keep in the context is in `_carriers.py`.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

import pytest
import sentry_sdk
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.transport import Transport

ID = "r-17"


class LangSmith:
    """Trace with LangSmith, and keep what its client would send."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from langsmith import trace, utils

        # Not at the top: where there is no langsmith, that module skips.
        from tests.foreign.test_langsmith import KeepingClient

        monkeypatch.setenv("LANGSMITH_TRACING", "true")
        self._environment: Any = utils.get_env_var
        self._environment.cache_clear()
        self._trace: Any = trace
        self._client = KeepingClient()

    def request(self) -> Any:
        """Return the block in which the run that the steps are to nest under is current."""
        return self.block("request")

    @contextmanager
    def step(self) -> Iterator[None]:
        """Open a run, with another one in it, below whatever is current here."""
        with self.block("step"), self.block("inner"):
            yield

    def block(self, name: str) -> Any:
        return self._trace(name, client=self._client)

    def steps(self) -> List[bool]:
        """Return of each step, in order, whether it is a child of the request."""
        [request] = self._named("request")
        steps, inner = self._named("step"), self._named("inner")
        assert {run["parent_run_id"] for run in inner} == {run["id"] for run in steps}
        return [
            (run["parent_run_id"], run["trace_id"]) == (request["id"], request["trace_id"])
            and run["dotted_order"].startswith(request["dotted_order"] + ".")
            for run in steps
        ]

    def roots(self) -> List[bool]:
        """Return of each step, in order, whether it is the root of a trace of its own."""
        return [run["parent_run_id"] is None and run["trace_id"] == run["id"] for run in self._named("step")]

    def _named(self, name: str) -> List[Dict[str, Any]]:
        return [{"parent_run_id": None, **run} for run in self._client.created if run["name"] == name]

    def close(self) -> None:
        self._environment.cache_clear()


class OpenTelemetry:
    """Trace with OpenTelemetry's SDK and its in-memory exporter."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("test")

    def request(self) -> Any:
        return self._tracer.start_as_current_span("request")

    @contextmanager
    def step(self) -> Iterator[None]:
        with self._tracer.start_as_current_span("step"), self._tracer.start_as_current_span("inner"):
            yield

    def steps(self) -> List[bool]:
        [request] = self._named("request")
        steps, inner = self._named("step"), self._named("inner")
        assert {span.parent.span_id for span in inner} == {span.context.span_id for span in steps}
        return [span.parent is not None and span.parent.span_id == request.context.span_id for span in steps]

    def roots(self) -> List[bool]:
        request_ids = {span.context.trace_id for span in self._named("request")}
        return [span.parent is None and span.context.trace_id not in request_ids for span in self._named("step")]

    def _named(self, name: str) -> List[Any]:
        spans = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time)
        return [span for span in spans if span.name == name]

    def close(self) -> None:
        self._provider.shutdown()


class KeepingTransport(Transport):
    """Be Sentry's transport up to the point where it would send."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: List[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.kept += [item.payload.json for item in envelope.items]


class Sentry:
    """Trace with Sentry, which keeps its scopes in the context, and the current span in one of them."""

    # They patch the stdlib for good, and one of them sees to threads itself: see `_run_with_sentry.py`.
    has_integrations = False

    def __init__(self, monkeypatch: Optional[pytest.MonkeyPatch] = None) -> None:
        self._transport = KeepingTransport()
        sentry_sdk.init(
            "http://key@127.0.0.1:9/1",
            transport=self._transport,
            traces_sample_rate=1.0,
            default_integrations=self.has_integrations,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            enable_backpressure_handling=False,
        )

    @contextmanager
    def request(self) -> Iterator[None]:
        with sentry_sdk.isolation_scope() as scope, sentry_sdk.start_transaction(name="request"):
            scope.set_tag("request", ID)
            yield

    @contextmanager
    def step(self) -> Iterator[None]:
        with sentry_sdk.start_span(op="step"):
            sentry_sdk.capture_message("step")
            with sentry_sdk.start_span(op="inner"):
                yield

    def steps(self) -> List[bool]:
        [request] = [item for item in self._transport.kept if item.get("type") == "transaction"]
        trace = request["contexts"]["trace"]
        spans = {span["span_id"]: span for span in request["spans"]}
        for span in spans.values():
            if span["op"] == "inner":
                assert spans[span["parent_span_id"]]["op"] == "step"
        # The events, too: of a step outside of the transaction, nothing else is ever sent.
        return [
            event["contexts"]["trace"]["trace_id"] == trace["trace_id"]
            and event["contexts"]["trace"]["parent_span_id"] == trace["span_id"]
            and event["contexts"]["trace"]["span_id"] in spans
            and event["tags"] == {"request": ID}
            for event in self.events("step")
        ]

    def tags_of(self, message: str) -> Any:
        [event] = self.events(message)
        return event["tags"]

    def events(self, message: str) -> List[Any]:
        return [item for item in self._transport.kept if item.get("message") == message]

    def close(self) -> None:
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)


NEEDS_LANGSMITH = pytest.mark.skipif(
    sys.version_info >= (3, 15) or sys.implementation.name == "pypy",
    reason="needs langsmith, whose own needs have no release for 3.15 and PyPy yet",
)
TRACERS = [pytest.param(LangSmith, marks=NEEDS_LANGSMITH), OpenTelemetry]
