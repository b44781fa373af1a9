"""
`record()`: the runs of a block of code, to look at and to test against.

A recorded run is a `clew.runs.finished.Run`. Runs are sent elsewhere by `clew.exporters`.
"""

from __future__ import annotations

from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple, Type

from clew._shared.one_use import EnteredOnce
from clew.errors import ArgumentTypeError, RunLookupError
from clew.runs._tree.drawing import check_tree, draw_tree
from clew.runs._tree.hooks import add_start_hook, add_watcher, remove_start_hook, remove_watcher
from clew.runs._tree.identity import Ancestor, Identity, Remote
from clew.runs._tree.kept_runs import MAX_BYTES, MAX_RUNS, KeptRuns
from clew.runs._tree.options import check_bound
from clew.runs._tree.ordering import in_order
from clew.runs.finished import Run

if TYPE_CHECKING:
    from clew.runs.run import RunTree

__all__ = (
    "Recording",
    "record",
)


# Of a tree, in `repr` and in a notebook.
_MOST_IN_REPR = 10
_MOST_SHOWN = 500
_MOST_CHARS = 120


class Recording(EnteredOnce):
    """
    The runs that started while a `record()` block was open, in the order in which they started.

    You can read it at any time, in the block and after it. Each reading shows the state of that moment: a run that is
    still open has the status ``pending``, and another one when you read it again after its end.

    A notebook shows its tree, and so does the `repr` of a small recording.
    """

    __slots__ = ("_kept", "_on_start", "_watcher")

    def __init__(self, *, max_runs: int = MAX_RUNS, max_bytes: int = MAX_BYTES) -> None:
        self._kept = KeptRuns(max_runs, max_bytes)
        # list.append is atomic, so that all threads can call it without a lock.
        self._on_start: Callable[[RunTree], object] = self._kept.runs.append
        self._watcher: Callable[[], object] = self._kept.look
        self._is_entered = False

    def __enter__(self) -> Recording:
        self._enter_once("record()")
        try:
            add_watcher(self._watcher)
            add_start_hook(self._on_start)
            return self
        except BaseException:  # Python calls no `__exit__` after a failed `__enter__`
            self._stop()
            raise

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        try:
            self._stop()
        except BaseException:  # an interrupt
            self._stop()
            raise

    def _stop(self) -> None:
        remove_start_hook(self._on_start)
        remove_watcher(self._watcher)

    @property
    def roots(self) -> Tuple[Run, ...]:
        """
        The runs that have no parent in this recording, each with its `children`.

        If there are more roots than you expect, a context was lost on the way to one of them.
        """
        self._kept.look()
        started = list(self._kept.runs)
        below: Dict[int, List[RunTree]] = {id(run._identity): [] for run in started}
        tops: List[RunTree] = []
        for run, parent in zip(started, _parents_here(started)):
            below.get(id(parent), tops).append(run)
        order = in_order(started, tops, lambda run: below[id(run._identity)])
        frozen: Dict[int, Run] = {}
        # Children before their parents, as a `Run` is made with its children.
        for run in reversed(order):
            children = tuple(frozen.pop(id(child)) for child in below[id(run._identity)])
            frozen[id(run)] = Run(run, children)
        return tuple(frozen[id(run)] for run in tops)

    @property
    def dropped_runs(self) -> int:
        """
        How many runs were dropped, as the recording keeps only the newest ones.
        """
        self._kept.look()
        return self._kept.dropped

    def __iter__(self) -> Iterator[Run]:
        """
        Iterate over all runs, each before its children.
        """
        waiting = list(reversed(self.roots))
        while waiting:
            run = waiting.pop()
            waiting.extend(reversed(run.children))
            yield run

    def __len__(self) -> int:
        self._kept.look()
        return len(self._kept.runs)

    def find_all(
        self, *, name: Optional[str] = None, run_type: Optional[str] = None, status: Optional[str] = None
    ) -> Tuple[Run, ...]:
        """
        Return the runs that match all of the given values.
        """
        return tuple(
            run
            for run in self
            if (name is None or run.name == name)
            and (run_type is None or run.run_type == run_type)
            and (status is None or run.status == status)
        )

    def find(self, *, name: Optional[str] = None, run_type: Optional[str] = None, status: Optional[str] = None) -> Run:
        """
        Return the only run that matches all of the given values.

        Raises:
            RunLookupError: no run matches, or several do.
        """
        found = self.find_all(name=name, run_type=run_type, status=status)
        if len(found) == 1:
            return found[0]
        wanted = ", ".join(
            f"{key}={value!r}" for key, value in (("name", name), ("run_type", run_type), ("status", status)) if value
        )
        raise RunLookupError(
            f"expected one run with {wanted or 'anything'}, found {len(found)}; "
            f"use find_all, or look at the tree:\n{self.tree() or '(no runs)'}"
        )

    def tree(self, *, details: bool = False) -> str:
        """
        Return the runs as an indented tree with one line for each run: its name, and its status unless it succeeded.

        If runs were dropped, the last line says how many.

        Args:
            details: add each run's duration, and the last line of its error.
        """
        return "\n".join((*draw_tree(self.roots, details=details), *self._dropped_line()))

    def _dropped_line(self) -> Tuple[str, ...]:
        dropped = self.dropped_runs
        return (f"<cut: {dropped} older runs>",) if dropped else ()

    def to_json(self, *, indent: Optional[int] = None) -> str:
        """
        Return the runs as JSON: a list of the roots, each with its ``children``.

        Args:
            indent: the number of blanks for each level; by default the text is one line.

        Example:
            >>> import clew, json
            >>> with clew.record() as runs, clew.trace("fetch"):
            ...     pass
            >>> json.loads(runs.to_json())[0]["name"]
            'fetch'
        """
        from clew.runs._tree.serialising import json_of_trees  # here, as most programs need no JSON

        return "".join(json_of_trees(self.roots, indent))

    def assert_tree(self, expected: str) -> None:
        """
        Check that the runs form the expected tree.

        Args:
            expected: a text as `tree()` returns it; blanks can replace its lines. The order of siblings does not
                matter, because threads and tasks start in any order.

        Raises:
            TreeMismatchError: the trees differ; the message shows the difference.

        Example:
            >>> import clew
            >>> with clew.record() as runs:
            ...     with clew.trace("outer"):
            ...         with clew.trace("inner"):
            ...             pass
            >>> runs.assert_tree('''
            ...     outer
            ...       inner
            ... ''')
        """
        check_tree(self.roots, expected, self._dropped_line())

    def __copy__(self) -> Recording:
        return self

    def __deepcopy__(self, memo: object) -> Recording:
        return self

    def __reduce__(self) -> Any:
        raise ArgumentTypeError(
            f"expected an object that can be pickled, found {object.__repr__(self)}, which collects the runs of this "
            f"process; send the text of its to_json()"
        )

    def __repr__(self) -> str:
        count = len(self)
        shown = f"<clew.Recording of {count} runs"
        return f"{shown}:\n{self._shown_tree(count)}>" if 0 < count <= _MOST_IN_REPR else f"{shown}>"

    # Notebooks and IPython call these two. The names of runs are escaped in HTML: they can be any text.

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001  IPython passes it by position
        printer.text(repr(self) if cycle else self._shown_tree(_MOST_SHOWN) or repr(self))

    def _repr_html_(self) -> str:
        from html import escape  # here, as few programs are notebooks

        return f"<pre>{escape(self._shown_tree(_MOST_SHOWN) or repr(self))}</pre>"

    def _shown_tree(self, most_lines: int) -> str:
        count = len(self)
        lines = islice(draw_tree(self.roots), most_lines)
        shown = [line if len(line) <= _MOST_CHARS else f"{line[:_MOST_CHARS]}..." for line in lines]
        others = count - len(shown)
        if others > 0:
            shown.append(f"... and {others} more runs")
        shown.extend(self._dropped_line())
        return "\n".join(shown)


