"""``python -m toolkit``: the same as the command ``toolkit``."""

import pkgutil

# by name: the folder cli/ is installed as toolkit.cli, which type checkers of the repository cannot see
pkgutil.resolve_name("toolkit.cli.start:main")()
