"""
An exporter that writes each finished run as one line of JSON, and a reader of such files.

The format of a line is in `clew.runs._tree.serialising`.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from os import PathLike
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union
from uuid import UUID

from clew._shared.hints import subscriptable
from clew.errors import ArgumentValueError, RunsRefusedError
from clew.runs._tree.serialising import line_of
from clew.runs.finished import Run
from clew.runs.stored import StoredRun, link_trees

__all__ = ("JSONLinesExporter", "StoredRuns", "read_runs")

if sys.version_info < (3, 9):  # for the hints; drop with 3.8
    PathLike = subscriptable(PathLike)

_HOW = os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class JSONLinesExporter:
    """
    Appends each finished run to a file, as one line.

    Several processes may append to one file: each batch is one write at the current end of the file. If a process
    leaves a line half-written, because it is killed or the disk is full, the next batch begins on a new line.

    Args:
        path: the file. It is created when there are runs to write, readable by its owner only.

    Raises:
        ArgumentValueError: the folder of the file does not exist, or `path` is a folder.
    """

    # The file is opened for each batch, which costs next to nothing. So a fork, a file that is moved away, and a
    # missing call of `shutdown` need no special care.
    __slots__ = ("path",)

    path: str

    def __init__(self, path: Union[str, PathLike[str]]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        folder = os.path.dirname(self.path)
        if not os.path.isdir(folder):
            raise ArgumentValueError(
                f"expected a file in a folder that exists, found no {folder!r}; make the folder first"
            )
        if os.path.isdir(self.path):
            raise ArgumentValueError(
                f"expected a file to append runs to, found the folder {self.path!r}; name a file in it"
            )

    def export(self, runs: Sequence[Run]) -> None:
        """
        Append the runs to the file.
        """
        lines: List[str] = []
        refusal: Optional[Exception] = None
        for run in runs:
            try:
                lines.append(line_of(run))
            except Exception as error:  # noqa: BLE001, PERF203  one bad run must not lose the others
                refusal = error
        self._write("".join(lines).encode("ascii"))
        if refusal is not None:
            raise RunsRefusedError(
                f"expected runs that have a form in JSON, got one that has none: {refusal!r}; see what it recorded",
                len(runs) - len(lines),
            ) from refusal

    def _write(self, text: bytes) -> None:
        data = memoryview(text)
        file = self._open()
        try:
            if not _ends_with_a_line(file):
                data = memoryview(b"\n" + data)
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)

    def shutdown(self, timeout: float) -> None:
        """
        Do nothing: the file is already closed.
        """

    def _open(self) -> int:
        # A new file is for its owner only: it has the arguments of every traced call. An existing one keeps its mode.
        try:
            return os.open(self.path, os.O_RDWR | _HOW, 0o600)
        except PermissionError:  # the file may be write-only
            return os.open(self.path, os.O_WRONLY | _HOW, 0o600)


def _ends_with_a_line(file: int) -> bool:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return True
    try:
        size = os.lseek(file, 0, os.SEEK_END)
        if not size:
            return True
        os.lseek(file, size - 1, os.SEEK_SET)  # for the read; O_APPEND writes at the end all the same
        return os.read(file, 1) == b"\n"
    except OSError:  # the file is not readable; an additional empty line does no harm
        return False


class StoredRuns(NamedTuple):
    """
    The content of a file of runs.

    Args:
        roots: the roots of the trees, as `trees_of` returns them.
        run_count: how many runs the file has.
        broken_lines: how many lines are no runs.
    """

    roots: Tuple[StoredRun, ...]
    run_count: int
    broken_lines: int


def read_runs(path: Union[str, PathLike[str]]) -> StoredRuns:
    """
    Read a file that `JSONLinesExporter` has written: the trees of its runs, and how many lines cannot be read.

    Raises:
        OSError: the file cannot be read.
    """
    runs: Dict[UUID, StoredRun] = {}  # if a run has two lines, the last one counts
    broken_lines = 0
    with open(path, "rb") as file:
        for line in file:
            if line.isspace():
                continue
            try:
                run = StoredRun(json.loads(line))
            except (AttributeError, ValueError, RecursionError):  # no dict; no JSON or no run; nested too deeply
                broken_lines += 1
            else:
                runs[run.id] = run
    return StoredRuns(link_trees(runs.values()), len(runs), broken_lines)
