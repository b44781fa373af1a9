"""
A server that takes runs as LangSmith's does, on a real socket, and holds them to its rules.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ContextManager, Dict, List, Tuple
from uuid import UUID

from tests.edges._threads import DEADLINE
from tests.foreign._http import serving_by

Run = Dict[str, Any]
PART = re.compile(r"(\d{8}T\d{12}Z)([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
MOST_BYTES = 20_971_520
RUN_TYPES = {"chain", "embedding", "llm", "parser", "prompt", "retriever", "tool"}


class LangSmithServer:
    """
    Keep what is posted; `answers` are given in place of 202, one to a request, as long as there are some.

    As the real one, it refuses a request that is too large, and one in which a run is not valid: that is, named so.
    """

    def __init__(self, *, has_multipart: bool = True) -> None:
        self.posted: List[Run] = []
        self.requests: List[str] = []
        self.answers: List[int] = []
        self.has_multipart = has_multipart
        self.guard = threading.Lock()

    def serving(self) -> ContextManager[str]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        server.daemon_threads = True  # a client keeps its connections open
        server.block_on_close = False
        return serving_by(server)

    def take(self, path: str, content_type: str, body: bytes) -> int:
        with self.guard:
            self.requests.append(path)
            if path == "/runs/multipart" and not self.has_multipart:
                return 404
            if self.answers:
                return self.answers.pop(0)
            if len(body) > MOST_BYTES:
                return 413
            posted = runs_of_multipart(content_type, body) if path == "/runs/multipart" else runs_of_batch(body)
            if any(run["name"].startswith("not valid") for run in posted):
                return 422
            self.posted.extend(posted)
            return 202

    @property
    def runs(self) -> Dict[str, Run]:
        """Return the runs by their names, each of which is checked."""
        with self.guard:
            check_rules(self.posted)
            assert len({run["name"] for run in self.posted}) == len(self.posted)
            return {run["name"]: run for run in self.posted}


def _handler_of(server: LangSmithServer) -> Any:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = DEADLINE

        def do_GET(self) -> None:
            self.answer(200, {"version": "0.0.1", "batch_ingest_config": {"use_multipart_endpoint": True}})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["x-api-key"] == "key"
            self.answer(server.take(self.path, self.headers["Content-Type"], body), {})

        def answer(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def runs_of_batch(body: bytes) -> List[Run]:
    content = json.loads(body)
    assert not content.get("patch")
    posted: List[Run] = content["post"]
    return posted


def runs_of_multipart(content_type: str, body: bytes) -> List[Run]:
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    runs: Dict[str, Run] = {}
    for part in message.iter_parts():  # type: ignore[attr-defined]  # the policy's messages have it
        name = part.get_param("name", header="Content-Disposition")
        kind, _, rest = name.partition(".")
        run_id, _, field = rest.partition(".")
        value = json.loads(part.get_payload(decode=True))
        assert kind == "post", name
        if field:
            runs[run_id][field] = value
        else:
            assert run_id not in runs
            assert value["id"] == run_id
            runs[run_id] = value
    return list(runs.values())


def parts_of(run: Run) -> List[Tuple[str, str]]:
    parts = run["dotted_order"].split(".")
    matches = [PART.fullmatch(part) for part in parts]
    assert all(matches), run["dotted_order"]
    return [match.groups() for match in matches if match]  # type: ignore[misc]


def moment(text: str) -> datetime:
    """Read a time of a run, which is in UTC and says so."""
    seconds, _, rest = re.sub(r"(\+00:00|Z)$", "+0000", text).partition(".")
    assert text.endswith(("+00:00", "Z"))
    return datetime.strptime(f"{seconds[:19]}.{rest[:6] if rest else '0'}+0000", "%Y-%m-%dT%H:%M:%S.%f%z")


def check_rules(runs: List[Run]) -> None:
    """Check what the server refuses a run for."""
    assert len({run["id"] for run in runs}) == len(runs), "a run was posted twice"
    for run in runs:
        parts = parts_of(run)
        stamps, ids = [stamp for stamp, _ in parts], [run_id for _, run_id in parts]
        assert all(UUID(run_id) for run_id in ids)
        assert ids[0] == run["trace_id"]
        assert ids[-1] == run["id"]
        assert run.get("parent_run_id") == (ids[-2] if len(ids) > 1 else None)
        assert stamps == sorted(stamps), "a child is before its parent"
        assert moment(run["start_time"]) == datetime.strptime(stamps[-1][:-1] + "+0000", "%Y%m%dT%H%M%S%f%z")
        assert moment(run["end_time"]) >= moment(run["start_time"])
        assert run["run_type"] in RUN_TYPES
        assert run["session_name"]
        assert isinstance(run["extra"]["metadata"], dict)
        assert run["name"]
    by_id = {run["id"]: run for run in runs}
    for run in runs:
        above = by_id.get(run.get("parent_run_id") or "")
        if above is not None:
            assert run["dotted_order"].startswith(above["dotted_order"] + ".")
