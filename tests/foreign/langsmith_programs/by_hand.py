"""
Programs that make runs by hand, and change them, in ways that LangSmith's pages show or its signatures allow.
"""

from __future__ import annotations

from typing import Any

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
