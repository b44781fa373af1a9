"""
What becomes of the runs at the end of a process, and in the children of one: forked, spawned, and multiprocessing's.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

import clew
from clew.exporters.jsonl import read_runs
from tests.edges._threads import DEADLINE
from tests.exporters._exporters import run_python

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

BEGIN = """
import os, sys, threading, time
import clew
def make_run(name):
    with clew.trace(name):
        pass
class Hanging:
    is_in = threading.Event()
    def export(self, runs):
        self.is_in.set()
        threading.Event().wait()
    def shutdown(self, timeout):
        pass
"""


def names_in(path: Path) -> list[str]:
    roots, _, broken_lines = read_runs(path)
    assert broken_lines == 0
    return sorted(run.name for run in roots)


def test_exit_delivers_what_is_left(tmp_path: Path) -> None:
    done = run_python(
        BEGIN + "clew.configure(exporter='jsonl:' + sys.argv[1])\nmake_run('main')\n"
        "t = threading.Thread(target=lambda: (threading.main_thread().join(), make_run('late')))\nt.start()",
        str(tmp_path / "runs.jsonl"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(tmp_path / "runs.jsonl") == ["late", "main"]


def test_exit_after_an_error_delivers_the_error(tmp_path: Path) -> None:
    done = run_python(
        BEGIN + "clew.configure(exporter='jsonl:' + sys.argv[1])\nwith clew.trace('main'):\n    sys.exit(3)",
        str(tmp_path / "runs.jsonl"),
    )
    assert (done.returncode, done.stderr) == (3, "")
    (run,) = read_runs(tmp_path / "runs.jsonl").roots
    assert run.status == "error"


def test_exit_does_not_wait_for_an_exporter_that_hangs() -> None:
    done = run_python(
        BEGIN + "import clew.configuration\nclew.configuration.EXIT_TIMEOUT = 0.05\n"
        "clew.configure(exporter=Hanging())\nmake_run('main')\nassert Hanging.is_in.wait(30)\nprint('end')"
    )
    assert (done.returncode, done.stdout) == (0, "end\n")
    assert "'runs_lost' in clew.stats()" in done.stderr
    assert "Traceback" not in done.stderr


def test_exit_with_nothing_to_deliver_says_nothing(tmp_path: Path) -> None:
    done = run_python(BEGIN + "clew.configure(exporter='jsonl:' + sys.argv[1])", str(tmp_path / "runs.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "runs.jsonl").exists()


def test_run_that_ends_when_no_thread_can_be_started_does_no_harm(tmp_path: Path) -> None:
    done = run_python(
        BEGIN + "import atexit\nclew.configure(exporter='jsonl:' + sys.argv[1])\natexit.register(make_run, 'at exit')",
        str(tmp_path / "runs.jsonl"),
    )
    assert done.returncode == 0
    # Some releases start no thread at that time.
    assert (tmp_path / "runs.jsonl").exists() != ("runs_lost" in done.stderr)


def test_interrupted_program_delivers_what_it_had(tmp_path: Path) -> None:
    done = run_python(
        BEGIN + "clew.configure(exporter='jsonl:' + sys.argv[1])\nmake_run('main')\nraise KeyboardInterrupt",
        str(tmp_path / "runs.jsonl"),
    )
    assert done.returncode != 0
    assert names_in(tmp_path / "runs.jsonl") == ["main"]


@needs_fork
def test_forked_child_exports_its_own_runs_and_none_of_the_parents(tmp_path: Path) -> None:
    done = run_python(
        BEGIN + "clew.configure(exporter='jsonl:' + sys.argv[1])\nimport warnings\nwarnings.simplefilter('ignore')\n"
        "make_run('parent')\n"
        "if not os.fork():\n    make_run('child')\n    sys.exit(0 if clew.flush(30) else 1)\n"
        "sys.exit(os.wait()[1])",
        str(tmp_path / "runs.jsonl"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(tmp_path / "runs.jsonl") == ["child", "parent"]


@needs_fork
def test_fork_while_the_queue_is_full_and_the_exporter_hangs_gives_the_child_an_empty_one() -> None:
    done = run_python(
        BEGIN + "from clew.exporters.pipeline import Pipeline\nimport warnings\nwarnings.simplefilter('ignore')\n"
        "class Once(Hanging):\n"
        "    kept = []\n"
        "    def export(self, runs):\n"
        "        if not self.is_in.is_set():\n"
        "            super().export(runs)\n"
        "        self.kept += [run.name for run in runs]\n"
        "pipeline = Pipeline([Once()], max_queued=2, delay=0.0)\npipeline.open()\n"
        "make_run('in flight')\nassert Once.is_in.wait(30)\n"
        "for _ in range(3):\n    make_run('queued')\nassert clew.stats() == {'runs_dropped': 1}, clew.stats()\n"
        "if not os.fork():\n"
        "    ok = pipeline.flush(30)\n    make_run('child')\n    ok = ok and pipeline.flush(30)\n"
        "    os._exit(0 if ok and Once.kept == ['child'] else 1)\n"
        "status = os.wait()[1]\nassert not pipeline.flush(0.05)\nos._exit(status >> 8)"
    )
    assert done.returncode == 0, done.stderr


def work(name: str) -> None:
    with clew.trace(name):
        pass


def work_with(path: str, name: str) -> None:
    clew.configure(exporter=f"jsonl:{path}")
    work(name)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_worker_of_multiprocessing_delivers_at_its_end(tmp_path: Path, method: str) -> None:
    path = tmp_path / "runs.jsonl"
    process = multiprocessing.get_context(method).Process(target=work_with, args=(str(path), method))
    process.start()
    process.join(DEADLINE)
    assert process.exitcode == 0
    assert names_in(path) == [method]


@needs_fork
@pytest.mark.parametrize("imported", ["before", "after"])
def test_forked_worker_delivers_at_its_end_what_its_parent_had_configured(tmp_path: Path, imported: str) -> None:
    lines = ["import multiprocessing", "clew.configure(exporter='jsonl:' + sys.argv[1])"]
    done = run_python(
        BEGIN + "\n".join(lines if imported == "before" else lines[::-1]) + "\nmake_run('parent')\n"
        "import warnings\nwarnings.simplefilter('ignore')\n"
        "process = multiprocessing.get_context('fork').Process(target=make_run, args=('child',))\n"
        "process.start()\nprocess.join(30)\nsys.exit(process.exitcode)",
        str(tmp_path / "runs.jsonl"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(tmp_path / "runs.jsonl") == ["child", "parent"]
