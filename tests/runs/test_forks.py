"""
Runs that are open when the process forks, and what is current in a forked child and in a worker.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from clew.exporters.jsonl import read_runs
from clew.runs._tree.drawing import check_tree
from tests.exporters._exporters import run_python

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

BEGIN = """
import multiprocessing, os, sys, threading, warnings
import clew
warnings.simplefilter('ignore')
clew.configure(exporter='jsonl:' + sys.argv[1])
def say(*words):
    os.write(1, (' '.join(map(str, words)) + '\\n').encode())  # at once, as both processes write
def in_both(fn):
    pid = os.fork()
    fn()
    if not pid:
        os._exit(not clew.shutdown(30))
    assert os.waitpid(pid, 0)[1] == 0
    assert clew.shutdown(30)
def in_child(fn):
    pid = os.fork()
    if not pid:
        fn()
        os._exit(not clew.shutdown(30))
    assert os.waitpid(pid, 0)[1] == 0
@clew.traceable
def work(name='work'):
    return name
@clew.traceable
def stream():
    yield 1
    work()
    yield 2
"""


def run_and_check(tmp_path: Path, code: str, expected: str) -> None:
    path = tmp_path / "runs.jsonl"
    done = run_python(BEGIN + code, str(path))
    assert (done.returncode, done.stderr) == (0, "")
    roots, _, _ = read_runs(path)
    check_tree(roots, expected)  # type: ignore[arg-type]  # stored runs will do
    lines = path.read_text().splitlines()
    assert len(lines) == len(expected.strip().splitlines())


BY_HAND = """
run = clew.RunTree('by hand')
run.post()
def finish():
    run.end()
    run.patch()
in_both(finish)
"""
NOT_POSTED = """
run = clew.RunTree('by hand')
in_both(lambda: (run.post(), run.end()))
"""
ENDED_AND_NOT_POSTED = """
run = clew.RunTree('by hand')
run.end()
in_both(run.post)
"""
BLOCK_OF_ANOTHER_CONTEXT = """
import contextvars
block = clew.trace('block')
context = contextvars.copy_context()
context.run(block.__enter__)
in_both(lambda: context.run(block.__exit__, None, None, None))
"""
BLOCK = """
with clew.trace('outer'):
    block = clew.trace('block')
    block.__enter__()
    in_both(lambda: block.__exit__(None, None, None))
    clew.configure(exporter='jsonl:' + sys.argv[1])
"""
AWAITING = """
@clew.traceable
async def call():
    class Turn:
        def __await__(self):
            yield
    await Turn()
coroutine = call()
coroutine.send(None)
def finish():
    try:
        coroutine.send(None)
    except StopIteration:
        pass
in_both(finish)
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (BY_HAND, "by hand"),
        (NOT_POSTED, "by hand"),
        (ENDED_AND_NOT_POSTED, "by hand"),
        (BLOCK_OF_ANOTHER_CONTEXT, "block"),
        (BLOCK, "outer\n  block"),
        (AWAITING, "call"),
    ],
    ids=["by hand", "not posted", "ended and not posted", "another context", "current", "awaiting"],
)
def test_run_that_is_open_at_a_fork_and_ends_in_both_processes_is_exported_once(
    tmp_path: Path, code: str, expected: str
) -> None:
    run_and_check(tmp_path, code, expected)


def test_suspended_stream_is_the_parents_and_what_its_body_does_in_the_child_is_below_it(tmp_path: Path) -> None:
    code = "generator = stream()\nnext(generator)\nin_both(lambda: list(generator))"
    run_and_check(tmp_path, code, "stream\n  work\n  work")


def test_run_of_another_thread_is_the_parents(tmp_path: Path) -> None:
    code = """
entered, over = threading.Event(), threading.Event()
def hold():
    global block
    with clew.trace('of a thread') as block:
        entered.set()
        over.wait(30)
thread = threading.Thread(target=hold)
thread.start()
entered.wait(30)
in_child(lambda: block._close('success'))
over.set()
thread.join(30)
"""
    run_and_check(tmp_path, code, "of a thread")


def test_hook_at_the_end_of_a_run_is_called_in_the_parent_alone(tmp_path: Path) -> None:
    code = """
ended = []
generator = stream(langsmith_extra={'on_end': lambda run: ended.append(os.getpid())})
next(generator)
in_both(lambda: list(generator))
assert ended == [os.getpid()]
"""
    run_and_check(tmp_path, code, "stream\n  work\n  work")


NOT_CURRENT = """
run = clew.RunTree('outer')
run.post()
def child():
    with clew.tracing_context(parent=run):
        work()
"""
CAPTURED = """
import contextvars
with clew.trace('outer'):
    bound = contextvars.copy_context().run
def child():
    bound(work)
"""


@pytest.mark.parametrize("code", [NOT_CURRENT + "in_both(child)\nrun.end()\n", CAPTURED + "in_both(child)"])
@pytest.mark.parametrize("forks", [1, 2])
def test_run_whose_id_is_first_needed_after_a_fork_has_one_id(tmp_path: Path, code: str, forks: int) -> None:
    code = code.replace("run.end()\n", "").replace("in_both(child)", "in_child(child)\n" * forks)
    code += "if 'run' in globals():\n    run.end()\nclew.shutdown(30)"
    run_and_check(tmp_path, code, "outer" + "\n  work" * forks)


