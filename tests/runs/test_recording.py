"""
`record()` collects the runs of a block; a `Recording` shows, searches and compares them.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Dict

import pytest

import clew
from clew import ContextThreadPoolExecutor
from clew.runs._tree.drawing import draw_tree
from clew.runs.stored import record_of, trees_of
from tests.edges._threads import DEADLINE


@clew.traceable
def parent() -> None:
    child("first")
    child("second")


@clew.traceable
def child(name: str) -> str:
    return name


def test_a_recording_is_read_as_a_tree_a_list_and_by_name() -> None:
    with clew.record() as runs:
        parent()
        child("alone")
    assert [run.name for run in runs.roots] == ["parent", "child"]
    assert [run.name for run in runs] == ["parent", "child", "child", "child"]
    assert len(runs) == 4
    assert runs.tree() == "parent\n├── child\n└── child\nchild"
    assert runs.find(name="parent").children == runs.find_all(name="child")[:2] or len(runs.find_all(name="child")) == 3
    assert [run.inputs["name"] for run in runs.find_all(name="child")] == ["first", "second", "alone"]
    assert runs.find_all(name="child", status="error") == ()
    assert repr(runs) == "<clew.Recording of 4 runs:\nparent\n├── child\n└── child\nchild>"
    assert repr(runs.roots[0]) == "<clew.Run 'parent' success, 2 children>"


class Printer:
    """A stand-in for the printer that IPython passes to `_repr_pretty_`."""

    def __init__(self) -> None:
        self.text_written = ""

    def text(self, text: str) -> None:
        self.text_written += text


def shown(runs: clew.Recording) -> str:
    printer = Printer()
    runs._repr_pretty_(printer, False)
    return printer.text_written


def test_notebook_shows_the_tree() -> None:
    with clew.record() as runs:
        with clew.trace("<script>alert('&')</script>"):
            child("inside")
        with pytest.raises(KeyError), clew.trace("fails"):
            raise KeyError
    tree = "<script>alert('&')</script>\n└── child\nfails [error]"
    assert shown(runs) == tree
    escaped = "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;\n└── child\nfails [error]"
    assert runs._repr_html_() == f"<pre>{escaped}</pre>"


def test_notebook_says_that_a_recording_is_empty() -> None:
    with clew.record() as runs:
        pass
    assert repr(runs) == "<clew.Recording of 0 runs>"
    assert shown(runs) == "<clew.Recording of 0 runs>"
    assert runs._repr_html_() == "<pre>&lt;clew.Recording of 0 runs&gt;</pre>"
    printer = Printer()
    runs._repr_pretty_(printer, True)
    assert printer.text_written == "<clew.Recording of 0 runs>"


def test_what_is_shown_of_a_recording_is_bounded() -> None:
    with clew.record() as runs:
        for _ in range(600):
            child("many")
    assert repr(runs) == "<clew.Recording of 600 runs>"
    for text in (shown(runs), runs._repr_html_()):
        assert text.count("child") == 500
        assert "... and 100 more runs" in text
    with clew.record() as runs, clew.trace("long" * 10_000):
        child("inside")
    for text in (repr(runs), shown(runs), runs._repr_html_()):
        assert len(text) < 300
        assert "long" in text
        assert "child" in text


def test_find_says_what_there_is_when_there_is_not_one() -> None:
    with clew.record() as runs:
        parent()
    with pytest.raises(clew.ClewError, match=r"expected one run with name='other', found 0; .*\nparent\n") as none:
        runs.find(name="other")
    assert isinstance(none.value, LookupError)
    with pytest.raises(LookupError, match="expected one run with name='child', found 2"):
        runs.find(name="child")
    with pytest.raises(LookupError, match=r"expected one run with anything, found 0.*\n\(no runs\)"):
        clew.record().find()


def test_runs_outside_the_block_are_not_recorded() -> None:
    parent()
    with clew.record() as runs:
        pass
    parent()
    assert len(runs) == 0
    assert runs.tree() == ""


def test_overlapping_recordings_each_get_everything() -> None:
    first, second = clew.record(), clew.record()
    with first:
        child("a")
        second.__enter__()
        child("b")
    child("c")
    second.__exit__(None, None, None)
    child("d")
    assert [run.inputs["name"] for run in first] == ["a", "b"]
    assert [run.inputs["name"] for run in second] == ["b", "c"]


def test_a_recording_sees_every_thread_and_context() -> None:
    meeting = threading.Barrier(4, timeout=DEADLINE)

    def job() -> None:
        meeting.wait()
        for _ in range(100):
            parent()

    with clew.record() as runs:
        threads = [threading.Thread(target=job) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert len(runs) == 4 * 100 * 3
    assert len(runs.roots) == 400
    assert all(len(run.children) == 2 for run in runs.roots)


def test_an_open_run_shows_as_pending_and_later_as_what_became_of_it() -> None:
    with clew.record() as runs:
        with clew.trace("slow"):
            child("done")
            assert runs.tree() == "slow [pending]\n└── child"
            assert runs.find(name="slow").end_time_ns is None
            runs.__exit__(None, None, None)
        assert runs.find(name="slow").status == "success"


def test_a_child_whose_parent_is_not_in_the_recording_is_a_root_of_it() -> None:
    with clew.record(), clew.trace("before"), clew.record() as runs:
        child("x")
    assert runs.tree() == "child"
    assert runs.roots[0].parent_id is not None


def headers_of(run_id: str) -> Dict[str, str]:
    return {"traceparent": f"00-{'4bf92f3577b34da6a3ce929d0e0e4736'}-{run_id[19:].replace('-', '')}-01"}


ID = "018f0000-0000-7000-8000-00000000000{}"


def test_run_that_came_to_itself_by_headers_is_a_root_and_has_its_children() -> None:
    with clew.record() as runs:
        child("before")
        with clew.trace("itself", parent=headers_of(ID.format(1)), run_id=ID.format(1)):
            parent()
    assert len(runs) == len(list(runs)) == 5
    runs.assert_tree("child\nitself\n  parent\n    child\n    child")
    stored = trees_of([record_of(run) for run in runs])
    assert "\n".join(draw_tree(stored)) == runs.tree()


def test_runs_that_are_each_others_parents_are_all_there() -> None:
    with clew.record() as runs:
        with clew.trace("first", parent=headers_of(ID.format(2)), run_id=ID.format(1)):
            child("x")
        with clew.trace("second", parent=headers_of(ID.format(1)), run_id=ID.format(2)):
            child("y")
    runs.assert_tree("first\n  child\n  second\n    child")
    stored = trees_of([record_of(run) for run in runs])
    assert "\n".join(draw_tree(stored)) == runs.tree()


def test_a_recording_is_for_one_block() -> None:
    runs = clew.record()
    with runs, pytest.raises(clew.ClewError, match=r"expected each record\(\) block to be entered once"):
        runs.__enter__()


def test_a_run_is_frozen() -> None:
    with clew.record() as runs:
        child("x")
    run: Any = runs.roots[0]
    with pytest.raises(AttributeError, match="read only, found 'status' set"):
        run.status = "error"
    with pytest.raises(AttributeError, match="read only, found 'name' set"):
        run.name = "other"
    with pytest.raises(AttributeError, match="read only, found 'inputs' deleted"):
        del run.inputs


def test_assert_tree_takes_any_indentation_and_any_order_of_siblings() -> None:
    with clew.record() as runs:
        with clew.trace("a"):
            with clew.trace("b"):
                parent()
            with clew.trace("c"):
                pass
        with clew.trace("d"), pytest.raises(ValueError, match="x"), clew.trace("e"):
            raise ValueError("x")
    runs.assert_tree(runs.tree())
    runs.assert_tree(
        """
        d
            e [error]

        a
            c
            b
                parent
                    child
                    child
        """
    )
    runs.assert_tree("a\n\tb\n\t\tparent\n\t\t\tchild\n\t\t\tchild\n\tc\nd\n\te [error]")


def test_assert_tree_takes_a_tree_however_deep() -> None:
    depth = sys.getrecursionlimit() + 50
    with clew.record() as runs:
        run = clew.RunTree("run")
        for _ in range(depth):
            run.post()
            run = run.create_child("run")
        run.create_child("left").post()
        run.create_child("right").post()
    text = runs.tree().replace(" [pending]", "")
    for run in runs._kept.runs:
        run.end()
    runs.assert_tree(text)
    lines = text.splitlines()
    runs.assert_tree("\n".join([*lines[:-2], lines[-1], lines[-2]]))
    with pytest.raises(AssertionError, match="expected another tree"):
        runs.assert_tree("\n".join(lines[:-1]))


def test_assert_tree_compares_what_is_under_siblings_of_one_name() -> None:
    with clew.record() as runs:
        for names in ("ab", "a", "ba", ""):
            with clew.trace("parent"):
                for name in names:
                    clew.RunTree(name, parent_run=clew.get_current_run_tree()).post()
    text = "parent\nparent\n  a [pending]\nparent\n  a [pending]\n  b [pending]\nparent\n  b [pending]\n  a [pending]"
    runs.assert_tree(text)
    with pytest.raises(AssertionError, match=r"\+  a .pending.") as caught:
        runs.assert_tree(text.replace("  a [pending]\n", "", 1))
    assert len(str(caught.value).splitlines()) == 13, "it differs in one line"


@pytest.mark.parametrize(
    "expected",
    [
        "parent\n  child",
        "parent\n  child\n    child",
        "parent\nchild\nchild",
        "parent\n  child\n  child\n  child",
        "",
        "other",
    ],
)
def test_assert_tree_says_what_is_different(expected: str) -> None:
    with clew.record() as runs:
        parent()
    with pytest.raises(AssertionError, match="expected another tree of runs") as caught:
        runs.assert_tree(expected)
    assert isinstance(caught.value, clew.ClewError)
    assert "+++ found" in str(caught.value)


def test_details_tell_duration_and_error() -> None:
    with clew.record() as runs, pytest.raises(ValueError, match="line"), clew.trace("two\nlines"):
        raise ValueError("first line\nlast line")
    line = runs.tree(details=True)
    assert line.startswith("two lines 0.") or " ms [error] " in line
    assert line.endswith("[error] last line")


def test_jobs_of_the_pool_are_one_tree_with_their_request() -> None:
    with clew.record() as runs, ContextThreadPoolExecutor(4) as pool, clew.trace("request"):
        list(pool.map(child, "abcdefgh"))
    runs.assert_tree("request\n" + "  child\n" * 8)
