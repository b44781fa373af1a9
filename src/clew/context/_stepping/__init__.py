"""
The machinery below `clew.context`: how one `send`, `throw` or `close` is made inside a Context.
"""
