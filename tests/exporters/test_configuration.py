"""
`configure`, `flush`, `shutdown`, and the variables of the environment that do the same.
"""

from __future__ import annotations

import multiprocessing.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Sequence

import pytest

import clew
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.exporters.configuration import configure_from_environment
from clew.exporters.jsonl import read_runs
from clew.exporters.memory import MemoryExporter
from clew.runs._tree import hooks
from clew.runs._tree.hooks import is_enabled
from clew.runs._tree.settings import MAX_QUEUED_BYTES, settings
from tests.edges._threads import DEADLINE
from tests.exporters._exporters import Keeping, counted, exporting_to, make_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def as_it_was(settings_as_they_were: None) -> Iterator[None]:
    yield
    clew.shutdown(DEADLINE)


def test_project_and_service_of_an_ended_run_stay_as_they_were() -> None:
    with clew.record(), clew.trace("fetch") as run:
        pass
    clew.configure(project_name="later", service="later")
    assert (run.project_name, run.service) == (None, None)


def test_exporter_switches_recording_on_and_shutdown_off() -> None:
    exporter = MemoryExporter()
    make_run("before")
    clew.configure(exporter=exporter)
    make_run("during")
    assert clew.flush(DEADLINE)
    assert [run.name for run in exporter.runs] == ["during"]
    assert clew.shutdown(DEADLINE)
    make_run("after")
    assert clew.flush()
    assert clew.shutdown()
    assert [run.name for run in exporter.runs] == ["during"]


def test_memory_keeps_the_newest_runs_until_it_is_cleared() -> None:
    exporter = MemoryExporter(max_runs=2)
    clew.configure(exporter=exporter)
    for name in "abc":
        make_run(name)
    assert clew.flush(DEADLINE)
    assert [run.name for run in exporter.runs] == ["b", "c"]
    exporter.clear()
    assert exporter.runs == ()
    with pytest.raises(ArgumentValueError, match="expected a positive number of runs to keep, got 0"):
        MemoryExporter(max_runs=0)


def test_new_exporter_replaces_the_old_one_which_is_flushed_and_shut_down() -> None:
    old, new, both = Keeping(), Keeping(), Keeping()
    clew.configure(exporter=[old, both])
    make_run("first")
    clew.configure(exporter=(new, both))
    make_run("second")
    assert clew.shutdown(DEADLINE)
    assert (old.names, new.names, both.names) == (["first"], ["second"], ["first", "second"])
    assert [len(exporter.shutdowns) for exporter in (old, new, both)] == [1, 1, 1]


