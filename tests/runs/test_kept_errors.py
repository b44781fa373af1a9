"""
The status and the text that a run gets from an exception, even if the methods of the exception fail.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import json
import linecache
import pickle
import sys
import textwrap
import threading
import traceback
import weakref
import zipfile
from typing import TYPE_CHECKING, Any, Callable
from unittest.mock import MagicMock

import pytest

import clew
from clew._shared.locks import RUNS_WITHOUT_GIL
from clew.runs._tree import hooks
from clew.runs._tree.kept import errors as failures
from clew.runs._tree.kept.copier import MAX_STRING_CHARS
from clew.runs._tree.kept.errors import describe_error, text_of
from clew.runs._tree.kept.status import status_of

if TYPE_CHECKING:
    from pathlib import Path

if sys.version_info >= (3, 11):
    Group: Any = BaseExceptionGroup  # noqa: F821  3.11's
else:
    from exceptiongroup import BaseExceptionGroup as Group


def nested(error: BaseException, depth: int) -> BaseException:
    for _ in range(depth):
        error = Group("group", [error])
    return error


def with_members(members: Any) -> BaseException:
    kind = type("Odd", (Group,), {"exceptions": property(members)})
    odd: BaseException = kind("odd", [ValueError()])
    return odd


def raises(_: object) -> Any:
    raise ValueError


# status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError(), "error"),
        (KeyboardInterrupt(), "error"),
        (concurrent.futures.CancelledError(), "error"),
        (GeneratorExit(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (nested(asyncio.CancelledError(), 2000), "cancelled"),
        (nested(ValueError(), 2000), "error"),
        (Group("group", [nested(asyncio.CancelledError(), 3), GeneratorExit()]), "cancelled"),
        (Group("group", [nested(asyncio.CancelledError(), 3), ValueError()]), "error"),
        (with_members(lambda self: ()), "error"),
        (with_members(lambda self: None), "error"),
        (with_members(lambda self: 5), "error"),
        (with_members(lambda self: ["no exception"]), "error"),
        (with_members(lambda self: [self, GeneratorExit()]), "cancelled"),
        (with_members(lambda self: [type(self)("again", [ValueError()])]), "error"),
        (with_members(raises), "error"),
    ],
)
def test_status_tells_cancellations_from_errors(error: BaseException, status: str) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("library", ["asyncio", "trio", "exceptiongroup"])
@pytest.mark.parametrize("stub", [MagicMock(), None, object()])
def test_status_is_right_beside_a_stub_of_a_library(monkeypatch: Any, library: str, stub: object) -> None:
    @clew.traceable
    def fails() -> None:
        raise KeyError("the program's own")

    monkeypatch.setitem(sys.modules, library, stub)
    with clew.record() as runs, pytest.raises(KeyError, match="own"):
        fails()
    assert runs.find(name="fails").status == "error"


# the end of the run


@pytest.mark.parametrize("failure", [RecursionError(), ValueError()], ids=repr)
def test_what_fails_at_the_end_does_not_stand_in_for_the_programs_exception(
    monkeypatch: Any, failure: Exception
) -> None:
    def describe(error: BaseException, traceback: object) -> Any:
        raise failure

    @clew.traceable
    def fails() -> None:
        raise KeyError("the program's own")

    monkeypatch.setattr("clew.runs._tree.live_run.recorded_error", describe)
    counted = clew.stats().get("end_hooks_failed", 0)
    with clew.record() as runs, pytest.raises(KeyError, match="own"):
        fails()
    assert clew.stats().get("end_hooks_failed", 0) == counted + isinstance(failure, ValueError)
    run = runs.find(name="fails")
    assert (run.status, run.error) == ("error", None)
    assert run.end_time_ns is not None
    assert clew.get_current_run_tree() is None


def test_an_end_hook_that_fails_does_not_stand_in_for_the_programs_exception() -> None:
    def hook(run: clew.RunTree) -> None:
        raise ValueError("of the hook")

    hooks.add_end_hook(hook)
    try:
        with clew.record() as runs, pytest.raises(KeyError, match="own"), clew.trace("fails"):
            raise KeyError("the program's own")
    finally:
        hooks.remove_end_hook(hook)
    run = runs.find(name="fails")
    assert run.status == "error"
    assert run.error is not None
    assert run.error.rstrip().endswith('KeyError: "the program\'s own"')


# text


def plain() -> None:
    raise ValueError("the reason")


def with_a_cause() -> None:
    try:
        plain()
    except ValueError as error:
        raise LookupError("no such thing") from error


def with_a_context() -> None:
    try:
        with_a_cause()
    except LookupError:
        raise KeyError("another")  # noqa: B904  the test needs an implicit context


def with_a_context_that_is_hidden() -> None:
    try:
        plain()
    except ValueError:
        raise LookupError("no such thing") from None


def with_a_ring_of_contexts() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    raise one


def with_a_long_chain() -> None:
    error = None
    for number in range(100):
        try:
            down(10)
        except ValueError as caught:
            caught.__cause__ = error
            caught.args = (number,)
            error = caught
    assert error is not None
    raise error


def down(depth: int) -> None:
    if not depth:
        raise ValueError("the reason")
    down(depth - 1)


def down_in_turns(depth: int) -> None:
    (down_in_turns if depth else plain)(*([depth - 1] if depth else []))  # fmt: skip


def over_several_lines() -> None:
    textwrap.indent(
        "text",
        prefix=5 + 5,  # type: ignore[arg-type]
    )


def in_a_group() -> None:
    errors = []
    # Before 3.11, the first releases of the backport of groups print all frames of the members.
    depth = 60 if sys.version_info >= (3, 11) else 10
    for fails in (plain, with_a_cause, lambda: down(depth)):
        try:
            fails()
        except Exception as error:
            errors.append(error)
    try:
        raise Group("inner", errors)
    except Group as inner:
        raise Group("outer", [inner, KeyError("never raised"), *[ValueError(n) for n in range(20)]]) from errors[0]


def in_a_deep_group() -> None:
    raise nested(ValueError("far down"), 2000)


def with_notes() -> None:
    error = ValueError("two\nlines")
    error.__notes__ = ["a note\nof two lines", 5]  # type: ignore[attr-defined,unused-ignore]
    raise error


def with_odd_notes() -> None:
    error = ValueError()
    error.__notes__ = 5  # type: ignore[attr-defined,unused-ignore]
    raise error


def a_wrong_name() -> None:
    reason = 5
    print(raeson, reason)  # type: ignore[name-defined]  # noqa: F821


def a_wrong_attribute() -> None:
    [].apend(1)  # type: ignore[attr-defined]


def a_wrong_import() -> None:
    from json import lods  # type: ignore[attr-defined]  # noqa: F401


def a_syntax_error() -> None:
    compile("a = (1,\nb b", "no such file", "exec")


def in_compiled_text() -> None:
    exec("def f():\n    return 1 / 0\nf()")


def in_a_comprehension_of_a_lambda() -> None:
    max([3, 2, 1], key=lambda number: [1 / (number - 1) for _ in range(3)])


def in_a_generator_that_has_not_begun() -> None:
    (number for number in range(3)).throw(ValueError("thrown"))


def unprintable() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise Unprintable


def of_a_local_class() -> None:
    class Local(Exception):
        pass

    raise Local("a surrogate: \ud800")


def long() -> None:
    raise ValueError("x" * 100_000)


FAILING = [
    plain,
    with_a_cause,
    with_a_context,
    with_a_context_that_is_hidden,
    *([with_a_ring_of_contexts] if sys.version_info >= (3, 9) else []),  # 3.8 itself never ends on this one
    with_a_long_chain,
    lambda: down(20),
    lambda: down(48),
    lambda: down(200),
    lambda: down_in_turns(200),
    over_several_lines,
    in_a_group,
    in_a_deep_group,
    with_notes,
    with_odd_notes,
    a_wrong_name,
    a_wrong_attribute,
    a_wrong_import,
    a_syntax_error,
    in_compiled_text,
    in_a_comprehension_of_a_lambda,
    in_a_generator_that_has_not_begun,
    unprintable,
    of_a_local_class,
    long,
]


def as_python_prints(error: BaseException, tb: Any) -> str:
    left_out = len(list(traceback.walk_tb(tb))) - failures.MAX_FRAMES
    head = f"<cut: {left_out} outer frames>\n" if left_out > 0 else ""
    text = head + "".join(traceback.format_exception(type(error), error, tb, limit=-failures.MAX_FRAMES))
    if len(text) <= MAX_STRING_CHARS:
        return text
    return f"{text[:MAX_STRING_CHARS]}... <cut: {len(text)} characters>"


@pytest.mark.parametrize("fails", FAILING)
def test_text_is_what_python_prints(fails: Callable[[], None]) -> None:
    with pytest.raises(BaseException) as caught:
        fails()
    error, tb = caught.value, caught.tb
    for each in (tb, tb.tb_next, None):
        expected = as_python_prints(error, each)
        assert text_of(describe_error(error, each)) == expected
        assert text_of(describe_error(error, each)) == expected  # the second time from the cache


def test_text_has_the_source_as_it_is_now(tmp_path: Path) -> None:
    for source in ("1 / 0  # first", "1 / 0  # then so"):
        path = tmp_path / "module.py"
        path.write_text(source)
        with pytest.raises(ZeroDivisionError) as caught:
            exec(compile(source, str(path), "exec"))
        text = text_of(describe_error(caught.value, caught.tb))
        assert source in str(text)
        assert text == as_python_prints(caught.value, caught.tb)


def test_text_has_the_source_out_of_an_archive(tmp_path: Path, monkeypatch: Any) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("module_of_an_archive.py", "def fail():\n    1 / 0  # in an archive\n")
    monkeypatch.syspath_prepend(str(tmp_path / "archive.zip"))
    import module_of_an_archive

    linecache.clearcache()
    with clew.record() as runs, pytest.raises(ZeroDivisionError), clew.trace("fails"):
        module_of_an_archive.fail()
    assert "1 / 0  # in an archive" in str(runs.roots[0].error)


def test_source_is_not_read_until_the_error_is(monkeypatch: Any) -> None:
    def refuse(*_: object) -> Any:
        raise AssertionError

    with monkeypatch.context() as patch:
        for name in ("checkcache", "getline", "getlines", "updatecache"):
            patch.setattr(linecache, name, refuse)
        with clew.record() as runs, pytest.raises(LookupError), clew.trace("fails"):
            with_a_cause()
        read = runs.roots[0]
    assert 'raise LookupError("no such thing") from error' in str(read.error)


def test_what_the_exception_says_is_taken_when_it_was_raised() -> None:
    with clew.record() as runs:
        try:
            with clew.trace("fails"):
                error = ValueError("before")
                error.__notes__ = ["noted"]  # type: ignore[attr-defined,unused-ignore]
                raise error
        except ValueError as caught:
            caught.args = ("after",)
            caught.__cause__ = KeyError()
            caught.__notes__.append("late")  # type: ignore[attr-defined,unused-ignore]
            caught.__traceback__ = None
    text = str(runs.roots[0].error)
    assert "ValueError: before\n" in text
    assert "raise error" in text
    assert not any(late in text for late in ("after", "late", "KeyError"))


def test_error_that_nobody_has_read_keeps_nothing_of_the_failure_alive() -> None:
    class Local:
        pass

    gone = []

    def fails() -> None:
        local = Local()

        class Failure(Exception):
            def __str__(self) -> str:
                return type(local).__name__

        try:
            raise Failure
        except Failure as cause:
            error = Failure()
            gone.extend(weakref.ref(each) for each in (local, Failure, cause, error))
            raise error from cause

    with clew.record() as runs:
        with contextlib.suppress(Exception), clew.trace("fails"):
            fails()
        read = runs.roots[0]
    gc.collect()
    if RUNS_WITHOUT_GIL and sys.version_info < (3, 14):  # there, classes live forever once a thread was started
        gone = gone[2:]
    assert [reference() for reference in gone] == [None] * len(gone)
    assert str(read.error).rstrip().endswith("Failure: Local")


def test_no_more_frames_are_looked_at_than_are_told() -> None:
    with pytest.raises(ValueError, match="the reason") as caught:
        down(500)
    error = describe_error(caught.value, caught.tb)
    assert isinstance(error, failures.ErrorText)
    assert error._parts is not None
    assert [len(part.frames) for part in error._parts if not isinstance(part, str)] == [failures.MAX_FRAMES]


def test_what_will_be_cut_is_not_kept() -> None:
    for fails in (long, with_a_long_chain):
        with pytest.raises(ValueError) as caught:
            fails()
        error = describe_error(caught.value, caught.tb)
        assert isinstance(error, failures.ErrorText)
        assert error._parts is None
        assert len(error._text) < MAX_STRING_CHARS + 100


def test_error_is_text_to_whoever_reads_it() -> None:
    with clew.record() as runs:
        with pytest.raises(ValueError, match="the reason"), clew.trace("fails") as run:
            plain()
        assert pickle.loads(pickle.dumps(run._error)) == run.error
        assert type(pickle.loads(pickle.dumps(run._error))) is str
        assert type(run.error) is type(runs.roots[0].error) is str
        assert json.loads(runs.to_json())[0]["error"] == run.error
    assert run.error is runs.roots[0].error  # formatted once


def test_error_can_be_read_by_several_threads_at_once() -> None:
    with clew.record() as runs, pytest.raises(ValueError, match="the reason"), clew.trace("fails"):
        down(60)
    run = runs.roots[0]
    barrier = threading.Barrier(4)
    read = []

    def look() -> None:
        barrier.wait(10)
        read.append(run.error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(read) == 4
    assert len(set(read)) == 1
    assert str(read[0]).endswith("ValueError: the reason\n")


def test_source_that_cannot_be_read_does_not_stand_in_the_way(monkeypatch: Any) -> None:
    def refuse(*_: object) -> Any:
        raise OSError

    with clew.record() as runs, pytest.raises(ValueError, match="the reason"), clew.trace("fails"):
        plain()
    with monkeypatch.context() as patch:
        patch.setattr(linecache, "checkcache", refuse)
        assert runs.roots[0].error == "<ValueError that cannot be formatted: OSError>"
    assert str(runs.roots[0].error).endswith("ValueError: the reason\n")


class Item:
    asked = 0

    def __repr__(self) -> str:
        Item.asked += 1
        return "item"


def many() -> list[Item]:
    return [Item() for _ in range(200_000)]


def caused_by(cause: BaseException) -> BaseException:
    error = ValueError("outer")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError(many()),
        lambda: ValueError(*many()),
        lambda: KeyError(many()),
        lambda: caused_by(ValueError(many())),
        lambda: Group("group", [ValueError(many())]),
    ],
)
def test_message_of_large_arguments_is_made_up_to_its_bound(make: Callable[[], BaseException]) -> None:
    error = make()
    Item.asked = 0
    text = text_of(describe_error(error, None)) or ""
    assert Item.asked <= MAX_STRING_CHARS
    assert "<cut: more than " in text or sys.version_info < (
        3,
        11,
    )  # which prints groups only by a hook of the backport
    assert len(text) < MAX_STRING_CHARS


def test_no_more_exceptions_are_formatted_than_are_told() -> None:
    class Counted(Exception):
        asked = 0

        def __str__(self) -> str:
            Counted.asked += 1
            return "counted"

    error: BaseException = Counted()
    for _ in range(50_000):
        outer = Counted()
        outer.__context__ = error
        error = outer
    text = text_of(describe_error(error, None)) or ""
    assert Counted.asked <= failures.MAX_EXCEPTIONS + 1
    assert text.count("Counted: counted") == failures.MAX_EXCEPTIONS + 1
    assert text.startswith("Exception: <cut: more exceptions>\n")
    Counted.asked = 0
    describe_error(Group("group", [Counted() for _ in range(50_000)]), None)
    assert Counted.asked <= failures.MAX_EXCEPTIONS


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python prints notes from 3.11 on")
def test_notes_are_cut_with_a_marker() -> None:
    error = ValueError("noted")
    error.__notes__ = [f"note {number}" for number in range(10_000)]  # type: ignore[attr-defined,unused-ignore]
    text = text_of(describe_error(error, None)) or ""
    assert text.endswith(f"note {failures.MAX_EXCEPTIONS - 1}\n<cut: 10000 notes>\n")
