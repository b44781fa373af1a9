"""
The run tree: which piece of traced work was done inside which.

It knows no exporter, viewer or framework, and imports no event loop.
"""

from __future__ import annotations

from clew._shared.environment import load_configuration

load_configuration()