@pytest.mark.parametrize("is_started_late", [False, True])
def test_run_that_meets_an_exporter_that_was_replaced_goes_to_the_next_one(
    is_started_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporters = [Starts(), Starts()]
    run = clew.RunTree("late")
    if not is_started_late:
        with clew.record():
            run.post()
    clew.configure(exporter=exporters[0])
    read = hooks.start_hooks, hooks.end_hooks  # by a thread, which calls them later
    clew.configure(exporter=exporters[1])
    lost = clew.stats().get("runs_lost", 0)
    monkeypatch.setattr(hooks, "start_hooks", read[0])
    monkeypatch.setattr(hooks, "end_hooks", read[1])
    if is_started_late:
        run.post()
        clew.flush()
    run.end()
    monkeypatch.undo()
    assert clew.shutdown()
    assert [exporter.ended for exporter in exporters] == [[], ["late"]]
    assert [exporter.started for exporter in exporters] == [[], ["late"] * is_started_late]
    assert clew.stats().get("runs_lost", 0) == lost


class Starts:
    """An exporter that notes the names of the runs it gets."""

    def __init__(self) -> None:
        self.started: List[str] = []
        self.ended: List[str] = []

    def export_starts(self, runs: Sequence[clew.Run]) -> None:
        self.started += [run.name for run in runs]

    def export(self, runs: Sequence[clew.Run]) -> None:
        self.ended += [run.name for run in runs]

    def shutdown(self, timeout: float) -> None:
        """Do nothing."""


def test_repeated_configuration_adds_nothing_to_the_registries_of_multiprocessing() -> None:
    registry = multiprocessing.util._afterfork_registry
    counts = []
    for _ in range(3):
        clew.configure(exporter=MemoryExporter())
        counts.append(len(registry))
    clew.configure(exporter=None)
    assert counts[0] == counts[-1]


def test_none_takes_back_what_was_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLEW_EXPORT", "CLEW_SAMPLE", "CLEW_PROJECT", "CLEW_SERVICE", "CLEW_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    exporter = Keeping()
    clew.configure(exporter=exporter, project_name="p", service="s", sampler=0.5, enabled=False)
    clew.configure(project_name=None, sampler=None, enabled=None)
    assert (settings.project_name, settings.service, settings.sampler, is_enabled()) == (None, "s", None, True)
    make_run("first")
    clew.configure(service=None)
    assert settings.resource is None
    clew.configure(exporter=None)
    assert (exporter.names, len(exporter.shutdowns)) == (["first"], 1)
    make_run("second")
    assert clew.flush()
    assert exporter.names == ["first"]
    clew.configure(exporter=None)  # once more does nothing


def test_none_gives_back_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    monkeypatch.setenv("CLEW_PROJECT", "theirs")
    monkeypatch.setenv("CLEW_SAMPLE", "1.0")
    monkeypatch.setenv("CLEW_SERVICE", " ")
    monkeypatch.setenv("CLEW_ENABLED", "yes")
    monkeypatch.setenv("CLEW_EXPORT", f"jsonl:{file}")
    clew.configure(exporter="memory:", project_name="ours", service="ours", sampler=0.0, enabled=False)
    clew.configure(exporter=None, project_name=None, service=None, sampler=None, enabled=None)
    assert (settings.project_name, settings.service, settings.sampler, is_enabled()) == ("theirs", None, 1.0, True)
    make_run("run")
    assert clew.flush(DEADLINE)
    assert [run.name for run in read_runs(file).roots] == ["run"]


def test_variable_that_is_refused_is_counted_where_it_would_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_SAMPLE", "some")
    monkeypatch.setenv("CLEW_EXPORT", "nowhere:")
    before = clew.stats().get("environment_refused", 0)
    clew.configure(sampler=0.5)
    clew.configure(sampler=None, exporter=None)
    assert settings.sampler is None
    assert clew.stats()["environment_refused"] == before + 2


def test_what_is_not_named_stays_as_it_was() -> None:
    exporter = MemoryExporter()
    clew.configure(exporter=exporter, project_name="p", service="s", sampler=1.0)
    clew.configure(service="t")
    clew.configure()
    make_run("run")
    assert clew.flush(DEADLINE)
    (run,) = exporter.runs
    assert (run.project_name, run.service, settings.sampler) == ("p", "t", 1.0)


def test_run_is_filed_under_what_was_said_by_its_end_whenever_it_is_read() -> None:
    exporter = MemoryExporter()
    clew.configure(exporter=exporter)
    with clew.record() as runs:
        make_run("unfiled")
        clew.configure(project_name="one", service="first")
        make_run("early")
        with clew.trace("open") as still_open:
            clew.configure(project_name="two", service="second")
            assert (still_open.project_name, runs.find(name="open").service) == ("two", "second")
        with clew.tracing_context(project_name="own"):
            make_run("own")
    assert clew.flush(DEADLINE)
    clew.configure(project_name="three", service="third")
    expected = {"unfiled": (None, None), "early": ("one", "first"), "open": ("two", "second"), "own": ("own", "second")}
    for found in (exporter.runs, list(runs)):
        assert {run.name: (run.project_name, run.service) for run in found} == expected
    assert (still_open.project_name, still_open.service) == ("two", "second")


def test_enabled_false_switches_all_recording_off() -> None:
    exporter = MemoryExporter()
    clew.configure(exporter=exporter, enabled=False)
    with clew.record() as runs:
        make_run("off")
        clew.configure(enabled=True)
        make_run("on")
    assert clew.flush(DEADLINE)
    assert [run.name for run in exporter.runs] == [run.name for run in runs] == ["on"]


def test_exporter_as_text_is_made(tmp_path: Path) -> None:
    clew.configure(exporter=[f"jsonl:{tmp_path}/runs.jsonl", "memory:"])
    make_run("run")
    assert clew.shutdown(DEADLINE)
    assert len(read_runs(tmp_path / "runs.jsonl").roots) == 1


class Asynchronous(Keeping):
    async def export(self, runs: Any) -> None:  # type: ignore[override]  # what is to be refused
        pass


class Lazy(Keeping):
    def shutdown(self, timeout: float) -> Iterator[None]:  # type: ignore[override]  # as above
        yield


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"exporter": "sqlite:///runs.db"},
            ArgumentValueError,
            "'langsmith:' and 'memory:', got 'sqlite:",
        ),
        ({"exporter": "jsonl"}, ArgumentValueError, "got 'jsonl'"),
        ({"exporter": "jsonl:"}, ArgumentValueError, "the name of a file after 'jsonl:'"),
        ({"exporter": "jsonl:missing/runs.jsonl"}, ArgumentValueError, "make the folder first"),
        ({"exporter": "memory:x"}, ArgumentValueError, "expected nothing after 'memory:'"),
        ({"max_queued_bytes": 0}, ArgumentValueError, "max_queued_bytes to be positive, got 0; pass 1 or more"),
        ({"max_queued_bytes": -1}, ArgumentValueError, "max_queued_bytes to be positive, got -1"),
        ({"max_queued_bytes": 1.5}, ArgumentTypeError, "max_queued_bytes as a whole number, got 1.5"),
        ({"max_queued_bytes": True}, ArgumentTypeError, "max_queued_bytes as a whole number, got True"),
        ({"max_queued_bytes": "64 MB"}, ArgumentTypeError, "max_queued_bytes as a whole number, got '64 MB'"),
        ({"exporter": []}, ArgumentValueError, "expected at least one exporter"),
        ({"exporter": 3}, ArgumentTypeError, "expected an exporter, got 3"),
        ({"exporter": MemoryExporter}, ArgumentTypeError, "expected an exporter, got <class"),
        ({"exporter": Asynchronous()}, ArgumentTypeError, "whose export is a function, got a coroutine function"),
        ({"exporter": ["memory:", Lazy()]}, ArgumentTypeError, "whose shutdown is a function, got a generator"),
        ({"exporter": [Keeping(), None]}, ArgumentTypeError, "expected an exporter, got None"),
        ({"sampler": 2}, ArgumentValueError, "expected a ratio from 0 to 1"),
        ({"sampler": "0.1"}, ArgumentTypeError, "expected a sampler"),
        ({"project_name": 1}, ArgumentTypeError, "expected project_name as a string, got 1"),
        ({"service": b"x"}, ArgumentTypeError, "expected service as a string"),
        ({"enabled": "no"}, ArgumentTypeError, "expected enabled as True or False, got 'no'"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else getattr(value, "__name__", value),
)
def test_wrong_option_is_refused_and_changes_nothing(options: Dict[str, Any], error: Any, said: str) -> None:
    exporter = MemoryExporter()
    clew.configure(exporter=exporter, project_name="p")
    with pytest.raises(error, match=said):
        clew.configure(**{"project_name": "other", **options})
    make_run("run")
    assert clew.flush(DEADLINE)
    assert [run.project_name for run in exporter.runs] == ["p"]


