"""
`python -m clew`: the command `clew`.
"""

from clew.cli import main

main()
