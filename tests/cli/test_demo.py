"""
`clew demo` shows a broken tree and a whole one, of real work; and what it prints suits where it goes.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest

import clew
from clew.cli import _demo, _output


def test_demo_shows_the_broken_tree_and_then_the_whole_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clew", "demo"],
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
        env={"PYTHONIOENCODING": "utf-8", "PATH": ""},
    )
    text = done.stdout.decode("utf-8")
    assert "\x1b" not in text
    _, broken, whole = re.split(r"^\d\. ", text, flags=re.MULTILINE)
    assert broken.startswith("concurrent.futures.ThreadPoolExecutor: 6 traces")
    assert whole.startswith("clew.ContextThreadPoolExecutor: one whole trace")
    assert len(re.findall(r"^package ", broken, re.MULTILINE)) == 5
    assert len(re.findall(r"^[├└]── package ", whole, re.MULTILINE)) == 5
    # The same work in both: every parse of the first is in the second.
    assert sorted(re.findall(r"parse \S+", broken)) == sorted(re.findall(r"parse \S+", whole))
    found = re.search(r"Both found (\d+) functions", whole)
    assert found is not None
    assert int(found[1]) > 200


def test_demo_really_counts() -> None:
    with clew.record() as runs:
        total = _demo.survey(clew.ContextThreadPoolExecutor)
    packages = runs.roots[0].children
    assert len(packages) == len(_demo.PACKAGES)
    assert sum((run.outputs or {})["functions"] for run in packages) == total


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


class Pipe(io.StringIO):
    encoding = "ascii"  # type: ignore[assignment]


def failing_recording() -> clew.Recording:
    with clew.record() as runs, pytest.raises(ValueError, match="no"), clew.trace("outer"), clew.trace("inner"):
        raise ValueError("no [bold]markup[/bold]")
    return runs


def test_a_terminal_gets_colours_and_the_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    _output.print_recording(failing_recording(), terminal, 0)
    text = terminal.getvalue()
    assert "\x1b[31m" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert plain.startswith("clew: 1 trace, 2 runs\nouter ")
    assert "[error] ValueError: no [bold]markup[/bold]" in plain
    assert "└── inner" in plain


def test_a_terminal_that_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    _output.print_recording(failing_recording(), terminal, 0)
    assert "\x1b[31m" not in terminal.getvalue()


def test_a_pipe_gets_plain_text_in_what_it_can_show() -> None:
    pipe = Pipe()
    _output.print_recording(failing_recording(), pipe, 1)
    lines = pipe.getvalue().splitlines()
    assert lines[0] == "clew: 1 trace, 2 runs"
    assert lines[2] == "... and 1 runs more; --limit 0 shows all"
    _output.print_lines(["└── naïve ☃"], pipe)
    assert pipe.getvalue().splitlines()[-1] == r"`-- na\xefve \u2603"


def test_a_recording_without_runs_says_how_to_get_some() -> None:
    with clew.record() as runs:
        pass
    pipe = Pipe()
    _output.print_recording(runs, pipe, 0)
    assert pipe.getvalue().startswith("clew: no runs were recorded; put @clew.traceable on functions")


@pytest.mark.parametrize(
    ("words", "target", "args", "limit", "is_module"),
    [
        (["a.py", "-m", "--limit", "3"], "a.py", ["-m", "--limit", "3"], 1000, False),
        (["--limit", "3", "a.py", "x"], "a.py", ["x"], 3, False),
        (["--limit=3", "--", "a.py", "--", "x"], "a.py", ["--", "x"], 3, False),
        (["-m", "mod", "--limit", "3", "-h"], "mod", ["--limit", "3", "-h"], 1000, True),
        (["--limit", "0", "-mmod", "--", "x"], "mod", ["--", "x"], 0, True),
    ],
)
def test_run_takes_its_own_options_and_leaves_the_others(
    words: list[str], target: str, args: list[str], limit: int, is_module: bool
) -> None:
    from clew.cli._commands import commands

    program = commands.main(["run", *words], standalone_mode=False)
    assert (program._target, program._args, program._limit, program._is_module) == (target, args, limit, is_module)


def test_the_command_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from clew.cli import main

    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit, match=r"clew: expected the packages of the extra 'cli' .*pip install 'clew\[cli\]'"):
        main(["demo"])


def test_the_command_can_be_called_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    from clew.cli import main

    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert clew.__version__ in capsys.readouterr().out
    with pytest.raises(SystemExit) as refused:
        main(["nonsense"])
    assert refused.value.code == 2
    main(["demo"])
    assert "one whole trace" in capsys.readouterr().out
