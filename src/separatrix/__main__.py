"""``python -m separatrix``."""

from separatrix.cli import main

main()
