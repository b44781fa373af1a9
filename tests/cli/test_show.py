"""
`clew show` prints the trees that an exporter has stored.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_run import TRACED, python

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURED = "import clew\nclew.configure(exporter='jsonl:runs.jsonl')\n" + TRACED


def without_durations(text: str) -> str:
    return re.sub(r" \d+\.\d+ m?s", "", text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(CONFIGURED)
    assert python("program.py", cwd=tmp_path).stderr == ""
    return tmp_path


def test_show_prints_what_run_would_have_printed(folder: Path) -> None:
    shown = python("-m", "clew", "show", "runs.jsonl", cwd=folder)
    (folder / "program.py").write_text(TRACED)
    ran = python("-m", "clew", "run", "program.py", cwd=folder)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert without_durations(shown.stdout) == without_durations(ran.stderr)


def test_show_leaves_out_broken_lines_and_says_so(folder: Path) -> None:
    with (folder / "runs.jsonl").open("a") as file:
        file.write("{}\nnonsense")
    shown = python("-m", "clew", "show", "runs.jsonl", cwd=folder)
    assert shown.returncode == 0
    assert shown.stderr == "clew: 2 lines are no run and left out\n"
    assert shown.stdout.startswith("clew: 1 trace, 2 runs\nouter ")


def test_show_of_a_file_that_anybody_has_written_does_nothing_to_the_terminal(folder: Path) -> None:
    line = json.loads((folder / "runs.jsonl").read_text().splitlines()[0])
    odd = [{"end_time_ns": 10**400}, {"start_time_ns": 10**400, "end_time_ns": 0}, {"status": "\x1b[31m\n"}]
    changes = [{**line, "parent_id": None, "parent_span_id": None, **change} for change in odd]
    lines = [json.dumps({**change, "id": f"{number:032x}"}) for number, change in enumerate(changes)]
    (folder / "odd.jsonl").write_text("\n".join(lines))
    shown = python("-m", "clew", "show", "odd.jsonl", cwd=folder)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "inner inf s" in shown.stdout
    assert "inner -inf s" in shown.stdout
    assert r"['\x1b[31m\n']" in shown.stdout
    assert shown.stdout.replace("\n", "").isprintable()


def test_show_with_a_limit_says_how_many_runs_it_left_out(folder: Path) -> None:
    shown = python("-m", "clew", "show", "--limit", "1", "runs.jsonl", cwd=folder)
    assert shown.stdout.splitlines()[-1] == "... and 1 runs more; --limit 0 shows all"
    assert len(shown.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["show"], 2, "Missing argument 'FILE'"),
        (
            ["show", "missing.jsonl"],
            1,
            "'missing.jsonl' cannot be read: No such file or directory; write one with",
        ),
        (["show", "."], 1, "found that '.' cannot be read: Is a directory"),
        (["show", "empty.jsonl"], 1, "expected a file of runs, found none in 'empty.jsonl'; write one with"),
        (["show", "program.py"], 1, "found none in 'program.py'"),
    ],
    ids=str,
)
def test_show_refuses_what_has_no_runs_with_a_reason(folder: Path, words: list[str], exit_code: int, said: str) -> None:
    (folder / "empty.jsonl").touch()
    done = python("-m", "clew", *words, cwd=folder)
    assert done.returncode == exit_code
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
