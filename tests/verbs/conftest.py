"""The fixtures of `tests.made_up`."""

from tests.made_up import given, home  # noqa: F401
