"""Head options as text."""

from typing import Annotated, Literal

import numpy as np
import pytest
from annotated_types import Ge, Lt

from toolkit.errors import OptionError
from toolkit.heads.options import check_options, describe_options, parse_options


class Toy:
    name = "toy"

    def __init__(
        self,
        *,
        k: Annotated[int, Ge(1)] | None = None,
        rate: Annotated[float, Ge(0), Lt(1)] = 0.25,
        hidden: tuple[int, ...] = (512,),
        mode: Literal["a", "b"] = "a",
        fast: bool = False,
        device: str = "auto",
    ):
        self.k, self.rate, self.hidden, self.mode, self.fast, self.device = (
            k,
            rate,
            hidden,
            mode,
            fast,
            device,
        )


def test_parse__every_kind():
    items = ["k=3", "rate = .5", "hidden=512,256", "mode=b", "fast=true", "device=auto"]
    assert parse_options(Toy, items) == {
        "k": 3,
        "rate": 0.5,
        "hidden": (512, 256),
        "mode": "b",
        "fast": True,
        "device": "auto",
    }
    assert parse_options(Toy, ["k=none", "hidden="]) == {"k": None, "hidden": ()}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("k", "option 'k' has no value; write it as k=value"),
        (
            "kk=1",
            "head 'toy' has no option 'kk'; did you mean 'k'\\? its options are k \\(a whole number >= 1",
        ),
        ("k=0", "option 'k' of head 'toy' got '0'; it takes a whole number >= 1 or none \\(default none\\)"),
        ("rate=1", "option 'rate' of head 'toy' got '1'; it takes a number >= 0 and < 1 \\(default 0.25\\)"),
        ("rate=nan", "got 'nan'"),
        ("rate=-inf", "got '-inf'"),
        ("k=1.5", "got '1.5'"),
        ("mode=c", "one of a, b"),
        ("hidden=x", "whole numbers separated by commas"),
        ("fast=maybe", "true or false"),
    ],
)
def test_parse__errors(item, message):
    with pytest.raises(OptionError, match=message):
        parse_options(Toy, [item])


def test_parse__twice():
    with pytest.raises(OptionError, match="option 'k' is given twice"):
        parse_options(Toy, ["k=1", "k=2"])


def test_check__options_given_in_python():
    check_options(Toy(k=2))
    check_options(Toy(k=np.int64(2), rate=np.float32(0.5), hidden=[np.int32(3)]))
    for options in ({"rate": 2}, {"rate": np.nan}, {"k": "2"}, {"k": True}, {"hidden": (1.5,)}, {"mode": 1}):
        (name,) = options
        with pytest.raises(OptionError, match=f"option '{name}' of head 'toy' got"):
            check_options(Toy(**options))


def test_describe__says_what_each_takes():
    assert describe_options(Toy)["k"] == "a whole number >= 1 or none, default none"
    assert describe_options(Toy)["hidden"] == "whole numbers separated by commas, default 512"