def _parents_here(started: List[RunTree]) -> List[Optional[Identity]]:
    """
    Return the parent of each run. A parent that has ids only is replaced by the run of this recording with these ids.

    Such a parent comes from headers, or stands for a run far above: see `clew.runs._tree.identity.shorten_chain`.
    """
    parents = [run._identity.parent for run in started]
    if not any(isinstance(parent, (Remote, Ancestor)) for parent in parents):  # in most recordings: no ids are needed
        return parents
    here = {run.span_id: run._identity for run in started}

    def found(parent: Identity) -> Identity:
        same = here.get(parent.span_id)
        return parent if same is None or same.trace_hex() != parent.trace_hex() else same

    return [found(parent) if isinstance(parent, (Remote, Ancestor)) else parent for parent in parents]


def record(*, max_runs: int = MAX_RUNS, max_bytes: int = MAX_BYTES) -> Recording:
    """
    Return a `Recording`: ``with record() as runs:`` switches recording on and collects every run.

    Each of several overlapping blocks gets all runs. A run belongs to the recordings that are open when it
    starts; its end is recorded also after the block.

    A recording that is full drops its oldest traces as a whole. In a trace that is still open, it drops the oldest
    calls that have ended, with all below them. Open runs are never dropped. `Recording.dropped_runs` counts the dropped
    ones, and the tree says so.

    Args:
        max_runs: about how many runs to keep.
        max_bytes: about how many bytes these may take.

    Raises:
        ArgumentTypeError: a bound is not a whole number.
        ArgumentValueError: a bound is not positive.

    Context:
        *When*: nothing is captured; the block gets the runs of every thread, task and context of the
        process. *What the callee sees*: no change. *What comes back*: nothing. Thread-safe; a recording
        can be entered once.

    Example:
        >>> import clew
        >>> with clew.record() as runs:
        ...     with clew.trace("fetch"):
        ...         pass
        >>> print(runs.tree())
        fetch
    """
    return Recording(max_runs=check_bound(max_runs, "max_runs"), max_bytes=check_bound(max_bytes, "max_bytes"))
