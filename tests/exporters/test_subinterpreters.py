"""
Exporting in a subinterpreter, which allows no daemon threads and waits at its end for all others.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from clew.exporters.jsonl import read_runs
from tests.exporters._exporters import run_python

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 13) or sys.implementation.name != "cpython",
    reason="needs CPython 3.13, the first one that lets this test make subinterpreters without daemon threads",
)

# 3.14+: concurrent.interpreters; drop the other with 3.13.
IN_SUBINTERPRETER = """
import sys
def run(code):
    if sys.version_info < (3, 14):
        import _interpreters
        interpreter = _interpreters.create()
        failure = _interpreters.exec(interpreter, code)
        assert failure is None, failure
        _interpreters.destroy(interpreter)
    else:
        from concurrent import interpreters
        interpreter = interpreters.create()
        interpreter.exec(code)
        interpreter.close()
run(f'import sys; sys.path[:] = {sys.path!r}; path = {sys.argv[1]!r}\\n' + sys.argv[2])
"""
BEGIN = """
import atexit, threading
import clew
clew.configure(exporter='jsonl:' + path)
def job(name):
    with clew.trace(name):
        pass
"""


IN_THREAD = """
def outlive():
    ending.wait(30)
    job('late')
ending = threading.Event()
threading._register_atexit(ending.set)
threading.Thread(target=outlive).start()
job('a')
"""


def names_after(tmp_path: Path, code: str) -> list[str]:
    path = tmp_path / "runs.jsonl"
    done = run_python(IN_SUBINTERPRETER, str(path), BEGIN + code)
    assert (done.returncode, done.stderr) == (0, "")
    return sorted(run.name for run in read_runs(path).roots) if path.exists() else []


def test_flush_and_shutdown_deliver(tmp_path: Path) -> None:
    code = (
        "job('a')\nassert clew.flush(30)\nassert open(path).read().count('\\n') == 1\n"
        "job('b')\nassert clew.shutdown(30)\nassert open(path).read().count('\\n') == 2"
    )
    assert names_after(tmp_path, code) == ["a", "b"]


def test_flush_and_shutdown_keep_their_deadline(tmp_path: Path) -> None:
    code = """
class Hanging:
    over = threading.Event()
    def export(self, runs):
        self.over.wait()
    def shutdown(self, timeout):
        pass
clew.configure(exporter=Hanging())
job('a')
assert not clew.flush(0.05)
assert not clew.shutdown(0.05)
Hanging.over.set()
"""
    path = tmp_path / "runs.jsonl"
    done = run_python(IN_SUBINTERPRETER, str(path), BEGIN + code)
    assert done.returncode == 0
    assert "'runs_lost' in clew.stats()" in done.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", []),
        ("clew.flush(30)", []),
        ("job('a')\njob('b')", ["a", "b"]),
        ("job('a')\nclew.flush(30)\njob('b')", ["a", "b"]),
        (IN_THREAD, ["a", "late"]),
        ("job('a')\natexit.register(job, 'at exit')", ["a", "at exit"]),
        ("atexit.register(job, 'at exit')", ["at exit"]),
    ],
    ids=["nothing", "only a flush", "queued", "after a flush", "in a thread", "at exit", "only at exit"],
)
def test_end_delivers_what_is_left(tmp_path: Path, code: str, expected: list[str]) -> None:
    assert names_after(tmp_path, code) == expected
