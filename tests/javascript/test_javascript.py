"""
LangSmith's SDK for JavaScript at the other end of a socket: under Express, and as the client.

The one for Python is in `tests/foreign/test_langsmith_headers.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Iterator, Tuple

import pytest

# Where node is, and a copy of what is in this folder beside the packages that it needs.
if "CLEW_NODE" not in os.environ:
    pytest.skip("needs Node.js, which the nox session `javascript` installs", allow_module_level=True)

import clew
from clew.runs import run as run_module
from tests.edges._threads import DEADLINE, in_empty_context
from tests.foreign._http import (
    METADATA,
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
    serving_elsewhere,
)

NODE = os.environ["CLEW_NODE"]
FOLDER = Path(os.environ["CLEW_JAVASCRIPT"])
EXAMPLE = Path(__file__).parents[2] / "examples" / "three_services"
# In no state of LangSmith's that the machine may have.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("LANGSMITH_", "LANGCHAIN_"))}


@pytest.fixture(scope="module")
def express() -> Iterator[str]:
    with serving_elsewhere(NODE, "server.mjs", cwd=FOLDER, env=ENVIRONMENT) as address:
        yield address


def call_from_node(address: str) -> Tuple[Told, Any]:
    said = {"address": address, "project": PROJECT, "tags": TAGS, "metadata": METADATA}
    command = [NODE, "client.mjs", json.dumps(said)]
    done = subprocess.run(
        command, cwd=FOLDER, env=ENVIRONMENT, stdout=subprocess.PIPE, encoding="utf-8", timeout=DEADLINE, check=True
    )
    caller, served = json.loads(done.stdout)
    return caller, served


@pytest.mark.parametrize("path", ["/create-child", "/traceable"])
def test_express_serves_our_request_under_our_run(express: str, path: str) -> None:
    with clew.record():
        caller, served = in_empty_context(call_from_clew, express + path)
        assert_is_under(served, caller)
        # And from there on to a third service, which has ours again.
        for serve in SERVE_IN_CLEW:
            assert_is_under(in_empty_context(serve, served["headers"]), served)


@pytest.mark.parametrize("serve", SERVE_IN_CLEW)
def test_request_of_nodes_is_served_under_its_run(express: str, serve: Any) -> None:
    with clew.record() as runs, serving(answering(lambda scope: serve(scope["headers"]))) as address:
        caller, served = call_from_node(address)
    assert_is_under(served, caller)
    [run] = runs
    assert (str(run.id), run.dotted_order) == (served["id"], served["dotted_order"])
    assert_is_under(ask(f"{express}/create-child", served["headers"]), served)


def test_run_that_node_starts_in_the_millisecond_of_our_run_stays_in_the_trace(
    express: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    millisecond = time.time_ns() // 1_000_000
    monkeypatch.setattr(run_module, "now_ns", lambda: millisecond * 1_000_000 + 999_000)
    with clew.record():
        caller, served = in_empty_context(call_from_clew, f"{express}/create-child?start_time={millisecond}")
        # JavaScript's clock has no microseconds, and the child is before its parent.
        assert served["dotted_order"][-58:-36] < caller["dotted_order"][-58:-36]
        child = in_empty_context(serve_in_context, served["headers"])
    assert (child["trace_id"], child["parent_id"]) == (caller["trace_id"], served["id"])
    assert (child["tags"], child["metadata"], child["project"]) == (TAGS, METADATA, PROJECT)


def test_three_services_print_one_tree(tmp_path: Path) -> None:
    example = tmp_path / "three_services"
    shutil.copytree(str(EXAMPLE), str(example), ignore=shutil.ignore_patterns("node_modules"))
    (example / "node_modules").symlink_to((FOLDER / "node_modules").resolve())
    done = subprocess.run(
        [sys.executable, str(example / "shop.py")],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=DEADLINE,
        check=True,
    )
    assert done.stdout == textwrap.dedent(
        """\
        7 of them, at 3 each
        shop (Python) ['order 12']
          ask for the stock ['order 12']
            stock (Python) ['order 12']
              ask for the price ['order 12']
                price (JavaScript) ['order 12']
        """
    )
