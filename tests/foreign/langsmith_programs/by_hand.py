"""
Programs that make runs by hand, and change them, in ways that LangSmith's pages show or its signatures allow.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.foreign.langsmith_programs._programs import Programs

PROGRAMS = Programs()


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
