"""
Use clew together with other packages. Each one is imported by its own module here, and nowhere else.
"""

from __future__ import annotations
