"""
Sentry's scopes, kept in the context but changed in place: what a job shares, and how it has its own.

That a job belongs to its submitter's transaction is in `test_other_peoples_traces.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Iterator

import pytest
import sentry_sdk

import clew
from clew import ContextThreadPoolExecutor
from tests.edges._threads import DEADLINE, in_empty_context
from tests.foreign._tracers import Sentry
from tests.suites._suites import untraced_environment


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    sentry = Sentry()
    yield sentry
    sentry.close()


def test_bare_copy_of_a_context_shares_sentrys_scopes(sentry: Sentry) -> None:
    def scenario() -> None:
        with sentry.request():
            copy = copy_context()
            with sentry_sdk.start_span(op="here") as here:
                assert copy.run(sentry_sdk.get_current_span) is here
            copy.run(sentry_sdk.set_tag, "from", "the copy")
            sentry_sdk.capture_message("here")

    in_empty_context(scenario)
    assert sentry.tags_of("here") == {"request": "r-17", "from": "the copy"}


def test_job_that_forks_the_scopes_has_its_own(sentry: Sentry) -> None:
    is_inside, may_leave = threading.Event(), threading.Event()

    def job() -> None:
        with sentry_sdk.isolation_scope():
            sentry_sdk.set_tag("from", "the job")
            with sentry_sdk.start_span(op="job"):
                is_inside.set()
                assert may_leave.wait(DEADLINE)
                sentry_sdk.capture_message("there")

    def scenario() -> None:
        with sentry.request(), ContextThreadPoolExecutor(1) as pool:
            own = sentry_sdk.get_current_span()
            future = pool.submit(job)
            assert is_inside.wait(DEADLINE)
            assert sentry_sdk.get_current_span() is own
            sentry_sdk.capture_message("here")
            may_leave.set()
            future.result(DEADLINE)

    in_empty_context(scenario)
    assert sentry.tags_of("here") == {"request": "r-17"}
    assert sentry.tags_of("there") == {"request": "r-17", "from": "the job"}


@pytest.mark.parametrize("first", ["sentry", "clew"])
def test_jobs_at_once_are_whole_with_sentrys_integrations_too(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.foreign._run_with_sentry", first],
        cwd=str(Path(__file__).parents[2]),
        env=untraced_environment(),
        stdout=subprocess.PIPE,
        timeout=DEADLINE * 2,
        check=True,
    )
    found = json.loads(done.stdout)
    assert len(found) == 6
    assert found == dict.fromkeys(found, [True] * 4)


def test_late_job_belongs_to_the_span_that_was_current(sentry: Sentry) -> None:
    go = threading.Event()

    def job(_: object = None) -> None:
        assert go.wait(DEADLINE)
        with sentry_sdk.start_span(op="job"):
            sentry_sdk.capture_message("job")

    def scenario() -> object:
        with sentry.request(), ContextThreadPoolExecutor(3) as pool:
            with sentry_sdk.start_span(op="part") as part:
                part_id = part.span_id  # made at its first use, by whoever is first: two at once would make two
                jobs = [pool.submit(each) for each in (job, clew.bind(job), partial(clew.capture().run, job))]
                lazily = pool.map(job, [1, 2, 3], buffersize=1)
            go.set()
            for future in jobs:
                future.result(DEADLINE)
            list(lazily)
        return part_id

    part = in_empty_context(scenario)
    parents = [event["contexts"]["trace"]["parent_span_id"] for event in sentry.events("job")]
    assert parents == [part] * 6


def test_detached_block_begins_a_new_trace_and_keeps_the_tags(sentry: Sentry) -> None:
    def scenario() -> None:
        with sentry.request(), ContextThreadPoolExecutor(1) as pool:
            span = sentry_sdk.get_current_span()
            sentry_sdk.capture_message("before")
            with clew.detached():
                assert sentry_sdk.get_current_span() is None
                sentry_sdk.capture_message("inside")
                pool.submit(sentry_sdk.capture_message, "in a job").result(DEADLINE)
            assert sentry_sdk.get_current_span() is span
            sentry_sdk.capture_message("after")

    in_empty_context(scenario)
    before, inside, job, after = (sentry.events(text)[0] for text in ("before", "inside", "in a job", "after"))
    traces = [event["contexts"]["trace"]["trace_id"] for event in (before, inside, job, after)]
    assert traces[0] == traces[3] != traces[1] == traces[2]
    assert before["tags"] == inside["tags"] == job["tags"] == after["tags"] != {}


def test_snapshot_without_a_span_takes_the_span_away(sentry: Sentry) -> None:
    def scenario() -> None:
        snapshot = in_empty_context(clew.capture)
        with sentry.request():
            span = sentry_sdk.get_current_span()
            with snapshot.attached():
                assert sentry_sdk.get_current_span() is None
            assert sentry_sdk.get_current_span() is span is not None

    in_empty_context(scenario)
