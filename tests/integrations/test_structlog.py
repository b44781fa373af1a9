"""
The ids of runs in the events of the real structlog: plain, beside its own context, async, over `logging`.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Dict, List, Type

import pytest
import structlog

import clew
from clew.integrations.structlog import add_run_context
from tests.edges._threads import DEADLINE, in_empty_context, settle

HEADERS = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


class Log:
    """A structlog logger that keeps its events."""

    def __init__(self, *before: Any) -> None:
        self._captured = structlog.testing.LogCapture()
        self._processors = [*before, add_run_context, self._captured]
        self.logger = structlog.wrap_logger(None, processors=self._processors)
        self.filtering = structlog.wrap_logger(
            None, processors=self._processors, wrapper_class=structlog.make_filtering_bound_logger(logging.INFO)
        )

    def ids(self) -> List[Dict[str, str]]:
        return [
            {key: event[key] for key in ("trace_id", "span_id", "run_id") if key in event}
            for event in self._captured.entries
        ]


def ids_of(run: Any) -> Dict[str, str]:
    return {"trace_id": run.trace_id.hex, "span_id": run.span_id, "run_id": str(run.id)}


def test_an_event_has_the_ids_of_the_run_it_is_in() -> None:
    log = Log()
    with clew.record(), clew.trace("outer") as outer:
        log.logger.info("one")
        with clew.trace("inner") as inner:
            log.logger.info("two", user="ada")
            late = clew.bind(log.logger.info)
    late("three")
    assert log.ids() == [ids_of(outer), ids_of(inner), ids_of(inner)]


def test_what_there_is_none_of_is_left_out() -> None:
    log = Log()
    log.logger.info("no run")
    with clew.trace("nobody records this"):
        log.logger.info("no run either")
    with clew.tracing_context(parent=HEADERS):
        log.logger.info("before any run")
    assert log.ids() == [{}, {}, {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}]


def test_an_event_keeps_what_it_has() -> None:
    log = Log(structlog.contextvars.merge_contextvars)
    with clew.record(), clew.trace("step") as run:
        log.logger.info("at the call", trace_id="theirs")
        log.logger.bind(span_id="bound").info("bound")
        with structlog.contextvars.bound_contextvars(run_id="merged", user="ada"):
            log.logger.info("in the context")
    ours = ids_of(run)
    assert log.ids() == [{**ours, "trace_id": "theirs"}, {**ours, "span_id": "bound"}, {**ours, "run_id": "merged"}]


@pytest.mark.parametrize("kind", ["filtering", "stdlib"])
def test_the_async_methods_take_the_ids_to_their_thread(kind: str) -> None:
    log = Log(structlog.contextvars.merge_contextvars)
    runs: List[Any] = []
    logger = log.filtering
    if kind == "stdlib":
        logger = structlog.wrap_logger(
            logging.Logger("test"),  # noqa: LOG001  nobody else is to find it
            processors=log._processors,
            wrapper_class=structlog.stdlib.BoundLogger,
        )

    async def request() -> None:
        with clew.trace("request") as run:
            runs.append(run)
            for _ in range(2):
                await logger.ainfo("one")

    async def main() -> None:
        for _ in range(2):
            await asyncio.wait_for(asyncio.gather(request(), request()), DEADLINE)

    with clew.record():
        in_empty_context(asyncio.run, main())
    found = sorted(log.ids(), key=str)
    assert found == sorted([ids_of(run) for run in runs for _ in range(2)], key=str)


def logged_by(pool_class: Type[Executor], log: Log) -> Any:
    def request() -> Any:
        with pool_class(1) as pool:  # type: ignore[call-arg]
            settle(pool)  # the worker is somebody else's: where threads inherit, it inherits nothing of this
            with clew.trace("request") as run:
                pool.submit(log.logger.info, "in a job").result(DEADLINE)
        return run

    with clew.record():
        return in_empty_context(request)


def test_bare_pool_loses_the_ids() -> None:
    log = Log()
    logged_by(ThreadPoolExecutor, log)
    assert log.ids() == [{}]


def test_pool_keeps_the_ids() -> None:
    log = Log()
    run = logged_by(clew.ContextThreadPoolExecutor, log)
    assert log.ids() == [ids_of(run)]


def test_records_of_logging_that_structlog_formats_have_them_too() -> None:
    written: List[str] = []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler, log = Written(), logging.Logger("test")  # noqa: LOG001  nobody else is to find it
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[add_run_context],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.KeyValueRenderer(sort_keys=True),
            ],
        )
    )
    log.addHandler(handler)
    with clew.record(), clew.trace("step") as run:
        log.info("sold")
    assert written == [f"event='sold' run_id='{run.id}' span_id='{run.span_id}' trace_id='{run.trace_id.hex}'"]


def test_the_processor_needs_no_structlog() -> None:
    code = "import sys, clew.integrations.structlog as ours; print(ours.__name__, 'structlog' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=DEADLINE, check=True)
    assert ran.stdout.split() == ["clew.integrations.structlog", "False"]
