"""
Servers on real sockets, each in a thread or a process of its own, and what a run says of itself over there.

Who asks them, and what the answer has to be, is for the tests that use them.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Callable, ContextManager, Dict, Iterable, Iterator, List, Mapping, Tuple, Union
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

import clew
from tests.edges._threads import DEADLINE, in_empty_context

# Of a client of httpx: nothing of the machine's.
OPTIONS: Any = {"trust_env": False, "timeout": DEADLINE}
FOLDER = Path(__file__).parents[2]


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI application in a thread, and return its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # from now on, whoever connects waits for the server
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            h11_max_incomplete_event_size=1 << 22,  # some tests send megabytes of headers
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=in_empty_context, args=(server.run, [listener]))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(DEADLINE)
            assert not thread.is_alive()


def answering(answer: Callable[[Any], object]) -> Any:
    """Return an ASGI application that answers each request by what a function makes of its scope, in JSON."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = json.dumps(in_empty_context(answer, scope)).encode("ascii")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = False  # so that closing it waits for them


class _Handler(WSGIRequestHandler):
    timeout = DEADLINE

    def log_message(self, *_: object) -> None:
        pass


def serving_wsgi(app: Any) -> ContextManager[str]:
    """Serve a WSGI application in a thread, and return its address."""
    return serving_by(make_server("127.0.0.1", 0, app, _Server, _Handler))


@contextmanager
def serving_by(server: Any) -> Iterator[str]:
    """Have a server of the stdlib's serve in a thread, and return its address."""
    with server:
        thread = threading.Thread(target=in_empty_context, args=(server.serve_forever, 0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(DEADLINE)
            assert not thread.is_alive()


def answering_wsgi(answer: Callable[[Any], object]) -> Any:
    """Return a WSGI application that answers each request by what a function makes of its environ, in JSON."""

    def app(environ: Dict[str, Any], start_response: Any) -> List[bytes]:
        body = json.dumps(in_empty_context(answer, environ)).encode("ascii")
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]

    return app


@contextmanager
def serving_elsewhere(*command: str, **options: Any) -> Iterator[str]:
    """Have a server in a process of its own, which says its address in its first line and ends with its input."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", **{"cwd": FOLDER, **options}
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        deadline = threading.Timer(DEADLINE, process.kill)
        deadline.start()
        address = process.stdout.readline().strip()
        deadline.cancel()
        deadline.join(DEADLINE)
        assert address, "the server has ended"
        yield address
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            status = process.wait(DEADLINE)
        finally:
            process.kill()
    assert status == 0


def serving_in_python(name: str) -> Any:
    """Serve an ASGI application, named as `module:attribute`, in another process that records its runs."""
    module, _, attribute = name.partition(":")
    code = (
        f"import sys, clew; from tests.foreign._http import serving; from {module} import {attribute} as app\n"
        f"with clew.record(), serving(app) as address:\n"
        f"    print(address, flush=True)\n"
        f"    sys.stdin.read()"
    )
    return serving_elsewhere(sys.executable, "-c", code, env={**os.environ, "PYTHONPATH": str(FOLDER)})


def ask(address: str, headers: Union[Mapping[str, str], Iterable[Tuple[str, str]]]) -> Any:
    """Return the answer to a request with just these headers, their names as they are written here."""
    url = urlsplit(address)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=DEADLINE)
    try:
        connection.putrequest("GET", url.path + (url.query and f"?{url.query}") or "/")
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body.decode()
        return json.loads(body)
    finally:
        connection.close()


# What a run says of itself: its ids, what it hands down, and the headers that make it a parent.
Told = Dict[str, Any]

# Of the caller, with everything that is another thing in a header, and no comma in a tag: LangSmith joins them by that.
TAGS = ["a=b;c d", "\u00e9+1%"]
METADATA = {"text": 'a=b&c+d e;f%,"\u00e9\u2603\U0001f600\n', "number": 1.5, "deep": {"list": [1, None, True, "x"]}}
PROJECT = "shop, 100% = all"


def told(run: Union[clew.RunTree, clew.Run]) -> Told:
    """Return what a run says of itself, in JSON."""
    return {
        "id": str(run.id),
        "parent_id": run.parent_id and str(run.parent_id),
        "trace_id": str(run.trace_id),
        "dotted_order": run.dotted_order,
        "tags": list(run.tags),
        "metadata": run.metadata,
        "project": run.project_name,
        "headers": run.to_headers() if isinstance(run, clew.RunTree) else {},
    }


def assert_is_under(child: Told, parent: Told) -> None:
    """Check that one run is a child of the other, by all that says so, and has what the caller has sent along."""
    assert (child["trace_id"], child["parent_id"]) == (parent["trace_id"], parent["id"])
    above, _, last = child["dotted_order"].rpartition(".")
    assert (above, last[-36:]) == (parent["dotted_order"], child["id"])
    assert (child["tags"], child["project"]) == (TAGS, PROJECT)
    # LangSmith adds metadata of its own.
    assert {**child["metadata"], **METADATA} == child["metadata"]


def call_from_clew(address: str) -> Tuple[Told, Any]:
    """Return a run that has asked a server, and the answer. There is baggage of the program's own, too."""
    said = clew.tracing_context(tags=TAGS, metadata=METADATA, project_name=PROJECT)
    with said, clew.baggage(tenant="a, b"), clew.trace("root"), clew.trace("call") as run:
        return told(run), ask(address, run.to_headers())


def serve_from_headers(headers: Any) -> Told:
    """Return a run of clew's under the one that headers name."""
    parent = clew.RunTree.from_headers(headers)
    assert parent is not None
    run = parent.create_child("serve")
    run.post()
    run.end()
    return told(run)


def serve_in_context(headers: Any) -> Told:
    with clew.tracing_context(parent=headers), clew.trace("serve") as run:
        return told(run)


@clew.traceable
def _serve() -> Told:
    run = clew.get_current_run_tree()
    assert run is not None
    return told(run)


def serve_at_call(headers: Any) -> Told:
    return _serve(langsmith_extra={"parent": headers})  # type: ignore[call-arg]


SERVE_IN_CLEW = (serve_from_headers, serve_in_context, serve_at_call)
