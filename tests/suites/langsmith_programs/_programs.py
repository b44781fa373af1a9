"""
What a program is, and the two that it runs on: LangSmith's own names, and clew's.

A program takes its names from `sdk`, which is what ``import langsmith as sdk`` would be. Nothing else in it changes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import clew
from tests.edges._threads import in_empty_context

if TYPE_CHECKING:
    import pytest

# LangSmith's last release for 3.8, its last one for 3.9, and today's, by the first Python that has it.
GENERATION = min(sys.version_info[1], 10)
# From when on it finds its way in asyncio: where a task takes a context, and says so in its signature.
TASKS_TAKE_A_CONTEXT = (3, 11) <= sys.version_info < (3, 14)


class Program(NamedTuple):
    """
    Hold a program, and the tree that it should give.

    Args:
        bare: what LangSmith makes of it, where that is something else.
        since: the generation of LangSmith that can run it.
        differs: the fields of its runs in which the two differ, on purpose.
        missing: what clew has not, so that it cannot run.
        untold: what clew does otherwise, so that the tree is right, and not all that is said of its runs.
    """

    call: Callable[[Any], object]
    tree: str
    bare: Optional[str]
    since: int
    differs: Tuple[str, ...]
    missing: Optional[str]
    untold: Optional[str]


class Programs(List[Program]):
    """Collect the programs of a module."""

    def add(
        self,
        tree: str,
        *,
        bare: Optional[str] = None,
        since: int = 8,
        differs: Sequence[str] = (),
        missing: Optional[str] = None,
        untold: Optional[str] = None,
    ) -> Callable[[Any], Any]:
        def register(call: Any) -> Any:
            split = None if bare is None else _dedented(bare)
            self.append(Program(call, _dedented(tree), split, since, tuple(differs), missing, untold))
            return call

        return register


class Seen(NamedTuple):
    """Hold what is recorded of one run, in the same words for both."""

    id: str
    parent_id: Optional[str]
    trace_id: str
    dotted_order: str
    name: str
    said: Dict[str, Any]


def model(messages: List[Dict[str, str]]) -> Dict[str, Any]:
    """Be the program's model, which answers what it was asked last."""
    return {"choices": [{"message": {"role": "assistant", "content": messages[-1]["content"].upper()}}]}


class LangSmith:
    """Run a program with LangSmith's own names, and a client that keeps what it would send."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import langsmith  # not at the top, as in `_tracers`
        from langsmith.utils import ContextThreadPoolExecutor, get_env_var

        from tests.foreign.test_langsmith import KeepingClient

        monkeypatch.setenv("LANGSMITH_TRACING", "true")
        self._environment: Any = get_env_var
        self._environment.cache_clear()
        self._ended: Dict[Any, Dict[str, Any]] = {}
        self._client = KeepingClient()
        create = self._client.create_run
        # Its inputs, too, as they are now.
        monkeypatch.setattr(
            self._client,
            "create_run",
            lambda name, inputs, run_type, **fields: create(
                name, inputs, run_type, asked=dict(inputs), run_type_=run_type, **fields
            ),
        )
        monkeypatch.setattr(self._client, "update_run", self._update)
        monkeypatch.setattr(langsmith.run_trees, "_CLIENT", self._client)
        monkeypatch.setattr(langsmith, "ContextThreadPoolExecutor", ContextThreadPoolExecutor, raising=False)
        self._sdk: Any = langsmith

    def _update(self, run_id: Any, **fields: Any) -> None:
        self._ended.setdefault(run_id, {}).update({key: value for key, value in fields.items() if value is not None})

    def run(self, program: Program) -> List[Seen]:
        in_empty_context(program.call, self._sdk)
        return [self._seen(run, self._ended.get(run["id"], {})) for run in self._client.created]

    def _seen(self, run: Dict[str, Any], ended: Dict[str, Any]) -> Seen:
        last = {**run, **ended}  # one that has ended before it was posted may never be patched
        error = last.get("error")
        metadata = last.get("extra", {}).get("metadata", {})
        return Seen(
            str(run["id"]),
            str(run["parent_run_id"]) if run.get("parent_run_id") else None,
            str(run["trace_id"]),
            run["dotted_order"],
            run["name"],
            {
                "run_type": run["run_type_"],
                "inputs": run["asked"],
                "outputs": {} if error else last.get("outputs") or {},
                "has_failed": error is not None,
                "tags": sorted(set(last.get("tags") or ())),
                "metadata": {key: value for key, value in metadata.items() if key not in ("ls_method", "revision_id")},
                "project": None if run.get("session_name") == "default" else run.get("session_name"),
                # LangSmith has them for models alone.
                "events": [event["name"] for event in last.get("events") or ()],
            },
        )

    def close(self) -> None:
        self._environment.cache_clear()


class Clew:
    """Run a program with clew's names."""

    def run(self, program: Program) -> List[Seen]:
        clew.configure(hide=False)  # as LangSmith's SDK, which hides nothing by name
        try:
            with clew.record() as runs:
                in_empty_context(program.call, clew)
        finally:
            clew.configure(hide=None)
        assert [run.name for run in runs if run.status == "pending"] == []
        return [
            Seen(
                str(run.id),
                str(run.parent_id) if run.parent_id else None,
                str(run.trace_id),
                run.dotted_order,
                run.name,
                {
                    "run_type": run.run_type,
                    "inputs": run.inputs,
                    "outputs": {} if run.status == "error" else run.outputs or {},
                    "has_failed": run.status == "error",
                    "tags": sorted(set(run.tags)),
                    "metadata": run.metadata,
                    "project": run.project_name,
                    "events": [event["name"] for event in run.events if run.run_type == "llm"],
                },
            )
            for run in runs
        ]


def drawn(seen: List[Seen]) -> str:
    """
    Return whose child each run is, as text in which siblings are sorted; and check that ids and orders say the same.
    """
    runs = {run.id: run for run in seen}
    assert len(runs) == len(seen)

    def lines(parent: Optional[Seen]) -> List[List[str]]:
        found = []
        for run in seen:
            if (runs.get(run.parent_id or "") if run.parent_id else None) is parent:
                assert run.trace_id == (parent.trace_id if parent else run.id)
                above = f"{parent.dotted_order}." if parent else ""
                assert run.dotted_order.startswith(above)
                assert run.dotted_order.endswith(run.id)
                assert "." not in run.dotted_order[len(above) :]
                below = [f"  {line}" for child in lines(run) for line in child]
                found.append([run.name, *below])
        return sorted(found)

    for run in seen:
        assert run.parent_id is None or run.parent_id in runs
    return "\n".join(line for root in lines(None) for line in root)


def said(seen: List[Seen], without: Sequence[str] = ()) -> List[Tuple[str, Dict[str, Any]]]:
    """Return what is recorded of each run beside its place."""
    fields = [(run.name, {key: run.said[key] for key in run.said if key not in without}) for run in seen]
    return sorted(fields, key=repr)


def _dedented(tree: str) -> str:
    lines = [line for line in tree.splitlines() if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    return "\n".join(line[margin:] for line in lines)