def test_runs_whose_ids_are_first_needed_after_a_fork_have_different_ids(tmp_path: Path) -> None:
    code = """
runs = [clew.RunTree(str(n)) for n in range(1000)]
in_both(lambda: say(len({run.id for run in runs}), len({run.span_id for run in runs}), runs[7].id))
"""
    done = run_python(BEGIN + code, str(tmp_path / "runs.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.startswith("1000 1000 ")


def test_child_of_a_forked_child_leaves_the_runs_of_both_to_them(tmp_path: Path) -> None:
    code = """
def finish(*runs):
    for run in runs:
        run.end()
def fork_again():
    inner = outer.create_child('inner')
    inner.post()
    in_child(lambda: (inner.create_child('innermost').post(), finish(inner, outer)))
    finish(inner, outer)
outer = clew.RunTree('outer')
outer.post()
in_child(fork_again)
finish(outer)
clew.shutdown(30)
"""
    run_and_check(tmp_path, code, "outer\n  inner")


def test_generator_that_is_created_before_a_fork_and_started_after_it_is_a_run_of_each_process(tmp_path: Path) -> None:
    code = """
with clew.trace('outer'):
    generator = stream()
in_both(lambda: list(generator))
"""
    run_and_check(tmp_path, code, "outer\n  stream\n    work\n  stream\n    work")


def test_unsampled_trace_has_one_id_in_both_processes(tmp_path: Path) -> None:
    code = """
clew.configure(sampler=0.0)
with clew.trace('outer'):
    in_both(lambda: say(clew.get_current_headers()['traceparent']))
"""
    done = run_python(BEGIN + code, str(tmp_path / "runs.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == second


FORKED = """
from concurrent.futures import ProcessPoolExecutor
fork = multiprocessing.get_context('fork')
def request(name, call, *args):
    with clew.baggage(user=name), clew.tracing_context(tags=[name], metadata={'user': name}), clew.trace(name):
        return call(*args)
"""
POOL_OF_FUTURES = """
with ProcessPoolExecutor(1, mp_context=fork) as pool:
    for name in 'first', 'second':
        request(name, lambda: pool.submit(work, name).result(30))
"""
POOL = """
pool = request('first', fork.Pool, 1)
for name in 'first', 'second':
    request(name, pool.apply, work, (name,))
pool.close()
pool.join()
"""
WRAPPED = POOL_OF_FUTURES.replace("ProcessPoolExecutor(1, mp_context=fork)", "clew.wrap_executor(own)").replace(
    "\nwith", "\nown = ProcessPoolExecutor(1, mp_context=fork)\nwith", 1
)


@pytest.mark.parametrize("code", [POOL_OF_FUTURES, WRAPPED, POOL], ids=["futures", "wrapped", "multiprocessing"])
def test_worker_of_a_pool_keeps_nothing_of_the_caller_that_started_it(tmp_path: Path, code: str) -> None:
    done = run_python(BEGIN + FORKED + code, str(tmp_path / "runs.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    jobs = [run for run in read_runs(tmp_path / "runs.jsonl").roots if run.name == "work"]
    assert [(run.inputs, run.tags, run.metadata, run.links) for run in jobs] == [
        ({"name": name}, (), {}, ()) for name in ("first", "second")
    ]


def test_worker_that_was_started_where_recording_is_off_records_its_jobs(tmp_path: Path) -> None:
    code = """
with ProcessPoolExecutor(1, mp_context=fork) as pool:
    with clew.tracing_context(enabled=False):
        pool.submit(os.getpid).result(30)
    pool.submit(work).result(30)
"""
    run_and_check(tmp_path, FORKED + code, "work")


def test_process_that_a_run_starts_for_one_job_is_below_the_run(tmp_path: Path) -> None:
    code = "process = fork.Process(target=work)\nrequest('first', process.start)\nprocess.join(30)"
    run_and_check(tmp_path, FORKED + code, "first\n  work")


# What gunicorn's arbiter does with a worker, which ends by the arbiter's own frames.
SERVER = """
arbiter = {'__name__': 'gunicorn.arbiter', 'os': os, 'sys': sys}
exec('''
def spawn_worker(serve):
    pid = os.fork()
    if pid:
        return pid
    serve()
    sys.exit(0)
''', arbiter)
def serve():
    for name in 'first', 'second':
        work(name)
@clew.traceable
def main():
    with clew.tracing_context(project_name='site'), clew.trace('server'):
        pid = arbiter['spawn_worker'](serve)
        assert os.waitpid(pid, 0)[1] == 0
main()
"""


@pytest.mark.parametrize("wrapper", ["", "fork = os.fork\nos.fork = lambda: fork()\n"], ids=["bare", "wrapped fork"])
def test_worker_of_a_server_leaves_the_run_that_the_server_was_started_in(tmp_path: Path, wrapper: str) -> None:
    run_and_check(tmp_path, wrapper + SERVER, "main\n  server\nwork\nwork")


@pytest.mark.parametrize("is_in_thread", [False, True], ids=["main thread", "thread"])
def test_child_that_is_forked_in_a_recording_records_into_its_own_copy(tmp_path: Path, *, is_in_thread: bool) -> None:
    code = """
import contextvars
def record_in_child():
    work()
    if [run.name for run in runs] != ['outer', 'forking', 'work']:
        os._exit(2)
def fork():
    with clew.trace('forking'):
        in_child(record_in_child)
with clew.record() as runs, clew.trace('outer'):
    run = contextvars.copy_context().run
    fork_somewhere()
clew.shutdown(30)
runs.assert_tree("""
    code += "'outer\\n  forking')"
    somewhere = "thread = threading.Thread(target=run, args=(fork,))\n    thread.start()\n    thread.join(30)"
    code = code.replace("fork_somewhere()", somewhere if is_in_thread else "fork()")
    run_and_check(tmp_path, code, "outer\n  forking\n    work")
