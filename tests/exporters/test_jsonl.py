"""
`JSONLinesExporter` and `read_runs`: what was written is read back, whatever else is in the file.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

import clew
from clew.errors import ArgumentValueError
from clew.exporters.jsonl import JSONLinesExporter, read_runs
from clew.runs._tree.drawing import draw_tree
from tests.edges._threads import DEADLINE
from tests.exporters._exporters import counted, exporting_to, make_run, run_python

if TYPE_CHECKING:
    from pathlib import Path


@clew.traceable(tags=["t"], metadata={"k": "\u00e9\u2028\ud800"})
def work(value: Any) -> Any:
    if value == "fail":
        raise ValueError("no\nway")
    return value


def write_runs(path: Path) -> str:
    with clew.record() as runs, exporting_to(JSONLinesExporter(path)):
        with clew.trace("outer"):
            work({"deep": [1, 2.5, None, True, float("nan"), 1 << 400, object]})
            with pytest.raises(ValueError, match="no"):
                work("fail")
        make_run("other")
    return runs.tree()


def test_runs_come_back_as_the_trees_they_were(tmp_path: Path) -> None:
    tree = write_runs(tmp_path / "runs.jsonl")
    roots, run_count, broken_lines = read_runs(tmp_path / "runs.jsonl")
    assert "\n".join(draw_tree(roots)) == tree
    assert (run_count, broken_lines) == (4, 0)
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 4
    assert all(json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines())


def test_file_is_made_with_the_first_run_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with exporting_to(JSONLinesExporter(str(path))):
        pass
    assert not path.exists()
    for name in ("first", "second"):
        with exporting_to(JSONLinesExporter(path)):
            make_run(name)
    assert [run.name for run in read_runs(path).roots] == ["first", "second"]


def test_file_is_where_it_was_named_wherever_the_program_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with exporting_to(JSONLinesExporter("runs.jsonl")):
        monkeypatch.chdir(tmp_path / "elsewhere")
        make_run("run")
    assert len(read_runs(tmp_path / "runs.jsonl").roots) == 1


def test_file_that_was_moved_away_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with exporting_to(JSONLinesExporter(path)) as pipeline:
        make_run("first")
        assert pipeline.flush(DEADLINE)
        path.rename(tmp_path / "old.jsonl")
        make_run("second")
    assert [run.name for run in read_runs(tmp_path / "old.jsonl").roots] == ["first"]
    assert [run.name for run in read_runs(path).roots] == ["second"]


@pytest.mark.parametrize(
    ("place", "said"),
    [("missing/runs.jsonl", "make the folder first"), (".", "name a file in it")],
)
def test_wrong_place_is_refused_at_once(tmp_path: Path, place: str, said: str) -> None:
    with pytest.raises(ArgumentValueError, match=said):
        JSONLinesExporter(tmp_path / place)


@pytest.mark.parametrize("torn", [b'{"id": "01', b"\xff\xfe", b"{}\n[1]\nnull\n1", b"[" * 100_000, b'{"id":1}'])
def test_half_a_line_of_a_crashed_process_stays_alone(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "runs.jsonl"
    tree = write_runs(path)
    with path.open("ab") as file:
        file.write(torn)
    write_runs(path)
    roots, run_count, broken_lines = read_runs(path)
    assert "\n".join(draw_tree(roots)) == f"{tree}\n{tree}"
    assert (run_count, broken_lines) == (8, len(torn.splitlines()))


def test_blank_lines_are_no_broken_ones(tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_bytes(b"\n \r\n\n")
    assert read_runs(tmp_path / "runs.jsonl") == ((), 0, 0)


def test_run_that_has_no_json_is_left_out_and_the_others_are_there(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with exporting_to(JSONLinesExporter(path), max_batch=3, delay=DEADLINE) as pipeline:

        def export() -> None:
            make_run("before")
            with clew.trace("odd") as odd:
                odd.inputs = {}
                odd._inputs["itself"] = odd._inputs
            make_run("after")
            assert not pipeline.flush(DEADLINE)

        assert counted("runs_refused", export) == 1
        assert pipeline.flush(DEADLINE), "what was lost before the last call is told"
    assert [run.name for run in read_runs(path).roots] == ["before", "after"]


def test_label_that_nobody_checked_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with exporting_to(JSONLinesExporter(path)), clew.trace("run") as run:
        run._run_type = ["no", "hash"]  # type: ignore[assignment]  # as if nobody had looked
    assert json.loads(path.read_text())["run_type"] == ["no", "hash"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_counted_and_reaches_nobody() -> None:
    with exporting_to(JSONLinesExporter("/dev/full"), attempts=2) as pipeline:

        def export() -> None:
            make_run("run")
            assert not pipeline.flush(DEADLINE)

        assert counted("runs_lost", lambda: None) == 0
        assert counted("exports_failed", export) == 2


def test_two_processes_append_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    code = (
        "import sys, clew\nclew.configure(exporter='jsonl:' + sys.argv[1])\n"
        "for number in range(3000):\n    with clew.trace(sys.argv[2], inputs={'number': number, 'text': 'x' * 300}):\n"
        "        pass\n"
        "    if number % 50 == 0:\n        clew.flush(30)\n"
        "assert clew.shutdown(30)"
    )
    ended = []
    threads = [
        threading.Thread(target=lambda name=name: ended.append(run_python(code, str(path), name))) for name in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * DEADLINE)
    assert [(done.returncode, done.stderr) for done in ended] == [(0, "")] * 2
    roots, run_count, broken_lines = read_runs(path)
    assert (run_count, broken_lines) == (6000, 0)
    for name in "ab":
        assert sorted(run.inputs["number"] for run in roots if run.name == name) == list(range(3000))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs os.mkfifo")
def test_what_is_no_ordinary_file_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with exporting_to(JSONLinesExporter(pipe)):
            make_run("run")
        assert json.loads(os.read(reader, 1 << 16))["name"] == "run"
    finally:
        os.close(reader)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs the permissions of POSIX")
def test_file_that_may_be_written_alone_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b"half a line")
    path.chmod(stat.S_IWUSR)
    real_open = os.open

    def open_as_a_user(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:  # root may do everything
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_as_a_user)
        JSONLinesExporter(path).export([])
        with clew.record() as runs:
            make_run("run")
        JSONLinesExporter(path).export(runs.roots)
    path.chmod(stat.S_IRUSR)
    assert read_runs(path)[1:] == (1, 1)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX's file modes")
def test_new_file_is_for_its_owner_only_and_an_existing_one_keeps_its_mode(tmp_path: Path) -> None:
    new, old = tmp_path / "new.jsonl", tmp_path / "old.jsonl"
    old.touch()
    old.chmod(0o640)
    with clew.record() as runs, clew.trace("log in", inputs={"password": "secret"}):
        pass
    before = os.umask(0)
    try:
        for path in (new, old):
            JSONLinesExporter(path).export(runs.roots)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (new, old)] == [0o600, 0o640]
    assert new.read_text(encoding="utf-8") == old.read_text(encoding="utf-8") != ""
