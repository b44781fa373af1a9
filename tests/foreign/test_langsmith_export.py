"""
`LangSmithExporter` with LangSmith's own client, against a server that has the rules of theirs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Iterable, Iterator, List, Tuple

import pytest

import clew
from tests.edges._threads import DEADLINE
from tests.exporters._exporters import counted, exporting_to, make_run, run_python

pytest.importorskip("langsmith", reason="needs langsmith, which has no release for this Python")

import langsmith

from clew.errors import MissingExtraError
from clew.exporters.langsmith import LangSmithExporter
from tests.foreign._langsmith_server import LangSmithServer

W3C = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
UPSTREAM = "018f0000-0000-7000-8000-000000000001"
LANGSMITH = {"langsmith-trace": f"20260102T030405000006Z{UPSTREAM}"}


@pytest.fixture
def server() -> LangSmithServer:
    return LangSmithServer()


@pytest.fixture
def client(server: LangSmithServer) -> Iterator[langsmith.Client]:
    with server.serving() as address:
        client = langsmith.Client(
            api_url=address, api_key="key", auto_batch_tracing=False, retry_config=langsmith_retries()
        )
        yield client
        client.session.close()


def langsmith_retries() -> Any:
    from urllib3 import Retry

    return Retry(total=0)


def test_tree_arrives_as_the_server_wants_it(server: LangSmithServer, client: langsmith.Client) -> None:
    @clew.traceable(run_type="llm", tags=["t"], metadata={"m": 1}, project_name="p")
    def answer(question: str) -> str:
        run = clew.get_current_run_tree()
        assert run is not None
        run.add_event("new_token")
        run.add_event({"name": "odd", "time_ns": "never"})
        return question.upper()

    with exporting_to(LangSmithExporter(client)), clew.trace("root", project_name="of the root"):
        answer("who?")
        with pytest.raises(ValueError, match="no"), clew.trace("failing"):
            raise ValueError("no")
    runs = server.runs
    root, child, failed = runs["root"], runs["answer"], runs["failing"]
    assert root["parent_run_id"] is None
    assert child["parent_run_id"] == failed["parent_run_id"] == root["id"]
    assert (child["run_type"], child["tags"], child["session_name"]) == ("llm", ["t"], "of the root")
    assert child["extra"]["metadata"]["m"] == 1
    assert (child["inputs"], child["outputs"], child.get("error")) == ({"question": "who?"}, {"output": "WHO?"}, None)
    assert "ValueError: no" in failed["error"]
    token, odd = child["events"]
    assert token["name"] == "new_token"
    assert child["start_time"][:19] <= token["time"][:19]
    assert odd == {"name": "odd"}
    assert root["session_name"] == "of the root"
    assert server.requests[0] == "/runs/multipart"


def test_run_under_a_w3c_parent_is_a_root_and_under_langsmiths_is_not(
    server: LangSmithServer, client: langsmith.Client
) -> None:
    with exporting_to(LangSmithExporter(client)):
        for name, headers in (("w3c", W3C), ("langsmith", LANGSMITH), ("both", {**W3C, **LANGSMITH})):
            with clew.tracing_context(parent=headers), clew.trace(name), clew.trace(f"under {name}"):
                pass
    runs = server.runs
    assert runs["w3c"]["parent_run_id"] is None
    assert runs["under w3c"]["trace_id"] == runs["w3c"]["id"]
    for name in ("langsmith", "both"):
        assert runs[name]["parent_run_id"] == runs[f"under {name}"]["trace_id"] == UPSTREAM
    assert runs["both"]["extra"]["metadata"]["clew.links"] == ["4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"]


def test_what_langsmith_has_no_field_for_is_in_the_metadata(server: LangSmithServer, client: langsmith.Client) -> None:
    exporting = exporting_to(LangSmithExporter(client, project_name="mine"))
    with exporting, clew.trace("root") as run, clew.trace("typed", run_type="mapping"), clew.trace("cut") as cut:
        cut._close("cancelled", "Traceback ... GeneratorExit")
        run.add_tags("after")
    runs = server.runs
    assert runs["cut"].get("error") is None
    assert runs["cut"]["extra"]["metadata"]["clew.status"] == "cancelled"
    assert runs["typed"]["run_type"] == "chain"
    assert runs["typed"]["extra"]["metadata"]["clew.run_type"] == "mapping"
    assert {run["session_name"] for run in runs.values()} == {"mine"}
    assert runs["root"]["tags"] == ["after"]


def test_odd_payloads_do_not_stop_the_others(server: LangSmithServer, client: langsmith.Client) -> None:
    odd = {"\ud800": "\udfff\u2028", "big": 1 << 200, "nan": float("nan"), "object": object(), "deep": [[[[{}]]]]}
    with exporting_to(LangSmithExporter(client), max_batch=2, delay=DEADLINE):
        with clew.trace("odd \ud800 name", inputs=odd, metadata=odd) as run:
            run.add_outputs(odd)
            run.add_event({"name": "in the far future", "time_ns": 10**30})
        make_run("plain")
    assert len(server.runs) == 2
    assert server.runs["plain"]["inputs"] == {}
    assert [run["events"] for run in server.posted if run["events"]] == [[{"name": "in the far future"}]]


def export_all(client: Any, runs: Iterable[Tuple[str, Any]], **options: Any) -> Tuple[int, int]:
    """Export runs of these names and inputs in one batch; return how many were refused, and how many lost."""
    runs = list(runs)
    before = clew.stats()
    options = {"max_batch": len(runs), "delay": DEADLINE, **options}
    with exporting_to(LangSmithExporter(client), **options) as pipeline:
        for name, text in runs:
            with clew.trace(name, inputs={"text": text}):
                pass
        is_delivered = pipeline.flush(4 * DEADLINE)
    refused, lost = (clew.stats().get(kind, 0) - before.get(kind, 0) for kind in ("runs_refused", "runs_lost"))
    assert is_delivered == (refused + lost == 0)
    return refused, lost


@pytest.mark.parametrize("has_multipart", [True, False])
def test_batch_that_is_too_large_for_one_request_is_sent_in_several(
    server: LangSmithServer, client: langsmith.Client, has_multipart: bool
) -> None:
    server.has_multipart = has_multipart
    text = "0123456789" * 10_000
    assert export_all(client, [(f"run {number}", text) for number in range(300)]) == (0, 0)
    assert len(server.runs) == 300
    assert server.requests.count("/runs/multipart" if has_multipart else "/runs/batch") == 2


@pytest.mark.parametrize("has_multipart", [True, False])
def test_run_that_the_server_refuses_is_lost_alone(
    server: LangSmithServer, client: langsmith.Client, has_multipart: bool
) -> None:
    server.has_multipart = has_multipart
    names = [f"run {number}" for number in range(20)]
    names[7:7] = names[15:15] = ["not valid"]
    assert export_all(client, [(name, "") for name in names]) == (2, 0)
    assert set(server.runs) == {f"run {number}" for number in range(20)}


def test_run_that_is_too_large_by_itself_is_lost_alone(server: LangSmithServer, client: langsmith.Client) -> None:
    with exporting_to(LangSmithExporter(client), max_batch=3, delay=DEADLINE) as pipeline:

        def export() -> None:
            make_run("before")
            with clew.trace("large") as run:
                run._close("error", "0123456789" * 2_200_000)  # which `end` would have cut
            make_run("after")
            assert not pipeline.flush(DEADLINE)

        assert counted("runs_refused", export) == 1
    assert set(server.runs) == {"before", "after"}


def test_what_was_delivered_or_refused_does_not_come_again_with_the_rest(
    server: LangSmithServer, client: langsmith.Client
) -> None:
    runs = [(name, "") for name in ("not valid", "first", "second", "third")]
    server.answers = [422, 202, 500, 500, 500]  # all; the first half; the other one, which the client tries thrice
    exporter = LangSmithExporter(client)
    taken = server.take
    bodies: List[bytes] = []
    server.take = lambda path, kind, body: bodies.append(body) or taken(path, kind, body)  # type: ignore[method-assign, func-returns-value]
    with exporting_to(exporter, max_batch=4, delay=DEADLINE) as pipeline:
        for name, _ in runs:
            make_run(name)
        assert pipeline.flush(DEADLINE)
    assert [b"first" in body for body in bodies] == [True, True, False, False, False, False]
    assert set(server.runs) == {"second", "third"}
    assert exporter._settled == set()


def test_server_that_refuses_everything_is_not_asked_for_every_run(
    server: LangSmithServer, client: langsmith.Client
) -> None:
    refused, lost = export_all(client, [(f"not valid {number}", "") for number in range(100)], attempts=3)
    assert (refused, lost) == (0, 100)
    assert len(server.requests) < 40
    assert export_all(client, [("next", "")]) == (0, 0)


def test_run_that_the_client_cannot_handle_is_lost_alone(server: LangSmithServer, client: langsmith.Client) -> None:
    def hide(inputs: Any) -> Any:
        return {"hidden": inputs["text"]["not there"]} if inputs["text"] else inputs

    client._hide_inputs = hide
    assert export_all(client, [("first", ""), ("bad", "x"), ("second", "")]) == (1, 0)
    assert set(server.runs) == {"first", "second"}


def test_nothing_is_added_of_the_environment(
    server: LangSmithServer, client: langsmith.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any, **__: Any) -> Any:
        raise AssertionError("started a process")

    for name in ("LANGCHAIN_REVISION_ID", "LANGSMITH_DATABASE", "LANGCHAIN_SETTING"):
        monkeypatch.setenv(name, "of the environment")
    monkeypatch.setattr(subprocess, "Popen", run)
    with exporting_to(LangSmithExporter(client)), clew.trace("run", metadata={"mine": 1}):
        pass
    assert server.runs["run"]["extra"] == {"metadata": {"mine": 1}}


def test_older_server_gets_batches(client: langsmith.Client, server: LangSmithServer) -> None:
    server.has_multipart = False
    with exporting_to(LangSmithExporter(client)) as pipeline:
        for name in ("first", "second"):
            make_run(name)
            assert pipeline.flush(DEADLINE)
    assert set(server.runs) == {"first", "second"}
    assert server.requests.count("/runs/batch") == 2


@pytest.mark.parametrize("has_multipart", [True, False])
def test_failure_is_noticed_and_the_runs_come_again(
    client: langsmith.Client, server: LangSmithServer, has_multipart: bool
) -> None:
    server.has_multipart = has_multipart
    exporter = LangSmithExporter(client)
    with exporting_to(exporter) as pipeline:
        server.answers = [403]

        def export() -> None:
            make_run("run")
            assert pipeline.flush(DEADLINE)

        assert counted("exports_failed", export) == 1
    assert set(server.runs) == {"run"}


def test_runs_that_are_there_already_are_delivered(client: langsmith.Client, server: LangSmithServer) -> None:
    server.answers = [409]
    with exporting_to(LangSmithExporter(client)) as pipeline:
        make_run("run")
        assert pipeline.flush(DEADLINE)
    assert server.requests == ["/runs/multipart"]


def test_no_server_is_counted_and_reaches_nobody() -> None:
    client = langsmith.Client(
        api_url="http://127.0.0.1:9", api_key="key", auto_batch_tracing=False, retry_config=langsmith_retries()
    )
    with exporting_to(LangSmithExporter(client), attempts=2) as pipeline:

        def export() -> None:
            make_run("run")
            assert not pipeline.flush(DEADLINE)

        assert counted("runs_lost", export) == 1
    client.session.close()


def test_client_of_the_callers_is_left_as_it_was(client: langsmith.Client, server: LangSmithServer) -> None:
    with exporting_to(LangSmithExporter(client)):
        make_run("run")
    assert type(client) is langsmith.Client
    client.request_with_retries("GET", "/info")


def test_langsmith_as_text_makes_a_client_of_the_environment(server: LangSmithServer) -> None:
    code = (
        "import clew, os, warnings\nwarnings.simplefilter('ignore')\n"
        "clew.configure(exporter='langsmith:')\n"
        "with clew.trace('parent'):\n    pass\n"
        "assert clew.flush(30)\n"
        "if hasattr(os, 'fork') and not os.fork():\n"
        "    with clew.trace('child'):\n        pass\n"
        "    os._exit(0 if clew.flush(30) else 1)\n"
        "if hasattr(os, 'fork'):\n    assert os.wait()[1] == 0\n"
        "with clew.trace('at the end'):\n    pass\n"
    )
    with server.serving() as address:
        variables = {"LANGSMITH_ENDPOINT": address, "LANGSMITH_API_KEY": "key", "LANGSMITH_PROJECT": "theirs"}
        done = run_python(code, env={**os.environ, **variables})
    assert (done.returncode, done.stderr) == (0, "")
    assert set(server.runs) == {"parent", "at the end"} | ({"child"} if hasattr(os, "fork") else set())
    assert {run["session_name"] for run in server.runs.values()} == {"theirs"}


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langsmith", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clew\[langsmith\]'"):
        clew.configure(exporter="langsmith:")