@pytest.mark.parametrize("timeout", [None, "1", True])
def test_wrong_timeout_is_refused(timeout: Any) -> None:
    for call in (clew.flush, clew.shutdown):
        with pytest.raises(ArgumentTypeError, match="expected a timeout in seconds"):
            call(timeout)


def test_environment_says_the_same(tmp_path: Path) -> None:
    environ = {
        "CLEW_EXPORT": f" jsonl:{tmp_path}/runs.jsonl ",
        "CLEW_PROJECT": "p",
        "CLEW_SERVICE": "s",
        "CLEW_SAMPLE": "1",
        "CLEW_ENABLED": "Yes",
    }
    configure_from_environment(environ)
    make_run("run")
    assert clew.shutdown(DEADLINE)
    (run,) = read_runs(tmp_path / "runs.jsonl").roots
    assert (run.project_name, run.service, settings.sampler) == ("p", "s", 1.0)
    configure_from_environment({"CLEW_ENABLED": "0", "CLEW_EXPORT": ""})
    assert not is_enabled()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLEW_EXPORT", "nowhere:"),
        ("CLEW_EXPORT", "jsonl:missing/runs.jsonl"),
        ("CLEW_SAMPLE", "2"),
        ("CLEW_SAMPLE", "often"),
        ("CLEW_SAMPLE", "nan"),
        ("CLEW_ENABLED", "perhaps"),
        ("CLEW_MAX_QUEUED_BYTES", "0"),
        ("CLEW_MAX_QUEUED_BYTES", "64 MB"),
    ],
)
def test_bad_variable_is_counted_and_the_others_hold(name: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    environ = {name: value, "CLEW_PROJECT": "p"}
    assert counted("environment_refused", lambda: configure_from_environment(environ)) == 1
    assert settings.project_name == "p"


def python_with(variables: Dict[str, str], code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )


def test_bad_variable_is_logged_with_the_remedy() -> None:
    done = python_with({"CLEW_EXPORT": "nowhere:"}, "import clew; clew.configure()")
    assert "the environment variable CLEW_EXPORT was refused: expected an exporter as one of 'jsonl:" in done.stderr


def test_what_the_program_says_holds_over_the_environment(tmp_path: Path) -> None:
    variables = {"CLEW_EXPORT": f"jsonl:{tmp_path}/runs.jsonl", "CLEW_PROJECT": "theirs", "CLEW_SERVICE": "s"}
    python_with(variables, "import clew\nclew.configure(project_name='mine')\nwith clew.trace('run'):\n    pass")
    (run,) = read_runs(tmp_path / "runs.jsonl").roots
    assert (run.project_name, run.service) == ("mine", "s")


def test_program_that_is_only_traced_is_recorded_by_the_environment(tmp_path: Path) -> None:
    code = "from clew import traceable\ntraceable(len)('four')"
    assert python_with({"CLEW_EXPORT": f"jsonl:{tmp_path}/runs.jsonl", "CLEW_PROJECT": "p"}, code).stderr == ""
    (root,) = read_runs(tmp_path / "runs.jsonl").roots
    assert (root.name, root.project_name, root.outputs) == ("len", "p", {"output": 4})
    loaded = "import clew, sys; clew.traceable; print('clew.exporters.configuration' in sys.modules)"
    assert python_with({}, loaded).stdout == "False\n"


def test_bound_of_the_queue_applies_at_once_and_can_be_taken_back() -> None:
    configure_from_environment({"CLEW_MAX_QUEUED_BYTES": "1000"})
    assert settings.max_queued_bytes == 1000
    clew.configure(max_queued_bytes=2000)
    assert settings.max_queued_bytes == 2000
    clew.configure(max_queued_bytes=None)
    assert settings.max_queued_bytes == MAX_QUEUED_BYTES


def test_memory_is_bounded_in_bytes() -> None:
    exporter = MemoryExporter(max_bytes=500_000)
    with exporting_to(exporter) as pipeline:
        for number in range(50):
            with clew.trace(str(number), inputs={"text": ["x" * 50_000]}):
                pass
        assert pipeline.flush(DEADLINE)
    assert 8 <= len(exporter.runs) <= 10
    assert exporter.runs[-1].name == "49"
    for value in (0, -1):
        with pytest.raises(ArgumentValueError, match="expected max_bytes to be positive"):
            MemoryExporter(max_bytes=value)
