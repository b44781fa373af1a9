"""
The run tree: which piece of traced work was done inside which.

It knows no exporter, viewer or framework, and imports no event loop.
"""
