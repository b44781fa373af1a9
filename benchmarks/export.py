"""
Finished runs on their way out: what the traced thread pays, and how many arrive in a file or at an endpoint.

The peers' endpoints are in this process and throw everything away, so that no network is measured.
"""

from __future__ import annotations

import json
import os
import tempfile
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Tuple

import clew
from benchmarks._cases import BATCH, Case, Measure, Section, calls, echo
from clew.exporters.jsonl import JSONLinesExporter
from clew.exporters.langsmith import LangSmithExporter
from clew.exporters.pipeline import Pipeline

__all__ = ("SECTIONS",)

MOST_EXPORTED_US = 10.0  # 100,000 runs a second
MOST_ABOVE_US = 0.6  # of the start and the end of a run
WAIT = 60.0

traced = clew.traceable(echo)


class Forgetful:
    """
    Throw runs and spans away.
    """

    def export(self, _) -> Any:
        return None

    def shutdown(self, timeout: float = 0.0) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:  # noqa: ARG002  OpenTelemetry calls it so
        return True


def exported(make: Callable[[], Tuple[Callable[[int], object], Callable[[], object]]], *, wait: bool) -> Measure:
    """
    Return a measure of what `make` returns, a call and how to wait for all of it to be delivered.

    With `wait` that is part of what is timed; without, it is done when no clock is running.
    """

    def measure(loops: int) -> float:
        call, flush = make()
        call(1)
        flush()
        seconds = 0.0
        for _ in repeat(None, loops):
            start = perf_counter()
            for _ in repeat(None, BATCH):
                call(1)
            seconds += perf_counter() - start
            if not wait:
                flush()
        start = perf_counter()
        flush()
        return seconds + (perf_counter() - start if wait else 0.0)

    return measure


def clew_to(exporter: Callable[[], Any], **options: Any) -> Callable:
    def make() -> Tuple[Callable[[int], object], Callable[[], object]]:
        pipeline = Pipeline([exporter()], **{"max_queued": 1_000 * BATCH, **options})
        pipeline.open()

        def flush() -> None:
            assert pipeline.flush(WAIT), clew.stats()

        return traced, flush

    return make


def json_lines() -> JSONLinesExporter:
    # A name that goes away with the process: pyperf has one for each case.
    folder = tempfile.TemporaryDirectory()
    exporter = JSONLinesExporter(Path(folder.name, "runs.jsonl"))
    exporters.append(folder)
    return exporter


exporters: list = []


def written_with_json(loops: int) -> float:
    """
    Write the records of runs that are there already, as anybody would.
    """
    from clew.runs.stored import record_of

    with clew.record() as runs:
        traced(1)
    (run,) = runs.roots
    with open(os.devnull, "w", encoding="ascii") as file:
        return calls(lambda _: file.write(json.dumps(record_of(run)) + "\n"))(loops)


def opentelemetry() -> Tuple[Callable[[int], object], Callable[[], object]]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Forgetful(), max_queue_size=1_000 * BATCH))
    tracer = provider.get_tracer("benchmarks")

    def block(_: int) -> None:
        with tracer.start_as_current_span("block"):
            pass

    return block, provider.force_flush


def langsmith_client(**options: Any) -> Any:
    from langsmith import Client
    from requests import Response, Session
    from requests.adapters import BaseAdapter

    class Answering(BaseAdapter):
        def send(self, request, **_) -> Response:
            response = Response()
            response.status_code, response.request, response.url = 202, request, request.url
            return response

        def close(self) -> None:
            pass

    session = Session()
    session.mount("http://localhost:1/", Answering())  # the client has an adapter for all others
    return Client(api_url="http://localhost:1", api_key="none", session=session, info={}, **options)


def langsmith() -> Tuple[Callable[[int], object], Callable[[], object]]:
    from langsmith import traceable
    from langsmith.run_helpers import tracing_context

    client = langsmith_client()
    function = traceable(client=client)(echo)

    def call(value: int) -> None:
        with tracing_context(enabled=True):
            function(value)

    return call, client.flush if hasattr(client, "flush") else client.tracing_queue.join


SECTIONS = (
    Section(
        "on the traced thread",
        (
            Case("clew.traceable, recording", calls(traced, clew.record)),
            Case(
                "clew.traceable, with an exporter",
                # It does nothing until somebody asks for it.
                exported(clew_to(Forgetful, max_batch=2 * BATCH, delay=WAIT), wait=False),
                most_above_us=MOST_ABOVE_US,
            ),
            Case("opentelemetry, BatchSpanProcessor", exported(opentelemetry, wait=False), package="opentelemetry-sdk"),
            Case("langsmith.traceable", exported(langsmith, wait=False), package="langsmith"),
        ),
    ),
    Section(
        "from the call to the last run delivered",
        (
            Case("clew, thrown away", exported(clew_to(Forgetful), wait=True)),
            Case("clew, JSON lines", exported(clew_to(json_lines), wait=True), most_us=MOST_EXPORTED_US),
            Case("json.dumps alone", written_with_json),
            Case(
                "clew, LangSmith's client",
                exported(clew_to(lambda: LangSmithExporter(langsmith_client(auto_batch_tracing=False))), wait=True),
                package="langsmith",
                less_than="langsmith",
            ),
            Case("langsmith", exported(langsmith, wait=True), package="langsmith"),
            Case("opentelemetry, thrown away", exported(opentelemetry, wait=True), package="opentelemetry-sdk"),
        ),
    ),
)
