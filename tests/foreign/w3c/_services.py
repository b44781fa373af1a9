"""
Two services, in ASGI and in WSGI, that do what W3C's trace-context suite asks of one, and a service that they may call.

A request has a JSON list of calls, each with a `url` and `arguments`; these go to that address, with our headers. The
path of the request says from where the calls are made.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, AsyncIterator, Callable, ContextManager, Dict, Iterable, Iterator, List, Mapping, Tuple, Union
from urllib.parse import urlsplit

import httpx

import clew
import clew.tasks.asyncio
from tests.edges._threads import DEADLINE
from tests.foreign._http import OPTIONS, serving, serving_by, serving_wsgi

Call = Mapping[str, Any]
Pairs = Iterable[Tuple[str, Union[str, bytes]]]


def send(call: Call) -> None:
    """Make one call, as a run of its own."""
    with clew.trace("call"), httpx.Client(**OPTIONS) as client:
        client.post(call["url"], json=call["arguments"], headers=clew.get_current_headers()).raise_for_status()


async def send_async(call: Call) -> None:
    async with clew.trace("call"), httpx.AsyncClient(**OPTIONS) as client:
        response = await client.post(call["url"], json=call["arguments"], headers=clew.get_current_headers())
        response.raise_for_status()


@clew.context_generator
def sent(calls: Iterable[Call]) -> Iterator[None]:
    for call in calls:
        yield send(call)


@clew.context_generator
async def sent_async(calls: Iterable[Call]) -> AsyncIterator[None]:
    for call in calls:
        yield await send_async(call)


def send_each(calls: List[Call]) -> None:
    for call in calls:
        send(call)


async def send_each_async(calls: List[Call]) -> None:
    for call in calls:
        await send_async(call)


def send_in_pool(calls: List[Call]) -> None:
    with clew.ContextThreadPoolExecutor(2) as pool:
        list(pool.map(send, calls))


async def send_in_executor(calls: List[Call]) -> None:
    with clew.ContextThreadPoolExecutor(2) as pool:
        run = asyncio.get_running_loop().run_in_executor
        await asyncio.gather(*[run(pool, send, call) for call in calls])


# Whoever reads one of the generators has an empty context.
def send_in_generator(calls: List[Call]) -> None:
    Context().run(list, sent(calls))


async def send_in_generator_elsewhere(calls: List[Call]) -> None:
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, Context().run, list, sent(calls))


async def send_in_async_generator(calls: List[Call]) -> None:
    async def read() -> None:
        async for _ in steps:
            pass

    steps = sent_async(calls)
    await Context().run(asyncio.ensure_future, read())


async def send_in_tasks(calls: List[Call]) -> None:
    async with clew.tasks.asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(send_async(call))


ASGI_WAYS: Dict[str, Callable[[List[Call]], Any]] = {
    "plain": send_each_async,
    "pool": send_in_executor,
    "generator": send_in_generator_elsewhere,
    "async-generator": send_in_async_generator,
    "tasks": send_in_tasks,
}
WSGI_WAYS: Dict[str, Callable[[List[Call]], object]] = {
    "plain": send_each,
    "pool": send_in_pool,
    "generator": send_in_generator,
    "async-generator": lambda calls: asyncio.run(send_in_async_generator(calls)),
    "tasks": lambda calls: asyncio.run(send_in_tasks(calls)),
}


def asgi_app(recording: Callable[[], ContextManager[object]], **options: Any) -> Any:
    """
    Return the service in ASGI.

    Args:
        recording: the block that each request is served in.
        options: of the request's `tracing_context`.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, is_there_more = b"", True
        while is_there_more:
            message = await receive()
            body += message.get("body", b"")
            is_there_more = message.get("more_body", False)
        with recording(), clew.tracing_context(parent=scope["headers"], **options), clew.trace("serve"):
            await ASGI_WAYS[scope["path"].strip("/")](json.loads(body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"null"})

    return app


