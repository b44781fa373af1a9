"""
`traceable` on plain and coroutine functions: the tree is right, and the function does not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
import sys
import weakref
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any, Callable, Coroutine, Iterator

import pytest
import trio

import clew
from clew._shared.locks import RUNS_WITHOUT_GIL
from clew.runs._tree import hooks
from tests.edges._threads import DEADLINE, in_empty_context, is_gone

recipe_module = importlib.import_module("clew.runs._tree.recipe")

var: ContextVar[object] = ContextVar("var", default="default")


def step_through(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Drive a coroutine that never suspends, without any loop."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


@clew.traceable
def outer(depth: int) -> int:
    return inner(depth) if depth else 0


@clew.traceable(run_type="tool", name="the inner one")
def inner(depth: int) -> int:
    return outer(depth - 1)


def test_calls_nest_in_the_order_of_the_calls() -> None:
    with clew.record() as runs:
        assert outer(2) == 0
        assert outer(0) == 0
    assert runs.tree().splitlines() == [
        "outer",
        "└── the inner one",
        "    └── outer",
        "        └── the inner one",
        "            └── outer",
        "outer",
    ]


def test_a_run_has_ids_times_and_a_place_like_langsmiths() -> None:
    with clew.record() as runs:
        outer(1)
    root = runs.roots[0]
    child = root.children[0]
    assert root.trace_id == root.id == child.trace_id == child.parent_id
    assert root.parent_id is root.parent_span_id is None
    assert child.parent_span_id == root.span_id == f"{root.id.int & (1 << 64) - 1:016x}"
    assert root.id.version == 7
    assert root.id.int >> 80 == root.start_time_ns // 1_000_000
    assert root.end_time_ns is not None
    assert child.end_time_ns is not None
    assert root.start_time_ns <= child.start_time_ns <= child.end_time_ns <= root.end_time_ns
    first, second = child.dotted_order.split(".")
    assert first == root.dotted_order
    stamp, _, identifier = second.partition("Z")
    assert len(stamp) == len("20261121T101500000000")
    assert identifier == str(child.id)


def test_ids_are_made_at_first_need_and_stay() -> None:
    with clew.record() as runs:
        outer(1)
    identity = runs.roots[0]._identity
    assert not hasattr(identity, "_number")
    child = runs.roots[0].children[0]
    assert child.parent_id == runs.roots[0].id
    assert child.id == runs.roots[0].children[0].id


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "expected"),
    [
        (lambda a, b=2: None, (1,), {}, {"a": 1, "b": 2}),
        (lambda a, b=2: None, (), {"b": 3, "a": 1}, {"a": 1, "b": 3}),
        (lambda *args, **kwargs: None, (1, 2), {"k": 3}, {"args": [1, 2], "k": 3}),
        (lambda a, *rest, k=1, **more: None, (1, 2, 3), {"z": 4}, {"a": 1, "rest": [2, 3], "k": 1, "z": 4}),
        (lambda *, k: None, (), {"k": "v"}, {"k": "v"}),
        (lambda: None, (), {}, {}),
        (functools.partial(lambda a, b: None, 1), (2,), {}, {"b": 2}),
        (max, (1, 2), {}, {"args": [1, 2]}),
    ],
)
def test_inputs_have_the_names_of_the_parameters(fn: Any, args: Any, kwargs: Any, expected: Any) -> None:
    with clew.record() as runs:
        clew.traceable(name="call")(fn)(*args, **kwargs)
    assert runs.find(name="call").inputs == expected


def positional_only(a: int, /, b: int = 2, *, c: int = 3) -> None:
    pass


def test_inputs_of_positional_only_parameters() -> None:
    with clew.record() as runs:
        clew.traceable(positional_only)(1, c=4)
    assert runs.roots[0].inputs == {"a": 1, "b": 2, "c": 4}


class Service:
    @clew.traceable
    def method(self, word: str) -> str:
        return word.upper()

    @clew.traceable
    @classmethod
    def on_class(cls, word: str) -> str:
        return word.upper()

    @staticmethod
    @clew.traceable
    def static(word: str) -> str:
        return word.upper()

    def __call__(self, word: str) -> str:
        return word.upper()


@pytest.mark.parametrize(
    "call",
    [Service().method, Service.on_class, Service().static, clew.traceable(Service()), clew.traceable(Service().method)],
)
def test_methods_record_their_arguments_without_self(call: Callable[[str], str]) -> None:
    with clew.record() as runs:
        assert call("a") == "A"
    for run in runs:
        assert run.inputs == {"word": "a"}
        assert run.outputs == {"output": "A"}


def test_outputs_are_the_dict_returned_or_the_value_under_output() -> None:
    with clew.record() as runs:
        clew.traceable(name="dict")(lambda: {"a": 1})()
        clew.traceable(name="list")(lambda: [1, (2, 3)])()
        clew.traceable(name="none")(lambda: None)()
    assert runs.find(name="dict").outputs == {"a": 1}
    assert runs.find(name="list").outputs == {"output": [1, [2, 3]]}
    assert runs.find(name="none").outputs == {"output": None}


# transparency: the decorated function against the undecorated


def script(fn: Callable[..., Any]) -> list[Any]:
    """Call a function in several ways, and note all that a caller can see of it."""
    noted: list[Any] = []
    for args in ((1,), (0,), ("x",), (), (1, 2)):
        token = var.set("before")
        try:
            noted.append(fn(*args))
        except BaseException as error:
            frames = []
            traceback = error.__traceback__
            while traceback is not None:
                frames.append(traceback.tb_frame.f_code.co_name)
                traceback = traceback.tb_next
            noted.append((type(error), str(error), repr(error.__cause__), repr(error.__context__), frames))
        noted.append(var.get())
        var.reset(token)
    return noted


def body(number: Any) -> Any:
    var.set(f"set by {number}")
    try:
        return 10 / number
    except ZeroDivisionError as error:
        raise LookupError("no such thing") from error


async def async_body(number: Any) -> Any:
    return body(number)


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_a_traced_function_does_what_it_does_untraced(kind: str, recording: bool) -> None:
    def without_our_frame(noted: list[Any]) -> list[Any]:
        return [
            (*item[:4], [f for f in item[4] if not f.endswith("wrapper")]) if isinstance(item, tuple) else item
            for item in noted
        ]

    def driven(fn: Callable[..., Any]) -> Callable[..., Any]:
        def drive(*args: Any) -> Any:
            coroutine = fn(*args)
            try:
                coroutine.send(None)
            except StopIteration as stopped:
                return stopped.value

        return drive if kind == "coroutine" else fn

    fn = async_body if kind == "coroutine" else body
    traced: Any = clew.traceable(fn)
    bare = script(driven(fn))
    if recording:
        with clew.record() as runs:
            ours = script(driven(traced))
        assert [run.status for run in runs] == ["success", "error", "error", "error", "error"]
    else:
        ours = script(driven(traced))
    assert any(isinstance(item, tuple) and sum(f.endswith("wrapper") for f in item[4]) == 1 for item in ours)
    # A call with the wrong arguments names the function in its error, not the wrapper.
    assert without_our_frame(ours) == bare


def test_a_traced_function_keeps_name_signature_and_kind() -> None:
    traced, traced_async = clew.traceable(body), clew.traceable(async_body)
    assert inspect.signature(traced) == inspect.signature(body)
    assert inspect.isfunction(traced)
    assert inspect.iscoroutinefunction(traced_async)
    assert (traced.__name__, traced.__doc__, traced.__module__) == (body.__name__, body.__doc__, __name__)


def test_switched_off_there_is_no_current_run_and_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("made a run")

    monkeypatch.setattr(recipe_module, "open_run", refuse)
    assert clew.traceable(lambda: clew.get_current_run_tree())() is None


# errors and cancellation


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_is_recorded_where_it_was_raised(kind: type[BaseException]) -> None:
    @clew.traceable
    def fails() -> None:
        raise kind("the reason")

    with clew.record() as runs, pytest.raises(kind):
        fails()
    run = runs.find(name="fails")
    assert (run.status, run.outputs) == ("error", None)
    assert run.error is not None
    lines = run.error.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert ", in fails" in lines[1]  # the first frame told is the function's own
    assert lines[2].strip() == 'raise kind("the reason")'
    assert lines[-1] == f"{kind.__name__}: the reason"


def test_an_exception_that_cannot_be_printed_is_still_an_error() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @clew.traceable
    def fails() -> None:
        raise Unprintable

    with clew.record() as runs, pytest.raises(Unprintable):
        fails()
    assert runs.find(name="fails").status == "error"


def test_a_coroutine_cancelled_by_asyncio_is_cancelled_once() -> None:
    @clew.traceable
    async def waits() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.ensure_future(waits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with clew.record() as runs:
        asyncio.run(main())
    assert [run.status for run in runs] == ["cancelled"]


def test_a_coroutine_cancelled_by_trio_is_cancelled() -> None:
    @clew.traceable
    async def waits() -> None:
        await trio.sleep_forever()

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await waits()

    with clew.record() as runs:
        trio.run(main)
    assert [run.status for run in runs] == ["cancelled"]


def test_a_coroutine_closed_by_hand_is_cancelled_and_one_never_awaited_is_no_run() -> None:
    class Suspend:
        def __await__(self) -> Iterator[None]:
            yield

    @clew.traceable
    async def waits() -> None:
        await Suspend()

    with clew.record() as runs:
        coroutine = waits()
        coroutine.send(None)
        coroutine.close()
        never = waits()
        never.close()
    assert [run.status for run in runs] == ["cancelled"]


def test_concurrent_tasks_nest_under_their_own_parents() -> None:
    @clew.traceable
    async def child(name: str) -> None:
        await asyncio.sleep(0)

    async def request(name: str) -> None:
        with clew.trace(f"request {name}"):
            await asyncio.gather(child(name), child(name))

    async def main() -> None:
        await asyncio.gather(*(request(name) for name in "abc"))

    with clew.record() as runs:
        asyncio.run(main())
    runs.assert_tree("".join(f"request {name}\n  child\n  child\n" for name in "abc"))


def test_a_coroutine_stepped_in_changing_contexts_ends_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    class Suspend:
        def __await__(self) -> Iterator[None]:
            yield

    @clew.traceable
    async def moves() -> str:
        await Suspend()
        return "done"

    with clew.record() as runs:
        coroutine = moves()
        copy_context().run(coroutine.send, None)
        before = clew.stats().get("blocks_left_in_another_context", 0)
        with pytest.raises(StopIteration, match="done"):
            copy_context().run(coroutine.send, None)
    assert runs.find(name="moves").status == "success"
    assert clew.stats()["blocks_left_in_another_context"] == before + 1


def test_a_traced_coroutine_takes_no_more_turns_of_the_loop() -> None:
    def turns(fn: Any) -> int:
        counted = 0

        async def main() -> None:
            nonlocal counted
            task = asyncio.ensure_future(fn())
            while not task.done():
                counted += 1
                await asyncio.sleep(0)

        asyncio.run(main())
        return counted

    async def work() -> object:
        for _ in range(5):
            await asyncio.sleep(0)
        return asyncio.current_task()

    with clew.record():
        assert turns(clew.traceable(work)) == turns(work)


def test_a_coroutine_that_fails_in_another_context_fails_with_its_own_error() -> None:
    class Suspend:
        def __await__(self) -> Iterator[None]:
            yield

    @clew.traceable
    async def moves() -> None:
        await Suspend()
        raise LookupError("its own")

    with clew.record() as runs:
        coroutine = moves()
        copy_context().run(coroutine.send, None)
        with pytest.raises(LookupError, match="its own"):
            copy_context().run(coroutine.send, None)
    assert runs.find(name="moves").status == "error"


def test_outputs_that_a_function_ends_its_own_run_with_stay_beside_the_return_value() -> None:
    @clew.traceable
    def early() -> str:
        run = clew.get_current_run_tree()
        assert run is not None
        run.add_outputs({"partial": 1})
        run.end(outputs={"answer": 42})
        return "text"

    with clew.record() as runs:
        assert early() == "text"
    assert runs.roots[0].outputs == {"partial": 1, "answer": 42, "output": "text"}


def test_function_and_block_end_their_runs_themselves() -> None:
    @clew.traceable
    def fails() -> None:
        run = clew.get_current_run_tree()
        assert run is not None
        run.end(outputs={"answer": 42})
        raise KeyError("here")

    with clew.record() as runs:
        with pytest.raises(KeyError):
            fails()
        with clew.trace("told") as run:
            run.end(error="it was no good", metadata={"k": 1})
            run.add_tags("late")
        with pytest.raises(LookupError), clew.trace("handled", exceptions_to_handle=(LookupError,)):
            raise LookupError
    assert [(run.name, run.status) for run in runs] == [("fails", "error"), ("told", "error"), ("handled", "success")]
    told = runs.find(name="told")
    assert (told.error, told.tags, told.metadata) == ("it was no good", ("late",), {"k": 1})


def test_outputs_that_were_added_stay_beside_the_return_value() -> None:
    @clew.traceable
    def adds() -> str:
        run = clew.get_current_run_tree()
        assert run is not None
        run.add_outputs({"usage": 7})
        return "text"

    with clew.record() as runs:
        adds()
    assert runs.roots[0].outputs == {"usage": 7, "output": "text"}


# options and bad input


def test_tags_metadata_and_project_are_handed_down_and_overlaid() -> None:
    @clew.traceable(tags=["b", "c"], metadata={"k": 2, "l": 3})
    def child() -> None:
        pass

    with clew.record() as runs, clew.trace("top", tags=["a", "b"], metadata={"k": 1}, project_name="p"):
        child()
    run = runs.find(name="child")
    assert run.tags == ("a", "b", "c")
    assert run.metadata == {"k": 2, "l": 3}
    assert run.project_name == "p"
    assert runs.find(name="top").metadata == {"k": 1}


def test_process_inputs_and_outputs_have_the_last_word() -> None:
    @clew.traceable(
        process_inputs=lambda inputs: {"n": len(inputs["secret"])},
        process_outputs=lambda out: {"t": type(out).__name__},
    )
    def login(secret: str) -> str:
        return secret

    with clew.record() as runs:
        assert login("hunter2") == "hunter2"
    run = runs.find(name="login")
    assert (run.inputs, run.outputs) == ({"n": 7}, {"t": "str"})


def test_a_redaction_that_fails_lets_nothing_through(caplog: pytest.LogCaptureFixture) -> None:
    @clew.traceable(process_inputs=lambda inputs: 1 / 0, process_outputs=lambda out: ["no", "dict"])
    def login(secret: str) -> str:
        return secret

    before = clew.stats().get("payloads_dropped", 0)
    with clew.record() as runs:
        assert login("hunter2") == "hunter2"
    run = runs.find(name="login")
    assert "hunter2" not in repr((run.inputs, run.outputs))
    assert run.inputs == {"clew.dropped": "process_inputs raised ZeroDivisionError"}
    assert run.outputs == {"clew.dropped": "process_outputs raised ValueError"}
    assert clew.stats()["payloads_dropped"] == before + 2


def test_a_recorder_that_breaks_does_not_break_the_function(caplog: pytest.LogCaptureFixture) -> None:
    def broken(run: object) -> None:
        raise RuntimeError("recorder")

    hooks.add_start_hook(broken)
    try:
        assert outer(1) == 0
    finally:
        hooks.remove_start_hook(broken)
    assert clew.stats()["calls_not_recorded"] >= 2


def test_traceable_refuses_what_it_cannot_trace() -> None:
    thing: Any = 5
    with pytest.raises(
        clew.ClewError, match="expected a function to trace, or a run_type as a string, got int 5"
    ) as caught:
        clew.traceable(thing)
    assert isinstance(caught.value, TypeError)


def test_traceable_refuses_a_string_of_tags_and_unknown_options() -> None:
    with pytest.raises(TypeError, match=r"expected a list of tags, got the string 'a'; pass \['a'\]"):
        clew.traceable(tags="a")(body)
    with pytest.raises(TypeError, match="colour"):
        clew.traceable(colour="red")  # type: ignore[call-overload]


# lifetimes


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fails", [False, True])
def test_after_a_run_its_context_leads_to_no_payload(fails: bool) -> None:
    kept: list[clew.Snapshot] = []

    @clew.traceable
    def job(value: object) -> object:
        kept.append(clew.capture())
        if fails:
            raise ValueError
        return value

    def scenario() -> list[weakref.ref[Any]]:
        with clew.record() as runs:
            with contextlib.suppress(ValueError):
                job([1, 2, 3])
            return [weakref.ref(run) for run in runs._kept.runs]

    references = in_empty_context(scenario)
    assert [is_gone(reference) for reference in references] == [True]
    # And still, whoever uses that context nests under the run.
    with clew.record() as runs:
        kept[0].run(outer, 0)
        run = kept[0].run(clew.get_current_run_tree)
    assert run is not None
    assert run.name == "job"
    assert runs.find(name="outer").parent_id == run.id


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="needs sys.getsizeof, which PyPy has not")
@pytest.mark.usefixtures("settings_as_they_were")
def test_a_finished_run_that_only_a_context_refers_to_is_small(tmp_path: Path) -> None:
    kept = []

    @clew.traceable
    def job() -> None:
        kept.append(clew.get_current_run_tree()._identity)

    path = tmp_path / "runs.jsonl"
    clew.configure(exporter=f"jsonl:{path}")
    try:
        with clew.trace("outer"):
            job()
    finally:
        assert clew.shutdown(DEADLINE)
    (identity,) = kept
    for each in (identity, identity.parent):
        assert not hasattr(each, "live")
        assert each.id_text() in path.read_text(encoding="utf-8")
        own = [each, each.start_time_ns, each._id_text, *filter(None, [each._order])]
        # With the collector's own head. Without a GIL, the head of every object has 16 bytes more, and no such part.
        assert sum(map(sys.getsizeof, own)) <= 250 + RUNS_WITHOUT_GIL * 16 * len(own)


def test_recursion_as_deep_as_the_stack_allows_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    def deep() -> list[int]:
        reached = []

        @clew.traceable
        def down(depth: int) -> None:
            reached.append(depth)
            down(depth + 1)

        with clew.record() as runs, pytest.raises(RecursionError):
            down(0)
        # One call more may have been recorded than could be made.
        assert len(runs) <= len(reached) + 1
        assert len(runs.tree().splitlines()) == len(runs)
        return reached

    assert in_empty_context(deep)[-1] > 100


def test_an_error_from_far_down_is_told_with_its_innermost_frames() -> None:
    def down(depth: int) -> None:
        if not depth:
            raise ValueError("the reason")
        down(depth - 1)

    with clew.record() as runs, pytest.raises(ValueError, match="the reason"):
        clew.traceable(down)(200)
    error = runs.roots[0].error
    assert error is not None
    assert error.startswith("<cut: 151 outer frames>\n")
    assert error.rstrip().endswith("ValueError: the reason")
