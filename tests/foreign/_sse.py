"""
A server of streams on a real socket, and an HTTP transport that notes who reads and closes what it sends.

It speaks as the APIs of OpenAI and Anthropic do. What is asked of their streams is in `test_streams.py`.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator, List, Optional

from tests.edges._threads import DEADLINE, user

WORDS = ["the ", "thread ", "of ", "the ", "story"]

reads: ContextVar[int] = ContextVar("reads", default=0)


class Notes:
    """Hold what the user was at each read of a response, and at each closing of what it is read from."""

    def __init__(self) -> None:
        self.read: List[Any] = []
        self.closed: List[Any] = []
        self.asked_to_close = 0
        self.before_next_read: Optional[Callable[[], object]] = None
        self.may_send = threading.Semaphore(0)
        self.is_over = False

    def note_read(self) -> None:
        # This runs in the midst of the SDK's own step. What it sets must not reach the consumer.
        reads.set(reads.get() + 1)
        self.read.append(user.get())
        hook, self.before_next_read = self.before_next_read, None
        if hook is not None:
            hook()
        self.may_send.release()

    def note_close(self) -> None:
        self.closed.append(user.get())


@contextmanager
def serving(notes: Notes) -> Iterator[str]:
    """Serve streams, each part of which is sent when it is asked for, so that no step does without a read."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = DEADLINE

        def do_GET(self) -> None:
            self._send("text/plain", [word + "\n" for word in WORDS])

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send("text/event-stream", _openai() if "completions" in self.path else _anthropic())

        def _send(self, kind: str, parts: List[str]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                for part in parts:
                    if not notes.may_send.acquire(timeout=DEADLINE) or notes.is_over:
                        return
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part.encode("ascii")))
                self.wfile.write(b"0\r\n\r\n")
            except OSError:  # whoever was reading has gone
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # so that closing it waits for them
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        notes.is_over = True
        notes.may_send.release()
        server.shutdown()
        thread.join(DEADLINE)
        server.server_close()


def _openai() -> List[str]:
    chunk = {"id": "c-1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    choices = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in WORDS]
    return [f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n" for choice in choices] + ["data: [DONE]\n\n"]


def _anthropic() -> List[str]:
    message: Any = {
        "id": "m-1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    events: List[Any] = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS],
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def noting_client(http: Any, notes: Notes) -> Any:
    """Return a client of `http`, which is httpx or its successor, that reads from a real socket."""

    class Body(http.SyncByteStream):  # type: ignore[misc]
        def __init__(self, body: Any) -> None:
            self._body = body

        def __iter__(self) -> Any:
            parts = iter(self._body)
            while True:
                notes.note_read()
                try:
                    part = next(parts)
                except StopIteration:
                    return
                yield part

        def close(self) -> None:
            notes.note_close()
            self._body.close()

    class Response(http.Response):  # type: ignore[misc]
        def close(self) -> None:
            notes.asked_to_close += 1
            super().close()

    class Transport(http.HTTPTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            got = super().handle_request(request)
            return Response(got.status_code, headers=got.headers, stream=Body(got.stream), extensions=got.extensions)

    return http.Client(transport=Transport(verify=False), timeout=DEADLINE, trust_env=False)


def noting_async_client(http: Any, notes: Notes) -> Any:
    """Return an asynchronous client like that of `noting_client`."""

    class Body(http.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, body: Any) -> None:
            self._body = body

        async def __aiter__(self) -> Any:
            parts = self._body.__aiter__()
            while True:
                notes.note_read()
                try:
                    part = await parts.__anext__()
                except StopAsyncIteration:
                    return
                yield part

        async def aclose(self) -> None:
            notes.note_close()
            await self._body.aclose()

    class Response(http.Response):  # type: ignore[misc]
        async def aclose(self) -> None:
            notes.asked_to_close += 1
            await super().aclose()

    class Transport(http.AsyncHTTPTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            got = await super().handle_async_request(request)
            return Response(got.status_code, headers=got.headers, stream=Body(got.stream), extensions=got.extensions)

    return http.AsyncClient(transport=Transport(verify=False), timeout=DEADLINE, trust_env=False)
