"""
`clew run` runs a program as the interpreter does; only the trees at the end are more.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROBE = """
import json, os, sys
main = sys.modules["__main__"]
seen = {name: repr(value) for name, value in vars(main).items()}
for name in ("__loader__", "__builtins__", "__spec__", "json", "os", "sys", "main", "seen"):
    seen.pop(name, None)
spec = main.__spec__
print(json.dumps({
    "globals": seen,
    "is_main": vars(main) is globals(),
    "argv": sys.argv,
    "first_path": os.path.realpath(sys.path[0]),
    "path_length": len(sys.path),
    "loader": type(main.__loader__).__name__,
    "spec": spec and [spec.name, spec.origin],
    "click": "click" in sys.modules,
    "rich": "rich" in sys.modules,
}, indent=1, sort_keys=True))
"""

TRACED = """
import clew
@clew.traceable
def outer():
    inner()
@clew.traceable
def inner():
    pass
outer()
"""


def python(*words: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def both_ways(*words: str, cwd: Path) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    return python(*words, cwd=cwd), python("-m", "clew", "run", *words, cwd=cwd)


def without_trees(stderr: str) -> str:
    return stderr.partition("clew: ")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "probe.py").write_text(PROBE)
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(PROBE)
    (package / "tool.py").write_text(PROBE)
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", PROBE)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["probe.py", "one", "--two", "-h", "--limit", "3"],
        ["./probe.py"],
        ["-m", "probe", "one", "-m", "x"],
        ["-m", "pack", "--flag"],
        ["-m", "pack", "--limit", "3", "--", "--help"],
        ["-mpack", "--help"],
        ["-m", "pack.tool"],
        ["pack", "word"],
        ["app.zip", "word"],
    ],
    ids=" ".join,
)
def test_run_gives_the_program_the_same_main_argv_and_path(folder: Path, words: list[str]) -> None:
    bare, ours = both_ways(*words, cwd=folder)
    assert bare.returncode == 0, bare.stderr
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == bare.stdout
    assert "no runs were recorded" in ours.stderr


FAILURES = {
    "exception": "def f():\n    raise ValueError('no')\nf()",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('no') from e",
    "syntax error": "x = 1\nif x\n",
    "exit code": "import sys; sys.exit(3)",
    "exit text": "raise SystemExit('goodbye')",
    "exit none": "raise SystemExit",
    "own hook": "import sys\nsys.excepthook = lambda t, e, tb: print('mine', t, e, tb.tb_frame.f_code.co_name)\n1 / 0",
    "hook that fails": "import sys\nsys.excepthook = lambda t, e, tb: 1 / 0\nraise ValueError",
    "thread dies": "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='T')\nt.start(); t.join()",
    "atexit": "import atexit\natexit.register(print, 'bye')\nprint('main')",
    "late thread": "import threading\ne = threading.Event()\n"
    "threading.Thread(target=lambda: (e.wait(9), print('late'))).start()\nprint('main'); e.set()",
    "own click": "import click\nprint(click.VALUE)",
}


@pytest.mark.parametrize("name", FAILURES)
def test_run_ends_as_the_program_does(tmp_path: Path, name: str) -> None:
    (tmp_path / "program.py").write_text(FAILURES[name])
    (tmp_path / "click.py").write_text("VALUE = 'my own'")
    bare = python("program.py", cwd=tmp_path)
    # From elsewhere, as `python -m` puts the current folder, with its click.py, in front of ours.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ours = python("-m", "clew", "run", str(tmp_path / "program.py"), cwd=elsewhere)
    assert ours.returncode == bare.returncode
    assert ours.stdout == bare.stdout
    if name == "hook that fails":  # its own traceback shows who called it
        assert bare.stderr.splitlines()[0] in ours.stderr.splitlines()
    elif sys.version_info >= (3, 9):  # 3.8 names the script as it was given, here once relative, once absolute
        assert without_trees(ours.stderr) == bare.stderr


def test_run_prints_the_tree_also_of_a_program_that_fails(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TRACED + "raise SystemExit(4)\n")
    done = python("-m", "clew", "run", "program.py", cwd=tmp_path)
    assert done.returncode == 4
    first, outer, inner = done.stderr.splitlines()
    assert first == "clew: 1 trace, 2 runs"
    assert outer.startswith("outer ")
    assert inner.startswith("└── inner ")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_run_interrupted_dies_of_the_signal_and_prints_the_tree(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        # A process that was started in the background has SIGINT ignored.
        "import clew, signal, threading\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with clew.trace('waiting'):\n    print('ready', flush=True)\n"
        # In short waits: a signal that comes just before a wait does not end it.
        "    for _ in range(600):\n        threading.Event().wait(0.1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "clew", "run", "program.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in stderr
    assert "_program.py" not in stderr
    assert "waiting" in stderr.splitlines()[-1]
    assert "[error]" in stderr.splitlines()[-1]


def test_run_shows_the_runs_of_threads_that_outlive_the_main_code(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import clew, threading\ngo = threading.Event()\n"
        "def late():\n    go.wait(60)\n    with clew.trace('late'):\n        pass\n"
        "threading.Thread(target=late).start()\ngo.set()\n"
    )
    done = python("-m", "clew", "run", "program.py", cwd=tmp_path)
    assert "late" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_run_prints_once_when_the_program_forks(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        TRACED + "import os, sys\npid = os.fork()\nif not pid:\n    sys.exit(0)\nos.waitpid(pid, 0)\n"
    )
    done = python("-m", "clew", "run", "program.py", cwd=tmp_path)
    assert done.stderr.count("clew: 1 trace") == 1


def test_run_in_ascii_shows_an_ascii_tree(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TRACED, encoding="utf-8")
    done = python("-m", "clew", "run", "program.py", cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.stderr.splitlines()[2].startswith("`-- inner ")


def test_run_with_a_limit_says_how_many_runs_it_left_out(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TRACED + "outer()\n" * 4)
    done = python("-m", "clew", "run", "--limit", "3", "program.py", cwd=tmp_path)
    assert len(done.stderr.splitlines()) == 5
    assert done.stderr.splitlines()[-1] == "... and 7 runs more; --limit 0 shows all"


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["run"], 2, "expected a program to run"),
        (["run", "missing.py"], 2, "can't open file"),
        (["run", "-m", "missing_module"], 1, "No module named missing_module"),
        (["run", "--limit", "x", "a.py"], 2, "--limit"),
        (["nonsense"], 2, "nonsense"),
    ],
    ids=str,
)
def test_command_refuses_bad_words_with_a_reason(tmp_path: Path, words: list[str], exit_code: int, said: str) -> None:
    done = python("-m", "clew", *words, cwd=tmp_path)
    assert done.returncode == exit_code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
