"""
The programs of LangSmith's pages on what runs are told: ids, metadata and tags, masks, conditions, errors, tokens.
"""

from __future__ import annotations

import asyncio
import functools
import uuid
from typing import Any, Dict, List

import pytest

from tests.suites.langsmith_programs._programs import GENERATION, Programs, model

PROGRAMS = Programs()
MESSAGES = [{"role": "user", "content": "which tea is green?"}]


@PROGRAMS.add("known before")
def id_of_the_callers_choice(sdk: Any) -> None:
    @sdk.traceable(name="known before")
    def step() -> Any:
        return sdk.get_current_run_tree().id.hex

    run_id = uuid.UUID("018f3e7f-97f7-74c5-a9b6-8d3f7e8e2f11")
    assert step(langsmith_extra={"run_id": run_id}) == run_id.hex


@PROGRAMS.add("known before")
def id_of_a_block_of_the_callers_choice(sdk: Any) -> None:
    run_id = uuid.UUID("018f3e7f-97f7-74c5-a9b6-8d3f7e8e2f11")
    with sdk.trace("known before", run_id=run_id) as run:
        assert run.id == run_id
        run.end(outputs={"answer": 42})


@PROGRAMS.add("""
    answer
      ask
""")
def function_that_asks_which_run_it_is(sdk: Any) -> None:
    found = {}

    @sdk.traceable
    def ask() -> None:
        run = sdk.get_current_run_tree()
        found["ask"] = run.id, run.trace_id

    @sdk.traceable
    def answer() -> None:
        run = sdk.get_current_run_tree()
        found["answer"] = run.id, run.trace_id
        ask()

    answer()
    assert found["answer"][0] == found["answer"][1] == found["ask"][1] != found["ask"][0]


# What it asks for is an input.
@PROGRAMS.add(
    """
    answer
      ask
    """,
    differs=("inputs",),
)
def function_that_asks_whose_child_it_is(sdk: Any) -> None:
    @sdk.traceable
    def ask(parent: str) -> None:
        assert str(sdk.get_current_run_tree().parent_run_id) == parent

    @sdk.traceable
    def answer() -> None:
        ask(str(sdk.get_current_run_tree().id))

    answer()


@PROGRAMS.add("step")
def parameter_that_is_filled_in(sdk: Any) -> None:
    @sdk.traceable
    def step(number: int, run_tree: sdk.RunTree) -> str:
        assert isinstance(run_tree, sdk.RunTree)
        return str(run_tree.name)

    assert step(1) == "step"


@PROGRAMS.add("""
    ask
    ask
    ask by block
""")
def metadata_and_tags_of_all_kinds(sdk: Any) -> None:
    @sdk.traceable(run_type="llm", name="ask", tags=["static"], metadata={"static": 1})
    def ask(messages: List[Dict[str, str]]) -> Dict[str, Any]:
        run = sdk.get_current_run_tree()
        run.add_metadata({"inside": 2})
        run.add_tags(["inside"])
        return model(messages)

    ask(MESSAGES, langsmith_extra={"tags": ["call"], "metadata": {"call": 3}})
    with sdk.tracing_context(metadata={"around": 4}, tags=["around"]):
        ask(MESSAGES)
    with sdk.trace(
        name="ask by block", run_type="llm", inputs={"messages": MESSAGES}, tags=["block"], metadata={"block": 5}
    ) as run:
        run.add_metadata({"inside": 6})
        run.end(outputs={"output": model(MESSAGES)})


@PROGRAMS.add(
    """
    ask
      look it up
    """,
    differs=("metadata",),
)
def metadata_and_tags_set_in_place(sdk: Any) -> None:
    @sdk.traceable
    def ask() -> None:
        run = sdk.get_current_run_tree()
        run.metadata["seen"] = "yes"
        run.tags.extend(["inside"])
        with sdk.trace("look it up") as block:
            block.metadata["found"] = 1

    ask()


@PROGRAMS.add("""
    outside
      inside
""")
def metadata_and_tags_of_what_is_around(sdk: Any) -> None:
    @sdk.traceable(tags=["inner"], metadata={"inner": 1})
    def inside() -> None:
        pass

    @sdk.traceable(tags=["outer"], metadata={"outer": 2})
    def outside() -> None:
        inside()

    outside()


# LangSmith has the decorator go before what is around, and that before the call.
@PROGRAMS.add(
    """
    outside
      inside
    """,
    differs=("metadata",),
)
def metadata_of_one_key_from_three_places(sdk: Any) -> None:
    @sdk.traceable(metadata={"from": "decorator"})
    def inside() -> None:
        pass

    @sdk.traceable(metadata={"from": "around"})
    def outside() -> None:
        inside(langsmith_extra={"metadata": {"from": "call"}})

    outside()


# In LangSmith, a block sets back what it does not name.
@PROGRAMS.add("step", differs=("tags", "metadata", "project"))
def contexts_in_one_another(sdk: Any) -> None:
    @sdk.traceable
    def step() -> None:
        pass

    with sdk.tracing_context(tags=["outer"], metadata={"outer": 1}, project_name="shop"), sdk.tracing_context(
        metadata={"inner": 2}
    ):
        step()


