"""
What becomes of the runs at the end of a process, and in the children of one: forked, spawned, and multiprocessing's.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

import pytest

import clew
from clew.exporters.jsonl import read_runs
from clew.runs._tree.drawing import check_tree
from tests.edges._threads import DEADLINE
from tests.exporters._exporters import run_python

if TYPE_CHECKING:
    from pathlib import Path

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
        BEGIN + "import clew.exporters.configuration\nclew.exporters.configuration.EXIT_TIMEOUT = 0.05\n"
        "clew.configure(exporter=Hanging())\nmake_run('main')\nassert Hanging.is_in.wait(30)\nprint('end')"
    )
    assert (done.returncode, done.stdout) == (0, "end\n")
    assert "'runs_lost' in clew.stats()" in done.stderr
    assert "Traceback" not in done.stderr


def test_exit_with_nothing_to_deliver_says_nothing(tmp_path: Path) -> None:
    done = run_python(BEGIN + "clew.configure(exporter='jsonl:' + sys.argv[1])", str(tmp_path / "runs.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "runs.jsonl").exists()


def test_exit_shuts_an_exporter_down_that_has_got_nothing() -> None:
    done = run_python(
        BEGIN + "class Quiet(Hanging):\n    def shutdown(self, timeout):\n"
        "        make_run('not recorded')\n        print(0 <= timeout <= 5)\nclew.configure(exporter=Quiet())"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


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


QUIET = "import warnings\nwarnings.simplefilter('ignore')\n"
FORKED_IN_A_THREAD = (
    QUIET
    + """
clew.configure(exporter='jsonl:' + sys.argv[1])
def fork():
    pid = os.fork()
    if not pid:
        for name in ('child', 'of the child'):
            make_run(name)
        sys.exit()
    statuses.append(os.waitpid(pid, 0)[1])
statuses = []
make_run('parent')
thread = threading.Thread(target=fork)
thread.start()
thread.join()
assert statuses == [0]
"""
)


ends_with_its_thread = pytest.mark.skipif(
    sys.version_info >= (3, 14),
    reason="needs 3.13 or older: since 3.14, such a child hangs where there are other threads, without clew as well",
)


@needs_fork
@ends_with_its_thread
def test_child_that_was_forked_in_a_thread_delivers_and_ends_with_it(tmp_path: Path) -> None:
    done = run_python(BEGIN + FORKED_IN_A_THREAD, str(tmp_path / "runs.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(tmp_path / "runs.jsonl") == ["child", "of the child", "parent"]


@needs_fork
@ends_with_its_thread
def test_child_that_was_forked_in_a_thread_has_the_runs_of_its_other_threads(tmp_path: Path) -> None:
    done = run_python(
        BEGIN + FORKED_IN_A_THREAD.replace("        sys.exit()", AFTER_ITS_END), str(tmp_path / "runs.jsonl")
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(tmp_path / "runs.jsonl") == ["after its end", "child", "of the child", "parent"]


AFTER_ITS_END = """
        def outlive(main, exporting):
            main.join()
            exporting.join()  # so that there has to be another one
            make_run('after its end')
        exporting, = [thread for thread in threading.enumerate() if thread.name == 'clew-exporter']
        threading.Thread(target=outlive, args=(threading.current_thread(), exporting)).start()
        sys.exit()
"""

NESTING = (
    QUIET
    + """
clew.configure(exporter='jsonl:' + sys.argv[1])
def fork():
    pid = os.fork()
    if not pid:
        with clew.trace('in child'):
            pass
        sys.exit(3)
    assert os.waitpid(pid, 0)[1] == 3 << 8
@clew.traceable
def stream():
    yield 1
    fork()
    yield 2
"""
)


WORKER = """
import multiprocessing
with clew.trace('outer'):
    worker = multiprocessing.get_context('fork').Process(target=make_run, args=('in child',))
    worker.start()
    worker.join(30)
"""
UNDER_HEADERS = """
with clew.tracing_context(parent={'traceparent': f'00-{1:032x}-{1:016x}-01'}), clew.trace('outer'):
    fork()
