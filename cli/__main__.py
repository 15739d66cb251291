"""``python -m cli``: the same as ``toolkit``."""

from cli.main import main

main()
