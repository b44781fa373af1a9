"""
The machinery below `clew.runs`: identities, drivers of traced functions and streams, drawing and serialising.
"""
