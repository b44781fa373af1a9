"""
What LangSmith's own SDK and clew make of each other's headers.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Dict, Mapping, Tuple

import pytest

if sys.version_info >= (3, 15) or sys.implementation.name == "pypy":
    pytest.skip("needs langsmith, whose own needs have no release for 3.15 and PyPy yet", allow_module_level=True)

import langsmith
from langsmith.run_trees import RunTree

from clew.propagation.baggage import Baggage
from clew.propagation.langsmith import DottedOrder, LangSmithBaggage
from tests.edges._threads import in_empty_context
from tests.propagation._grammars import ROOT_RUN


@pytest.fixture(scope="module")
def client() -> langsmith.Client:
    return langsmith.Client(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False, info={})


def read_by_langsmith(headers: Mapping[str, str], client: langsmith.Client) -> Tuple[Any, ...]:
    """Return the values that the SDK reads."""
    run = in_empty_context(lambda: RunTree.from_headers(headers, client=client))
    return run.dotted_order, run.trace_id, run.id, run.parent_run_id, run.session_name, run.tags, run.extra


def written_by_langsmith(client: langsmith.Client, **options: Any) -> Dict[str, str]:
    run = RunTree(name="parent", client=client, project_name="Caf\u00e9, 1+1=2", **options)
    return in_empty_context(lambda: run.create_child("child", **options)).to_headers()


OPTIONS = {"tags": ["x", "y z"], "extra": {"metadata": {"k": "v=+\u00e9,;%", "n": 1, "m": {"l": [None, 0.5]}}}}


def test_what_langsmith_writes_is_read_and_what_is_written_it_reads_as_its_own(client: langsmith.Client) -> None:
    theirs = written_by_langsmith(client, **OPTIONS)
    order = DottedOrder.from_header(theirs["langsmith-trace"])
    found = LangSmithBaggage.from_baggage(Baggage.from_header(theirs["baggage"]))
    assert found == (OPTIONS["extra"]["metadata"], ("x", "y z"), "Caf\u00e9, 1+1=2")

    ours = {"langsmith-trace": order.to_header(), "baggage": found.added_to(Baggage()).to_header()}
    assert ours["langsmith-trace"] == theirs["langsmith-trace"]
    seen = read_by_langsmith(ours, client)
    assert seen == read_by_langsmith(theirs, client)
    assert seen[:4] == (order.to_header(), order.runs[0][1], order.runs[1][1], order.runs[0][1])
    assert seen[5:] == (OPTIONS["tags"], OPTIONS["extra"])


@pytest.mark.parametrize("text", ["garbage", ROOT_RUN.replace("0102T", "0230T"), f"{ROOT_RUN}.", ROOT_RUN[:-1]])
def test_dotted_order_that_is_not_valid_raises_in_langsmith_only(text: str, client: langsmith.Client) -> None:
    with pytest.raises(ValueError, match=r"time data|day .*range|hexadecimal"):
        read_by_langsmith({"langsmith-trace": text}, client)
    assert DottedOrder.from_header(text) is None


@pytest.mark.parametrize("header", ["a=1, langsmith-tags=b", "a,langsmith-tags=b", "langsmith-tags=b;p"])
def test_other_members_and_spaces_lose_the_tags_in_langsmith_only(header: str, client: langsmith.Client) -> None:
    assert read_by_langsmith({"langsmith-trace": ROOT_RUN, "baggage": header}, client)[5] != ["b"]
    assert LangSmithBaggage.from_baggage(Baggage.from_header(header)).tags == ("b",)


def test_last_of_several_members_holds_as_in_langsmith(client: langsmith.Client) -> None:
    header = ",".join(
        f"langsmith-tags=t{number},langsmith-project=p{number},langsmith-metadata={{%22k%22:{number}}}"
        for number in (1, 2)
    )
    seen = read_by_langsmith({"langsmith-trace": ROOT_RUN, "baggage": header}, client)
    assert seen[4:] == ("p2", ["t2"], {"metadata": {"k": 2}})
    assert LangSmithBaggage.from_baggage(Baggage.from_header(header)) == ({"k": 2}, ("t2",), "p2")


def test_metadata_is_json_to_langsmith(client: langsmith.Client) -> None:
    header = LangSmithBaggage({"k": float("nan")}).added_to(Baggage()).to_header()
    assert read_by_langsmith({"langsmith-trace": ROOT_RUN, "baggage": header}, client)[6] == {"metadata": {"k": None}}
    assert json.loads(Baggage.from_header(header).get("langsmith-metadata") or "") == {"k": None}