@PROGRAMS.add("""
    length
    length later
""")
def inputs_and_outputs_that_are_masked(sdk: Any) -> None:
    def masked(inputs: Dict[str, Any]) -> Dict[str, Any]:
        return {"chars": len(inputs["secret"])}

    def told(output: Any) -> Dict[str, Any]:
        return {"told": str(output)}

    @sdk.traceable(process_inputs=masked, process_outputs=told)
    def length(secret: str) -> int:
        return len(secret)

    @sdk.traceable(name="length later", process_inputs=masked, process_outputs=told)
    async def length_later(secret: str) -> int:
        return len(secret)

    assert length("tea") == 3
    assert asyncio.run(length_later("tea")) == 3


@PROGRAMS.add("""
    step
    step
""")
def recording_by_condition(sdk: Any) -> None:
    @sdk.traceable
    def step(data: str) -> str:
        return data

    step("to be kept")
    with sdk.tracing_context(enabled=False):
        assert step("secret") == "secret"
        with sdk.trace("secret block") as run:
            run.end(outputs={"secret": 1})
        with sdk.tracing_context(enabled=True):
            step("to be kept, too")


@PROGRAMS.add("handle")
def recording_by_request(sdk: Any) -> None:
    def only_for(check: Any) -> Any:
        def decorate(fn: Any) -> Any:
            traced = sdk.traceable(fn)

            @functools.wraps(fn)
            def wrapper(*args: Any) -> Any:
                with sdk.tracing_context(
                    enabled=check(*args), project_name="shop", tags=["north"], metadata={"region": "north"}
                ):
                    return traced(*args)

            return wrapper

        return decorate

    @only_for(lambda customer: customer != "ada")
    def handle(customer: str) -> str:
        return customer

    assert [handle(customer) for customer in ("ada", "bob")] == ["ada", "bob"]


# LangSmith takes what is called inside for a trace of its own.
@PROGRAMS.add(
    """
    request
      inside
    """,
    bare="inside\nrequest",
    since=10,
)
def function_that_is_never_recorded(sdk: Any) -> None:
    @sdk.traceable
    def inside() -> None:
        pass

    @sdk.traceable(enabled=False)
    def unseen() -> None:
        inside()

    @sdk.traceable
    def request() -> None:
        unseen()

    request()


@PROGRAMS.add("""
    request
      another name
      fetch
    yet another
""")
def call_that_says_more(sdk: Any) -> None:
    ended = []

    def fetch() -> int:
        return 1

    traced = sdk.traceable(fetch)

    @sdk.traceable
    def request() -> None:
        traced(langsmith_extra={"on_end": lambda run: ended.append((run.name, run.outputs, run.error))})
        traced(langsmith_extra={"name": "another name"})

    request()
    sdk.traceable(fetch, name="yet another")(langsmith_extra={"project_name": "elsewhere"})
    assert ended == [("fetch", {"output": 1}, None)]


@PROGRAMS.add(
    """
    again
    request
    """,
    since=9,
)
def call_that_starts_again(sdk: Any) -> None:
    @sdk.traceable
    def again() -> None:
        pass

    @sdk.traceable
    def request() -> None:
        again(langsmith_extra={"parent": "ignore"})

    request()


@PROGRAMS.add("step", differs=("inputs", "tags"))
def call_with_a_config(sdk: Any) -> None:
    @sdk.traceable
    def step(number: int) -> int:
        return number

    assert step(1, config={"tags": ["unread"], "callbacks": None}) == 1


@PROGRAMS.add("""
    request
      fail
      fail later
    step
""")
def errors(sdk: Any) -> None:
    @sdk.traceable
    def fail() -> None:
        raise KeyError("tea")

    @sdk.traceable(name="fail later")
    async def fail_later() -> None:
        raise KeyError("tea")

    @sdk.traceable
    def request() -> None:
        with pytest.raises(KeyError):
            asyncio.run(fail_later())
        fail()

    with pytest.raises(KeyError):
        request()
    with pytest.raises(ZeroDivisionError), sdk.trace("step"):
        _ = 1 / 0


@PROGRAMS.add("step")
def error_that_is_none(sdk: Any) -> None:
    with pytest.raises(KeyError), sdk.trace("step", exceptions_to_handle=(KeyError,)):
        raise KeyError("tea")


@PROGRAMS.add("step")
def error_after_the_outputs(sdk: Any) -> None:
    def work() -> None:
        with sdk.trace("step") as run:
            run.end(outputs={"answer": 42})
            raise KeyError("tea")

    with pytest.raises(KeyError):
        work()


# LangSmith says it in the metadata, too, from that for 3.9 on.
@PROGRAMS.add("ask", differs=("metadata",) if GENERATION > 8 else ())
def tokens_that_were_used(sdk: Any) -> None:
    @sdk.traceable(run_type="llm", metadata={"ls_provider": "shop", "ls_model_name": "leaf"})
    def ask(messages: List[Dict[str, str]]) -> Dict[str, Any]:
        return {**model(messages), "usage_metadata": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}}

    ask(MESSAGES)


@PROGRAMS.add("ask", since=9)
def outputs_set_from_inside(sdk: Any) -> None:
    @sdk.traceable(run_type="llm")
    def ask() -> str:
        sdk.get_current_run_tree().set(outputs={"shown": 1}, metadata={"model": "leaf"})
        return "not shown"

    ask()
