"""Test suites for code that extends the toolkit."""
