"""
Coverage-guided fuzzing of everything that reads headers. The session `fuzz` runs it for a number of seconds.

    python tests/fuzz/fuzz_headers.py -max_total_time=60 [CORPUS]

No input makes a reader raise, and headers that were written are read as the same values again.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Callable, Dict, List

import atheris

with atheris.instrument_imports(include=["clew"]):
    import clew
    from clew.propagation.baggage import Baggage
    from clew.propagation.fields import Fields
    from clew.propagation.langsmith import DottedOrder, LangSmithBaggage
    from clew.propagation.traceparent import TraceParent
    from clew.propagation.tracestate import TraceState
    from clew.runs._tree.hooks import add_start_hook
    from clew.runs.headers import read_headers

NAMES = ["traceparent", "tracestate", "baggage", "langsmith-trace"]
READERS: List[Any] = [TraceParent, TraceState, Baggage, DottedOrder]
# Valid headers, which random bytes alone would hardly ever produce.
SEEDS = [
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    "langsmith-metadata=%7B%22k%22%3A1%7D,langsmith-tags=a%2Cb,user=Am%C3%A9lie;p=1;q",
    "20260102T030405000006Z018f0000-0000-7000-8000-000000000001.20260229T030405000006Z018f0000-0000-7000-8000-000000000002",
]


def read_one(data: Any) -> None:
    which = data.ConsumeIntInRange(0, len(READERS) - 1)
    text = seeded(data, SEEDS[which])
    reader = READERS[which]
    found = reader.from_header(text)
    if found is None:
        return
    written = found.to_header()
    if written is not None:
        assert written.isascii(), written
        assert written.isprintable(), written
        again = reader.from_header(written)
        assert again is not None, (text, written)
        assert again.to_header() == written, (text, written)
    if isinstance(found, Baggage):
        langsmith = LangSmithBaggage.from_baggage(found)
        repr((found, langsmith, langsmith.added_to(found).to_header()))


def read_all(data: Any) -> None:
    headers: Dict[str, Any] = {name: seeded(data, seed) for name, seed in zip(NAMES, SEEDS)}
    shape = data.ConsumeIntInRange(0, 3)
    collection: Any = headers
    if shape == 1:
        collection = [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers.items()]
    elif shape == 2:
        collection = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        collection["wsgi.version"] = (1, 0)
    elif shape == 3:
        collection = [*headers.items(), *headers.items()]
    Fields.from_headers(collection)
    for is_trusted in (True, False):
        remote, _ = read_headers(collection, is_trusted=is_trusted)
        if remote is None:
            continue
        with clew.tracing_context(parent=collection, trusted=is_trusted), clew.trace("serve") as run:
            written = run.to_headers()
            assert all(value.isascii() and value.isprintable() for value in written.values()), written
            repr((run.trace_id, run.parent_id, run.dotted_order, run.tags, run.metadata, run.project_name, run.links))


def read_anything(data: Any) -> None:
    pairs = [
        (data.ConsumeUnicode(20), data.ConsumeBytes(20) if data.ConsumeBool() else data.ConsumeInt(8)) for _ in range(3)
    ]
    read_headers(pairs)
    read_headers(dict(pairs))
    Fields.from_headers({name: data.ConsumeUnicode(80) for name in ("TRACEPARENT", "TRACESTATE", "BAGGAGE")})


def seeded(data: Any, seed: str) -> str:
    """Return the seed with a part of it replaced."""
    start = data.ConsumeIntInRange(0, len(seed))
    end = data.ConsumeIntInRange(start, len(seed))
    middle: str = data.ConsumeUnicode(40) if data.ConsumeBool() else data.ConsumeString(40)
    return seed[:start] + middle * data.ConsumeIntInRange(1, 3) + seed[end:]


WAYS: List[Callable[[Any], None]] = [read_one, read_all, read_anything]


def test_one_input(text: bytes) -> None:
    data = atheris.FuzzedDataProvider(text)
    WAYS[data.ConsumeIntInRange(0, len(WAYS) - 1)](data)


if __name__ == "__main__":
    logging.getLogger("clew").setLevel(logging.CRITICAL)
    add_start_hook(lambda run: None)  # switches recording on; keeps no run
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
