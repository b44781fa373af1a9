"""
Other people's streams, each opened over a real socket: those of two SDKs, and an HTTP client's.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, contextmanager
from typing import Any, AsyncIterator, Callable, Iterator

import httpx
import pytest

from tests.foreign._sse import Notes, noting_async_client, noting_client

# What they need does not run on PyPy.
HAS_SDKS = sys.implementation.name != "pypy"
if HAS_SDKS:  # before any test: the collector would look at all of an SDK in each test of a file that imports it
    import anthropic
    import openai

MESSAGES: Any = [{"role": "user", "content": "tell me a story"}]


def _httpx_of(sdk: Any) -> Any:
    # Later releases stand on httpx's successor.
    return sys.modules[sdk.DefaultHttpxClient.__base__.__module__]


def _client(sdk: Any, make: Any, url: str, notes: Notes) -> Any:
    noting = noting_async_client if make.__name__.startswith("Async") else noting_client
    return make(api_key="none", base_url=url, max_retries=0, http_client=noting(_httpx_of(sdk), notes))


@contextmanager
def openai_chat(url: str, notes: Notes) -> Iterator[Any]:
    with _client(openai, openai.OpenAI, url, notes) as client:
        yield client.chat.completions.create(model="m", messages=MESSAGES, stream=True)


@contextmanager
def anthropic_messages(url: str, notes: Notes) -> Iterator[Any]:
    with _client(anthropic, anthropic.Anthropic, url, notes) as client:
        yield client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True)


@contextmanager
def anthropic_stream(url: str, notes: Notes) -> Iterator[Any]:
    with _client(anthropic, anthropic.Anthropic, url, notes) as client, client.messages.stream(
        model="m", max_tokens=9, messages=MESSAGES
    ) as stream:
        yield stream


@contextmanager
def anthropic_text(url: str, notes: Notes) -> Iterator[Any]:
    with anthropic_stream(url, notes) as stream:
        yield stream.text_stream


@contextmanager
def httpx_lines(url: str, notes: Notes) -> Iterator[Any]:
    with noting_client(httpx, notes) as client, client.stream("GET", url) as response:
        yield response.iter_lines()


@contextmanager
def httpx_raw(url: str, notes: Notes) -> Iterator[Any]:
    with noting_client(httpx, notes) as client, client.stream("GET", url) as response:
        yield response.iter_raw()


@asynccontextmanager
async def async_openai_chat(url: str, notes: Notes) -> AsyncIterator[Any]:
    async with _client(openai, openai.AsyncOpenAI, url, notes) as client:
        yield await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)


@asynccontextmanager
async def async_anthropic_messages(url: str, notes: Notes) -> AsyncIterator[Any]:
    async with _client(anthropic, anthropic.AsyncAnthropic, url, notes) as client:
        yield await client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True)


@asynccontextmanager
async def async_anthropic_stream(url: str, notes: Notes) -> AsyncIterator[Any]:
    async with _client(anthropic, anthropic.AsyncAnthropic, url, notes) as client, client.messages.stream(
        model="m", max_tokens=9, messages=MESSAGES
    ) as stream:
        yield stream


@asynccontextmanager
async def async_anthropic_text(url: str, notes: Notes) -> AsyncIterator[Any]:
    async with async_anthropic_stream(url, notes) as stream:
        yield stream.text_stream


@asynccontextmanager
async def async_httpx_lines(url: str, notes: Notes) -> AsyncIterator[Any]:
    async with noting_async_client(httpx, notes) as client, client.stream("GET", url) as response:
        yield response.aiter_lines()


@asynccontextmanager
async def async_httpx_raw(url: str, notes: Notes) -> AsyncIterator[Any]:
    async with noting_async_client(httpx, notes) as client, client.stream("GET", url) as response:
        yield response.aiter_raw()


NEEDS_SDKS = pytest.mark.skipif(not HAS_SDKS, reason="needs openai and anthropic, whose own needs do not run on PyPy")


def _with_sdks(*streams: Callable[..., Any]) -> Any:
    return [pytest.param(stream, marks=NEEDS_SDKS) for stream in streams]


# What is a class of the SDK's own, and, with the generators, all.
OBJECTS = _with_sdks(openai_chat, anthropic_messages, anthropic_stream)
STREAMS = [*OBJECTS, *_with_sdks(anthropic_text), httpx_lines, httpx_raw]
ASYNC_OBJECTS = _with_sdks(async_openai_chat, async_anthropic_messages, async_anthropic_stream)
ASYNC_STREAMS = [*ASYNC_OBJECTS, *_with_sdks(async_anthropic_text), async_httpx_lines, async_httpx_raw]
