"""
The second service: it counts the stock, and asks the third service for the price.

`shop.py` starts it.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Callable, Dict, List
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import clew

PRICE = sys.argv[1]


@clew.traceable(name="stock (Python)")
def count(item: str) -> Dict[str, Any]:
    with clew.trace("ask for the price") as run:
        request = Request(f"{PRICE}/{item}", headers=run.to_headers())
        with urlopen(request) as response:
            return {"count": 7, "price": int(response.read())}


def application(environ: Dict[str, Any], start_response: Callable[..., Any]) -> List[bytes]:
    """
    Answer one request. Its runs are children of the run that the headers name.
    """
    with clew.record() as runs, clew.tracing_context(parent=environ):
        answer = json.dumps(count(environ["PATH_INFO"].strip("/")))
    for run in runs:
        line = {"id": str(run.id), "parent_id": str(run.parent_id), "name": run.name, "tags": run.tags}
        print(json.dumps(line), flush=True)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer.encode()]


class Quiet(WSGIRequestHandler):
    """
    Log no requests.
    """

    def log_message(self, *args: Any) -> None:
        """
        Do nothing.
        """


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.handle_request()
