"""
Answer several questions at once, word by word, each with a span that stays open while its words stream.

    clew run examples/interleaved_streams.py            one whole tree per answer
    clew run examples/interleaved_streams.py --bare     the broken tree of plain async generators
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, AsyncIterator, Callable

from clew import context_generator, trace, traceable

ANSWERS = {"ada": "an engine weaves patterns", "grace": "ships are safe in harbour"}


@traceable(run_type="retriever")
async def look_up(word: str) -> str:
    await asyncio.sleep(0)
    return word


async def answer(name: str) -> AsyncIterator[str]:
    with trace(f"answer {name}"):
        for word in ANSWERS[name].split():
            yield await look_up(word)


async def main(stream: Callable[[str], Any]) -> None:
    with trace("conversation"):
        streams = {name: stream(name) for name in ANSWERS}
        # One word of each stream in turn, like a server with several clients.
        for _ in range(3):
            for name, words in streams.items():
                print(f"{name}: {await words.__anext__()}")
        # Both readers hang up before the end, so this task closes the streams.
        for words in streams.values():
            await words.aclose()


if __name__ == "__main__":
    asyncio.run(main(answer if "--bare" in sys.argv else context_generator(answer)))
