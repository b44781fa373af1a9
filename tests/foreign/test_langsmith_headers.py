"""
LangSmith's own SDK at the other end of a socket: it reads our headers and we read its own, and all is one trace.

Names in other cases and headers in other shapes are in `tests/edges/test_h04_langsmith_headers.py`, and its SDK for
JavaScript in `tests/javascript`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Dict, Iterator, Tuple

import pytest

if sys.implementation.name == "pypy":
    pytest.skip("needs FastAPI, and what that needs does not run on PyPy", allow_module_level=True)

import httpx
from fastapi import FastAPI, Request

import clew
from clew import get_current_run_tree, traceable, tracing_context
from tests.edges._threads import in_empty_context
from tests.foreign._http import (
    METADATA,
    OPTIONS,
    PROJECT,
    SERVE_IN_CLEW,
    TAGS,
    Told,
    answering,
    ask,
    assert_is_under,
    call_from_clew,
    serve_in_context,
    serving,
    serving_in_python,
    told,
)
from tests.foreign._tracers import NEEDS_LANGSMITH


class LangSmith:
    """Call, and serve, with LangSmith's SDK, which sends nothing to where runs are stored."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import langsmith

        from tests.foreign.test_langsmith import KeepingClient

        monkeypatch.setenv("LANGSMITH_TRACING", "true")
        langsmith.utils.get_env_var.cache_clear()
        monkeypatch.setattr(langsmith.run_trees, "_CLIENT", KeepingClient())
        self._sdk: Any = langsmith

    def close(self) -> None:
        self._sdk.utils.get_env_var.cache_clear()

    def told(self, run: Any) -> Told:
        return {
            "id": str(run.id),
            "parent_id": run.parent_run_id and str(run.parent_run_id),
            "trace_id": str(run.trace_id),
            "dotted_order": run.dotted_order,
            "tags": run.tags,
            "metadata": run.metadata,
            "project": run.session_name,
            "headers": run.to_headers(),
        }

    def call(self, address: str) -> Tuple[Told, Any]:
        root = self._sdk.RunTree(name="root", project_name=PROJECT)
        run = root.create_child("call", tags=TAGS, extra={"metadata": dict(METADATA)})
        return self.told(run), ask(address, run.to_headers())

    def serve_from_headers(self, headers: Any) -> Told:
        parent = self._sdk.RunTree.from_headers(dict(headers))
        return self.told(parent.create_child("serve", tags=parent.tags, extra={"metadata": parent.metadata}))

    def serve_in_context(self, headers: Any) -> Told:
        with self._sdk.tracing_context(parent=dict(headers)), self._sdk.trace("serve") as run:
            return self.told(run)


@pytest.fixture
def langsmith(monkeypatch: pytest.MonkeyPatch) -> Iterator[LangSmith]:
    sdk = LangSmith(monkeypatch)
    yield sdk
    monkeypatch.undo()
    sdk.close()


def at(serve: Any) -> Any:
    return serving(answering(lambda scope: serve(scope["headers"])))


@NEEDS_LANGSMITH
@pytest.mark.parametrize("serve", SERVE_IN_CLEW)
def test_request_of_langsmiths_is_served_under_its_run(langsmith: LangSmith, serve: Any) -> None:
    with clew.record() as runs, at(serve) as address:
        caller, served = in_empty_context(langsmith.call, address)
    assert_is_under(served, caller)
    [run] = runs
    assert {**told(run), "headers": served["headers"]} == served
    # And from there on to a third service, which has LangSmith's again.
    assert_is_under(in_empty_context(langsmith.serve_in_context, served["headers"]), served)


@NEEDS_LANGSMITH
@pytest.mark.parametrize("serve", [LangSmith.serve_from_headers, LangSmith.serve_in_context])
def test_request_of_ours_is_served_under_our_run(langsmith: LangSmith, serve: Any) -> None:
    with clew.record(), at(lambda headers: serve(langsmith, headers)) as address:
        caller, served = in_empty_context(call_from_clew, address)
        assert_is_under(served, caller)
        assert_is_under(in_empty_context(serve_in_context, served["headers"]), served)


@NEEDS_LANGSMITH
def test_request_goes_through_a_service_that_records_nothing(langsmith: LangSmith) -> None:
    def serve(headers: Any) -> Dict[str, str]:
        with tracing_context(parent=headers), clew.trace("serve"):
            return clew.get_current_headers()

    with at(serve) as address:
        caller, headers = in_empty_context(langsmith.call, address)
    assert_is_under(in_empty_context(langsmith.serve_from_headers, headers), caller)


# The two services of LangSmith's documentation on distributed tracing, with another import.

app = FastAPI()


@traceable
async def my_application() -> Told:
    run = get_current_run_tree()
    assert run is not None
    return told(run)


@app.post("/in-a-block")
async def in_a_block(request: Request) -> Any:
    with tracing_context(parent=request.headers):
        return await my_application()


@app.post("/at-the-call")
async def at_the_call(request: Request) -> Any:
    return await my_application(langsmith_extra={"parent": request.headers})  # type: ignore[call-arg]


@traceable
async def my_client_function(address: str, path: str) -> Tuple[Told, Any]:
    headers = {}
    async with httpx.AsyncClient(base_url=address, **OPTIONS) as client:
        run_tree = get_current_run_tree()
        if run_tree:
            headers.update(run_tree.to_headers())
        response = await client.post(path, headers=headers)
    assert run_tree is not None
    return told(run_tree), response.json()


PATHS = pytest.mark.parametrize("path", ["/in-a-block", "/at-the-call"])


async def call_twice(address: str, path: str) -> Any:
    with tracing_context(tags=TAGS, metadata=METADATA, project_name=PROJECT), clew.trace("request"):
        return await asyncio.gather(*[my_client_function(address, path) for _ in range(2)])


@PATHS
def test_two_services_of_the_documentation_are_one_tree(path: str) -> None:
    with clew.record() as runs, serving(app) as address:
        in_empty_context(asyncio.run, call_twice(address, path))
    call = "  my_client_function\n    my_application\n"
    runs.assert_tree(f"request\n{call}{call}")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    with serving_in_python(f"{__name__}:app") as address:
        yield address


@PATHS
def test_two_services_in_two_processes_are_one_tree(elsewhere: str, path: str) -> None:
    with clew.record() as runs:
        answers = in_empty_context(asyncio.run, call_twice(elsewhere, path))
    runs.assert_tree("request\n  my_client_function\n  my_client_function")
    for caller, served in answers:
        assert_is_under(served, caller)
    assert len({served["id"] for _, served in answers}) == 2
