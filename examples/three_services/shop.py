"""
Three services in two languages, and the one tree of their runs for one request.

    npm install --prefix examples/three_services && python examples/three_services/shop.py

The first service, this one, asks `stock.py`, which asks `price.mjs`. The first two are traced by clew, the third one by
LangSmith's SDK for JavaScript. They have only the headers of their requests in common.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List
from urllib.request import Request, urlopen

import clew

HERE = Path(__file__).parent


def start(*command: str) -> subprocess.Popen[str]:
    """
    Start a service. It prints its address and then its runs, and ends when its input is closed.
    """
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", cwd=str(HERE))


def address_of(service: subprocess.Popen[str]) -> str:
    """
    Return the first line that a service prints.
    """
    address = service.stdout.readline().strip() if service.stdout else ""
    if not address:
        sys.exit(f"{service.args} has not started: run `npm install --prefix examples/three_services` first")
    return address


@clew.traceable(name="shop (Python)", tags=["order 12"])
def order(stock: str, item: str) -> Dict[str, int]:
    with clew.trace("ask for the stock"):
        request = Request(f"{stock}/{item}", headers=clew.get_current_headers())
        with urlopen(request) as response:
            answer: Dict[str, int] = json.load(response)
    return answer


def draw(runs: List[Dict[str, Any]], parent_id: str = "None", indent: str = "") -> Iterator[str]:
    """
    Yield the lines of the tree of all runs, from all three services.
    """
    for run in runs:
        if run["parent_id"] == parent_id:
            yield f"{indent}{run['name']} {run['tags']}"
            yield from draw(runs, run["id"], f"{indent}  ")


def main() -> None:
    price = start(os.environ.get("CLEW_NODE", "node"), "price.mjs")
    stock = start(sys.executable, "stock.py", address_of(price))
    with clew.record() as recorded:
        answer = order(address_of(stock), "tea")
    runs = [
        {"id": str(run.id), "parent_id": str(run.parent_id), "name": run.name, "tags": list(run.tags)}
        for run in recorded
    ]
    for service in (stock, price):
        printed, _ = service.communicate(timeout=30)
        runs.extend(json.loads(line) for line in printed.splitlines())
    print(f"{answer['count']} of them, at {answer['price']} each")
    print("\n".join(draw(runs)))


if __name__ == "__main__":
    main()
