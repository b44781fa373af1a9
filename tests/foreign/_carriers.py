"""
Other people's loggers and frameworks, each with what it keeps in the context: like the tracers in `_tracers.py`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Iterator, List

import flask
import structlog
import werkzeug.local

from tests.foreign._tracers import ID, TRACERS, Sentry

if TYPE_CHECKING:
    import pytest


class Structlog:
    """Log with structlog, which merges what is bound in the context into each line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lines = structlog.testing.LogCapture()
        self._log = structlog.wrap_logger(None, processors=[structlog.contextvars.merge_contextvars, self._lines])

    def request(self) -> Any:
        return structlog.contextvars.bound_contextvars(request=ID)

    @contextmanager
    def step(self) -> Iterator[None]:
        with structlog.contextvars.bound_contextvars(step=1):
            yield
            self._log.info("step")

    def steps(self) -> List[bool]:
        assert all(line["step"] == 1 for line in self._lines.entries)
        return [line.get("request") == ID for line in self._lines.entries]

    def close(self) -> None:
        pass


class Werkzeug:
    """Keep a value in each of Werkzeug's two kinds of local."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._local = werkzeug.local.Local()
        self._stack: werkzeug.local.LocalStack[str] = werkzeug.local.LocalStack()
        self._seen: List[Any] = []

    @contextmanager
    def request(self) -> Iterator[None]:
        self._local.request = ID
        self._stack.push(ID)
        yield
        self._stack.pop()
        del self._local.request

    @contextmanager
    def step(self) -> Iterator[None]:
        self._seen.append((getattr(self._local, "request", None), self._stack.top))
        # Of these, nothing may be left, here or where the job came from.
        self._local.request = "the job's"
        self._stack.push("the job's")
        yield
        assert self._stack.pop() == "the job's"
        self._local.request = self._seen[-1][0]

    def steps(self) -> List[bool]:
        return [seen == (ID, ID) for seen in self._seen]

    def close(self) -> None:
        pass


class Flask:
    """Be in a request of Flask, with something in `flask.g`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._app = flask.Flask("test")
        self._seen: List[Any] = []

    @contextmanager
    def request(self) -> Iterator[None]:
        with self._app.test_request_context(f"/?id={ID}"):
            flask.g.user = "ada"
            yield

    @contextmanager
    def step(self) -> Iterator[None]:
        if not flask.has_request_context():
            self._seen.append(None)
            yield
            return
        with self._app.test_request_context("/?id=inner"):
            yield
            assert flask.request.args["id"] == "inner"
        self._seen.append((flask.current_app.name, flask.request.args["id"], flask.g.user))

    def steps(self) -> List[bool]:
        return [seen == ("test", ID, "ada") for seen in self._seen]

    def close(self) -> None:
        pass


CARRIERS = [*TRACERS, Sentry, Structlog, Werkzeug, Flask]