def wsgi_app(recording: Callable[[], ContextManager[object]], **options: Any) -> Any:
    """Return the service in WSGI, which is as that of `asgi_app`."""

    def app(environ: Dict[str, Any], start_response: Any) -> List[bytes]:
        calls = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with recording(), clew.tracing_context(parent=environ, **options), clew.trace("serve"):
            WSGI_WAYS[environ["PATH_INFO"].strip("/")](calls)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"null"]

    return app


class Next:
    """Be the service that is called, which keeps the headers of each call."""

    url: str

    def __init__(self) -> None:
        self.calls: List[List[Tuple[str, str]]] = []

    @contextmanager
    def serving(self) -> Iterator[Next]:
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            timeout = DEADLINE

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                calls.append([(name.lower(), value) for name, value in self.headers.items()])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = False
        with serving_by(server) as self.url:
            yield self


def request(url: str, headers: Pairs, calls: List[Call]) -> int:
    """Ask a service to make some calls, with headers as they are given, and return the status."""
    to = urlsplit(url)
    body = json.dumps(calls).encode()
    lines: List[Tuple[str, Union[str, bytes]]] = [
        ("Host", to.netloc),
        ("Connection", "close"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        *headers,
    ]
    head = b"".join([_in_bytes(name) + b": " + _in_bytes(value) + b"\r\n" for name, value in lines])
    with socket.create_connection((to.hostname, to.port), timeout=DEADLINE) as connection:
        # All at once, so that a server that answers after the first bad line has read the rest.
        connection.sendall(b"POST " + to.path.encode() + b" HTTP/1.1\r\n" + head + b"\r\n" + body)
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            response.read()
            return response.status


def _in_bytes(text: Union[str, bytes]) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


# The headers that carry a trace.
NAMES = ("traceparent", "tracestate", "baggage", "langsmith-trace")


class Services:
    """Send requests to both services, and see what they send on."""

    def __init__(self, addresses: Mapping[str, str], called: Next) -> None:
        self.addresses = addresses
        self._called = called

    def hop(self, kind: str, headers: Pairs, way: str = "plain") -> Dict[str, str]:
        """Return what the next service gets if one gets these headers."""
        [sent] = self.hops(kind, headers, way)
        return sent

    def hops(self, kind: str, headers: Pairs, way: str = "plain", *, number: int = 1) -> List[Dict[str, str]]:
        """Return what the next service gets in each of several calls."""
        status, sent = self.answer(kind, headers, way, [self.call()] * number)
        assert (status, len(sent)) == (200, number)
        return sent

    def call(self, *kinds: str) -> Call:
        """Return a call of the next service, by way of others."""
        call: Call = {"url": self._called.url, "arguments": []}
        for kind in reversed(kinds):
            call = {"url": f"{self.addresses[kind]}/plain", "arguments": [call]}
        return call

    def answer(self, kind: str, headers: Pairs, way: str, calls: List[Call]) -> Tuple[int, List[Dict[str, str]]]:
        """Return the status of the answer, and what the next service got."""
        self._called.calls.clear()
        status = request(f"{self.addresses[kind]}/{way}", headers, calls)
        return status, [_carried(got) for got in self._called.calls]


def _carried(got: List[Tuple[str, str]]) -> Dict[str, str]:
    pairs = [(name, value) for name, value in got if name in NAMES]
    found = dict(pairs)
    assert len(found) == len(pairs), pairs  # each of them once
    return found


@contextmanager
def serving_both(recording: Callable[[], ContextManager[object]], **options: Any) -> Iterator[Services]:
    """Serve both services and the one that they call."""
    with serving(asgi_app(recording, **options)) as asgi, serving_wsgi(wsgi_app(recording, **options)) as wsgi:
        called = Next()
        with called.serving():
            yield Services({"ASGI": asgi, "WSGI": wsgi}, called)
