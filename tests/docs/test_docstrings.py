"""The docstrings of the public door, held to numpydoc by its own validator."""

import inspect

import pytest

import toolkit

validate = pytest.importorskip("numpydoc.validate")  # an extra: docs

REQUIRED = {
    "GL03",  # no double blank lines
    "GL06",  # no unknown section
    "GL07",  # sections in order
    "GL08",  # a docstring
    "SS01",  # a summary
    "SS02",  # that begins with a capital
    "SS03",  # and ends with a full stop
    "SS04",  # without leading blanks
    "PR01",  # every parameter described
    "PR02",  # no parameter that does not exist
    "PR03",  # in order
    "RT01",  # a Returns section
    "EX01",  # an Examples section
}
FUNCTIONS = [name for name in toolkit.__all__ if not inspect.isclass(getattr(toolkit, name))]


@pytest.mark.parametrize("name", toolkit.__all__)
def test_docstring__follows_numpydoc(name):
    public = getattr(toolkit, name)
    required = REQUIRED if name in FUNCTIONS else REQUIRED - {"RT01", "EX01", "PR01"}
    errors = validate.validate(f"{public.__module__}.{public.__qualname__}")["errors"]
    assert [f"{code} {text}" for code, text in errors if code in required] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_raises__name_errors_of_the_toolkit(name):
    from numpydoc.docscrape import FunctionDoc

    import toolkit.errors

    raised = [each.type for each in FunctionDoc(getattr(toolkit, name))["Raises"]]
    names = [one.strip() for each in raised for one in each.split(",")]
    assert [each for each in names if not hasattr(toolkit.errors, each)] == []