"""


@needs_fork
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("with clew.trace('outer'):\n    with clew.trace('inner'):\n        fork()", "outer\n  inner\n    in child"),
        ("with clew.trace('outer'):\n    list(stream())", "outer\n  stream\n    in child"),
        ("clew.traceable(fork)()", "fork\n  in child"),
        (WORKER, "outer\n  in child"),
        (UNDER_HEADERS, "outer\n  in child"),
    ],
    ids=["block", "generator", "call", "multiprocessing", "under headers"],
)
def test_run_that_is_open_at_a_fork_is_the_parents_and_what_the_child_does_is_under_it(
    tmp_path: Path, code: str, expected: str
) -> None:
    done = run_python(BEGIN + NESTING + code, str(tmp_path / "runs.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    roots, _, _ = read_runs(tmp_path / "runs.jsonl")
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == len(expected.splitlines())
    check_tree(roots, expected)  # type: ignore[arg-type]  # stored runs will do


@needs_fork
def test_forked_child_knows_the_run_that_it_is_in_and_cannot_change_it(tmp_path: Path) -> None:
    done = run_python(
        BEGIN + NESTING + "with clew.trace('outer') as outer:\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        current = clew.get_current_run_tree()\n"
        "        assert (current.id, current.to_headers()) == (outer.id, outer.to_headers())\n"
        "        assert current.to_headers()['traceparent'].endswith('-03')\n"
        "        outer.add_tags('of the child')\n"
        "        for run in (current, outer):\n"
        "            child = run.create_child('by hand')\n            child.post()\n            child.end()\n"
        "        sys.exit(0)\n"
        "    assert os.waitpid(pid, 0)[1] == 0",
        str(tmp_path / "runs.jsonl"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    (outer,) = read_runs(tmp_path / "runs.jsonl").roots
    assert (outer.status, outer.tags, [run.name for run in outer.children]) == ("success", (), ["by hand", "by hand"])


@needs_fork
def test_link_to_a_run_that_is_open_at_a_fork_names_it(tmp_path: Path) -> None:
    done = run_python(
        BEGIN + NESTING + "with clew.trace('outer'):\n    with clew.detached():\n        fork()",
        str(tmp_path / "runs.jsonl"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    runs = {run.name: run for run in read_runs(tmp_path / "runs.jsonl").roots}
    assert [link.span_id for link in runs["in child"].links] == [runs["outer"].span_id]


@needs_fork
def test_recording_goes_on_in_a_forked_child() -> None:
    done = run_python(
        BEGIN + QUIET + "with clew.record() as runs, clew.trace('outer'):\n"
        "    pid = os.fork()\n    make_run('child' if not pid else 'parent')\n    seen = runs.tree()\n"
        "    if not pid:\n        os._exit(0 if seen == 'outer [pending]\\n└── child' else 1)\n"
        "    assert os.waitpid(pid, 0)[1] == 0\n"
        "assert runs.tree() == 'outer\\n└── parent'"
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_fork
def test_fork_goes_ahead_whatever_is_current() -> None:
    done = run_python(
        BEGIN + QUIET + "from clew.testing.fakes import FakeClock\n"
        "with clew.record(), FakeClock(start_ns=10**40), clew.trace('outer'):\n"
        "    pid = os.fork()\n    if not pid:\n        os._exit(0)\n    assert os.waitpid(pid, 0)[1] == 0\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def work(name: str) -> None:
    with clew.trace(name):
        pass


def work_with(path: str, name: str) -> None:
    clew.configure(exporter=f"jsonl:{path}")
    work(name)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # 3.12+: if another test has left a thread
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


FORKING = (
    QUIET
    + """
class Forking:
    pids = []
    def export(self, runs):
        if not self.pids:
            self.pids.append(os.fork())
            if not self.pids[0]:
                self.in_child()
    def in_child(self):
        pass
    def shutdown(self, timeout):
        pass
from clew.exporters.jsonl import JSONLinesExporter
clew.configure(exporter=[Forking(), JSONLinesExporter(sys.argv[1])])
"""
)
AND_WAIT = """
make_run('parent')
assert clew.flush(30)
status = os.waitpid(Forking.pids[0], 0)[1]
assert status == 0, status
assert clew.shutdown(30)
"""
RUNS_OF_ITS_OWN = """
def in_child(self):
    thread = threading.Thread(target=make_run, args=('child',))
    thread.start()
    thread.join(30)
    os._exit(not clew.flush(30))
Forking.in_child = in_child
"""


@needs_fork
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param("", ["parent"], marks=ends_with_its_thread, id="returns"),
        pytest.param("Forking.in_child = lambda self: sys.exit()", ["parent"], marks=ends_with_its_thread, id="exits"),
        pytest.param("Forking.in_child = lambda self: os._exit(0)", ["parent"], id="ends at once"),
        pytest.param(RUNS_OF_ITS_OWN, ["child", "parent"], id="has runs"),
        pytest.param(
            "def in_child(self):\n    threading.Thread(target=make_run, args=('child',)).start()\n"
            "Forking.in_child = in_child",
            ["child", "parent"],
            marks=ends_with_its_thread,
            id="returns with runs",
        ),
    ],
)
@pytest.mark.parametrize("is_last_call", [False, True], ids=["flush", "shutdown"])
def test_child_that_an_exporter_forks_exports_its_own_runs_alone(
    tmp_path: Path, code: str, expected: list[str], *, is_last_call: bool
) -> None:
    ending = AND_WAIT.replace("flush", "shutdown") if is_last_call else AND_WAIT
    done = run_python(BEGIN + FORKING + code + ending, str(tmp_path / "runs.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(tmp_path / "runs.jsonl") == (["parent"] if is_last_call else expected)


@needs_fork
@pytest.mark.parametrize("is_in_thread", [False, True], ids=["main thread", "thread"])
def test_fork_while_other_threads_hold_all_locks_of_clew_hinders_nothing_in_the_child(
    tmp_path: Path, *, is_in_thread: bool
) -> None:
    code = """
import gc
from clew._shared.locks import ForkSafeLock
clew.configure(exporter='jsonl:' + sys.argv[1])
make_run('parent')
assert clew.flush(30)
guards = [each for each in gc.get_objects() if isinstance(each, ForkSafeLock)]
assert guards
held, over = threading.Event(), threading.Event()
def hold():
    for guard in guards:
        guard.lock.acquire()
    held.set()
    over.wait(30)
    for guard in guards:
        guard.lock.release()
holding = threading.Thread(target=hold)
holding.start()
assert held.wait(30)
def fork():
    pid = os.fork()
    if not pid:
        try:
            with clew.record() as runs, clew.trace('child') as run:
                run.add_tags('a')
            clew.stats()
            clew.set_baggage('a', 'b')
            clew.configure(project_name='child')
            os._exit(not (clew.shutdown(30) and len(runs) == 1))
        finally:
            os._exit(2)
    statuses.append(os.waitpid(pid, 0)[1])
statuses = []
forking = threading.Thread(target=fork)
"""
    code += "forking.start()\nforking.join()\n" if is_in_thread else "fork()\n"
    done = run_python(BEGIN + QUIET + code + "over.set()\nassert statuses == [0]", str(tmp_path / "runs.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(tmp_path / "runs.jsonl") == ["child", "parent"]
