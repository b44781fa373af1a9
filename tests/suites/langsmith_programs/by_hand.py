"""
Programs that make runs by hand, and change them, in ways that LangSmith's pages show or its signatures allow.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.suites.langsmith_programs._programs import Programs

PROGRAMS = Programs()
START = datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)
STAMP = "20240102T030405000006Z"


@PROGRAMS.add("""
    bot
      model
      stumble
""")
def tree_that_is_ended_before_it_is_posted(sdk: Any) -> None:
    bot = sdk.RunTree(name="bot", run_type="chain", inputs={"text": "hello"})
    asked = bot.create_child(name="model", run_type="llm", inputs={"prompts": ["hello"]})
    asked.end(outputs={"generations": ["hi"]})
    stumbled = bot.create_child(name="stumble", run_type="tool")
    stumbled.end(error="no tea")
    bot.end(outputs={"output": ["hi"]})
    for run in (bot, asked, stumbled):
        run.post()
    bot.patch()


@PROGRAMS.add("step")
def fields_that_are_set_before_a_run_is_posted(sdk: Any) -> None:
    run = sdk.RunTree(name="unnamed", inputs={"old": 1}, tags=["old"], extra={"metadata": {"old": 1}})
    run.name = "step"
    run.run_type = "tool"
    run.inputs = {"new": 2}
    run.tags = ["new"]
    run.tags += ["newer"]
    run.metadata["new"] = 2
    run.post()
    run.outputs = {"dropped": 3}
    run.outputs = {"kept": 3}
    run.end(outputs={"added": 4})
    run.patch()


@PROGRAMS.add("""
    around
      step
""")
def fields_that_are_set_inside_of_a_call(sdk: Any) -> None:
    @sdk.traceable(tags=["old"])
    def step(number: int) -> int:
        run = sdk.get_current_run_tree()
        run.tags = ["new"]
        run.tags += ["newer"]
        run.add_outputs({"dropped": 2})
        run.outputs = {"kept": 3}
        return number

    with sdk.trace("around") as run:
        step(1)
        run.outputs = {"all": 4}


@PROGRAMS.add("step")
def status_that_is_set(sdk: Any) -> None:
    with sdk.trace("step") as run, pytest.raises((AttributeError, ValueError)):
        run.status = "error"


@PROGRAMS.add("ask", since=10)
def tokens_that_are_set(sdk: Any) -> None:
    known = {"input_cost_details", "output_cost_details"}
    for of in ("tokens", "cost"):
        known |= {f"{which}_{of}" for which in ("input", "output", "total")}
    known |= {"input_token_details", "output_token_details"}

    @sdk.traceable(run_type="llm", metadata={"ls_provider": "shop"})
    def ask() -> str:
        run = sdk.get_current_run_tree()
        run.set(usage_metadata={key: {"text": 1} if key.endswith("details") else 1 for key in known})
        for usage in ({"input_token": 1}, {"total_token_details": {}}):
            with pytest.raises(ValueError):
                run.set(usage_metadata=usage)
        return "tea"

    ask()


@PROGRAMS.add("step\nstep", since=9)
def outputs_that_are_set_before_the_end(sdk: Any) -> None:
    with sdk.trace("step") as run:
        run.set(outputs={"kept": 1})
        run.end(outputs={"dropped": 2})
    with sdk.trace("step") as run:
        run.set(outputs={"kept": 1})
        run.add_outputs({"added": 2})


@PROGRAMS.add("""
    above
      below
      fails
""")
def times_that_are_given(sdk: Any) -> None:
    above = sdk.RunTree(name="above", run_type="llm", start_time=START)
    assert above.dotted_order.startswith(STAMP)
    # Over before it is posted, and never patched.
    below = above.create_child(
        "below",
        "tool",
        inputs={"n": 1},
        outputs={"n": 2},
        start_time=START + SECOND,
        end_time=START + 2 * SECOND,
        tags=["a"],
    )
    fails = above.create_child("fails", start_time=START, error="no tea")
    for run in (above, below, fails):
        run.post()
    assert (below.start_time, below.end_time) == (START + SECOND, START + 2 * SECOND)
    fails.end(end_time=START + 3 * SECOND)
    above.end(end_time=START + 4 * SECOND, events=[{"name": "new_token", "time": START + SECOND}])
    assert (fails.end_time, above.end_time) == (START + 3 * SECOND, START + 4 * SECOND)
    fails.patch()
    above.patch()
    assert above.end_time == START + 4 * SECOND


@PROGRAMS.add("by hand\nstep")
def times_without_a_zone(sdk: Any) -> None:
    run = sdk.RunTree(name="by hand", start_time=START.replace(tzinfo=None), outputs={"n": 1}, run_type="llm")
    assert run.dotted_order.startswith(STAMP)
    run.post()
    run.end(end_time=(START + SECOND).replace(tzinfo=None))
    run.patch()
    assert run.end_time.replace(tzinfo=timezone.utc) == START + SECOND
    with sdk.trace("step") as block:
        later = block.start_time + SECOND
        block.end(end_time=later, outputs={"n": 1})
    assert block.end_time == later


@PROGRAMS.add("above\n  below", since=10)
def child_that_starts_before_its_parent(sdk: Any) -> None:
    above = sdk.RunTree(name="above", start_time=START)
    below = above.create_child("below", start_time=START - SECOND)
    for run in (above, below):
        run.post()
        run.end()
        run.patch()
    assert below.start_time == START
    assert below.dotted_order.split(".")[1].startswith(STAMP)
    milliseconds = int(START.timestamp() * 1000)
    assert [run.id.int >> 80 for run in (above, below)] == [milliseconds] * 2


@PROGRAMS.add("again\npatched")
def end_of_a_run_that_was_made_as_one_that_is_over(sdk: Any) -> None:
    again = sdk.RunTree(name="again", start_time=START, end_time=START + SECOND)
    again.end(outputs={"n": 1})
    assert again.end_time > START + 2 * SECOND
    again.post()
    patched = sdk.RunTree(name="patched", start_time=START, end_time=START + SECOND)
    patched.patch()
    patched.post()
    assert patched.end_time == START + SECOND


@PROGRAMS.add("above\n  below")
def tree_that_is_posted_without_its_children(sdk: Any) -> None:
    above = sdk.RunTree(name="above")
    posted = above.create_child("below")
    posted.post()
    above.create_child("never posted").end()
    above.post(True)
    posted.end()
    posted.patch()
    above.patch()


@PROGRAMS.add("step", since=10)
def inputs_that_are_sent_again_or_not(sdk: Any) -> None:
    run = sdk.RunTree(name="step", inputs={"n": 1})
    run.post()
    run.patch(exclude_inputs=True)


@PROGRAMS.add("""
    block
    by hand
    call
    mended
""")
def errors_that_are_set(sdk: Any) -> None:
    @sdk.traceable
    def call() -> None:
        sdk.get_current_run_tree().error = "no tea"

    call()
    with sdk.trace("block") as run:
        run.error = "no tea"
    with sdk.trace("mended") as run:
        run.error = "no tea"
        run.error = None
    run = sdk.RunTree(name="by hand", error="no tea")
    assert run.error == "no tea"
    run.post()
    run.error = "no milk"
    run.end()
    run.patch()
    assert run.error == "no milk"
