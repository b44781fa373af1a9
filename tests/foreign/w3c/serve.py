"""
Serve what W3C's trace-context suite is run against: `python -m tests.foreign.w3c.serve`, until its input ends.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Dict, Iterator

import clew
from tests.foreign._http import serving, serving_wsgi
from tests.foreign.w3c._services import ASGI_WAYS, WSGI_WAYS, asgi_app, wsgi_app


@contextmanager
def serving_all() -> Iterator[Dict[str, str]]:
    """Serve both services, and return the addresses of all ways of theirs to make a call, by their names."""
    with serving(asgi_app(clew.record)) as asgi, serving_wsgi(wsgi_app(clew.record)) as wsgi:
        yield {
            **{f"ASGI, {way}": f"{asgi}/{way}" for way in ASGI_WAYS},
            **{f"WSGI, {way}": f"{wsgi}/{way}" for way in WSGI_WAYS},
        }


if __name__ == "__main__":
    with serving_all() as addresses:
        print(*[f"{name}: {address}" for name, address in addresses.items()], sep="\n", flush=True)
        sys.stdin.read()
