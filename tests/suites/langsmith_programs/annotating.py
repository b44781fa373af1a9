"""
The programs of LangSmith's pages on annotating code: decorated functions, blocks, and trees by hand.

What runs are told beside that is in `telling`.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Dict, List

from tests.suites.langsmith_programs._programs import GENERATION, Programs, model

PROGRAMS = Programs()


@PROGRAMS.add("""
    answer
      ask
      phrase
      read
""")
def functions_that_call_each_other(sdk: Any) -> None:
    @sdk.traceable
    def phrase(topic: str) -> List[Dict[str, str]]:
        return [{"role": "system", "content": "be brief"}, {"role": "user", "content": topic}]

    @sdk.traceable(run_type="llm")
    def ask(messages: List[Dict[str, str]]) -> Dict[str, Any]:
        return model(messages)

    @sdk.traceable
    def read(answer: Dict[str, Any]) -> str:
        text: str = answer["choices"][0]["message"]["content"]
        return text

    @sdk.traceable
    def answer() -> str:
        return str(read(ask(phrase("tea"))))

    assert answer() == "TEA"


@PROGRAMS.add("""
    chat
      look it up
""")
def block_with_its_outputs_at_the_end(sdk: Any) -> None:
    @sdk.traceable(run_type="tool", name="look it up")
    def look_up(question: str) -> str:
        return "sencha"

    question = "which tea is green?"
    with sdk.trace("chat", "chain", project_name="shop", inputs={"question": question}) as run:
        answer = model([{"role": "user", "content": look_up(question)}])
        run.end(outputs={"answer": answer})


@PROGRAMS.add(
    """
    outside
      inside
    """,
    bare=None if GENERATION > 9 else "inside\noutside",
    differs=() if GENERATION > 9 else ("tags",),
)
def blocks_of_coroutines(sdk: Any) -> None:
    async def main() -> None:
        async with sdk.trace("outside", run_type="tool", tags=["a"]) as run:
            async with sdk.trace("inside", inputs={"n": 1}):
                await asyncio.sleep(0)
            run.end(outputs={"n": 2})

    asyncio.run(main())


@PROGRAMS.add(
    """
    bot
      look it up
      model
      stumble
    """
)
def tree_by_hand(sdk: Any) -> None:
    bot = sdk.RunTree(name="bot", run_type="chain", inputs={"text": "hello"})
    bot.post()

    asked = bot.create_child(name="model", run_type="llm", inputs={"prompts": ["hello"]})
    asked.post()
    asked.end(outputs={"generations": ["I look it up"]})
    asked.patch()

    looked_up = bot.create_child(name="look it up", run_type="tool", inputs={"day": "monday"})
    looked_up.post()
    looked_up.end(outputs={"notes": ["green", "black"]})
    looked_up.patch()

    stumbled = bot.create_child(name="stumble", run_type="tool", inputs={"input": "both"})
    stumbled.post()
    try:
        raise ValueError("no tea")
    except ValueError as error:
        stumbled.end(error=f"failed: {error}")
        stumbled.patch()

    bot.end(outputs={"output": ["green"]})
    bot.patch()


@PROGRAMS.add("stream")
def first_token_by_hand(sdk: Any) -> None:
    run = sdk.RunTree(name="stream", run_type="llm", inputs={"prompt": "tea"})
    run.post()
    first = None
    for token in ["green", "tea"]:
        if first is None:
            first = token
            run.add_event({"name": "new_token"})
    run.end(outputs={"text": "green tea"})
    run.patch()


@PROGRAMS.add(
    """
    by hand
      next
    """,
    differs=("metadata",),
)
def tree_by_hand_from_its_fields(sdk: Any) -> None:
    run_id = uuid.UUID("018f3e7f-97f7-74c5-a9b6-8d3f7e8e2f11")
    above = sdk.RunTree(name="by hand", id=run_id, extra={"metadata": {"shop": 1}})
    above.post()
    run = sdk.RunTree(name="next", parent_run=above)
    run.post()
    assert run.parent_run_id == above.id == run_id
    run.end()
    run.patch()
    above.end(metadata={"end": 2})
    above.patch()


@PROGRAMS.add(
    """
    by hand
      block
        step
      step
    """
)
def tree_by_hand_above_a_decorated_function(sdk: Any) -> None:
    @sdk.traceable
    def step(n: int) -> int:
        return n

    run = sdk.RunTree(name="by hand")
    run.post()
    step(1, langsmith_extra={"parent": run})
    with sdk.tracing_context(parent=run), sdk.trace("block"):
        step(2)
    run.end()
    run.patch()


@PROGRAMS.add("""
    Kettle.boil
      Kettle.fill
""")
def all_methods_of_a_class(sdk: Any) -> None:
    def traced(cls: Any) -> Any:
        for name in [name for name in dir(cls) if not name.startswith("_")]:
            setattr(cls, name, sdk.traceable(name=f"{cls.__name__}.{name}")(getattr(cls, name)))
        return cls

    @traced
    class Kettle:
        def __init__(self, litres: int) -> None:
            self.litres = litres

        def boil(self, degrees: int) -> int:
            self.fill()
            return self.litres + degrees

        def fill(self) -> None:
            pass

    assert Kettle(1).boil(80) == 81
