"""Options classes: one home for type, default, bounds, help, keyword and command-line option."""

import inspect
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, field, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Le

from toolkit.errors import OptionError
from toolkit.runtime.options import Option, Options, PathLike, option_fields, takes
from toolkit.verbs import options as verbs


class Reading(Options):
    batch_size: Annotated[int | None, Ge(1), Le(4096), Option("Images at a time.")] = None
    side: Annotated[int, Ge(32), Le(4096), Option("Pixels.")] = 224
    kind: Annotated[Literal["a", "b"] | None, Option("Which.")] = None


class Naming(Options):
    name: Annotated[str | None, Option("A name.", flags=("--called",))] = None
    share: Annotated[float, Option("A share.")] = 0.5
    keep: Annotated[bool, Option("Whether.", flags=("--keep/--no-keep",))] = True
    internal: object = None


class Both(Naming, Reading):
    source: Annotated[PathLike, Option("The source.")] = field(kw_only=False)
    store: Annotated[str | Sequence[str] | None, Option("Stores.")] = None


@takes(Both)
def run(options: Both) -> Both:
    """Do the work.

    It takes a while.

    Returns
    -------
    Both
    """
    return options


def test_fields__positional_first_then_base_by_base():
    names = [each.name for each in option_fields(Both)]
    assert names == [
        "source", "store", "name", "share", "keep", "internal", "batch_size", "side", "kind",
    ]  # fmt: skip
    by_name = {each.name: each for each in option_fields(Both)}
    assert by_name["batch_size"].flag == "--batch-size" and by_name["name"].flag == "--called"
    assert by_name["keep"].flag == "--keep" and by_name["source"].flag == "source"
    assert by_name["kind"].choices == ("a", "b") and by_name["kind"].may_be_none
    assert (by_name["side"].least, by_name["side"].most) == (32, 4096)
    assert by_name["internal"].option is None


def test_options__are_frozen_and_combine():
    both = Both("x", batch_size=3)
    assert isinstance(both, Reading) and both.part(Reading) == Reading(batch_size=3)
    with pytest.raises(FrozenInstanceError):
        both.batch_size = 4
    assert replace(both, side=64).side == 64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 0}, "--batch-size got 0; give 1 or more"),
        ({"batch_size": 5000}, "--batch-size got 5000; give 4,096 or less"),
        ({"side": 5}, "--side got 5; give 32 to 4,096"),
        ({"side": "big"}, "--side got 'big'; it takes a whole number"),
        ({"side": None}, "--side got None; it takes a whole number"),
        ({"side": True}, "--side got True; it takes a whole number"),
        ({"kind": "c"}, "--kind got 'c'; allowed are a, b"),
        ({"name": 3}, "--called got 3; it takes text"),
        ({"share": "half"}, "--share got 'half'; it takes a number"),
        ({"keep": 1}, "--keep got 1; it takes true or false"),
        ({"source": 3}, "source got 3; it takes a path"),
    ],
)
def test_options__are_checked_when_made(given, message):
    with pytest.raises(OptionError) as error:
        run(**{"source": "x"} | given)
    assert str(error.value) == message


def test_options__take_what_they_should():
    both = run(Path("x"), share=1, store=["a", "b"], kind="b", batch_size=4096)
    assert (both.share, both.store, both.kind, both.batch_size) == (1, ["a", "b"], "b", 4096)


def test_takes__signature_and_documentation_are_made_from_the_fields():
    signature = inspect.signature(run)
    assert list(signature.parameters) == [each.name for each in option_fields(Both)]
    assert signature.parameters["source"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert signature.parameters["side"].kind is inspect.Parameter.KEYWORD_ONLY
    assert signature.parameters["side"].default == 224
    assert signature.return_annotation is Both
    assert run.__doc__.startswith(
        "Do the work.\n\nIt takes a while.\n\nParameters\n----------\nsource : path\n"
    )
    assert "side : int, default 224\n    Pixels.\n" in run.__doc__
    assert "kind : {'a', 'b'}, optional\n    Which.\n" in run.__doc__
    assert run.__doc__.rstrip().endswith("Returns\n-------\nBoth")


def test_takes__remembers_what_was_given_even_at_its_default():
    assert run("x", side=224).given == {"side"}
    assert run("x").given == frozenset()
    assert Both("x", side=32).given == {"source", "side"}


def test_takes__arguments_that_do_not_fit():
    with pytest.raises(OptionError, match="unknown option 'sides'; the options of run are source"):
        run("x", sides=3)
    with pytest.raises(TypeError, match=r"run\(\): missing a required argument: 'source'"):
        run()
    with pytest.raises(TypeError, match=r"run\(\): too many positional arguments"):
        run("x", "y")


@pytest.mark.parametrize(
    "kind",
    [value for name, value in vars(verbs).items() if name.endswith("Options") and value is not Options],
)
def test_homes__every_option_has_help_and_a_default_that_is_allowed(kind):
    for each in option_fields(kind):
        if each.option is not None:
            assert each.option.help.endswith("."), each.name
            assert each.choices == () or each.default in (None, *each.choices), each.name
