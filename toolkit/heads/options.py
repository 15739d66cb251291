"""Head options as text (``-o hidden=512,256 -o C=none``), checked against the head's constructor.

The annotations of the constructor, such as ``Annotated[float, Ge(0), Lt(1)]``, are the only description of an
option. msgspec checks the values, in Python as on the command line.
"""

import contextlib
import difflib
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from toolkit.errors import OptionError
from toolkit.runtime.options import members

_ONE = {bool: "true or false", int: "a whole number", float: "a number", str: "text", types.NoneType: "none"}
_MANY = {int: "whole numbers", float: "numbers", str: "words"}
_BOUNDS: dict[type, str] = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}
_TRUTH = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
_SIGNS = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}


def parse_options(head_cls: type[Any], items: Sequence[str]) -> dict[str, Any]:
    """Convert ``["hidden=512,256", "C=none"]`` to constructor options of `head_cls`.

    ``none`` or ``auto`` stands for None where None is allowed; a tuple is comma-separated and may be empty.
    `OptionError` if an option is unknown (the message lists those allowed, with types and defaults) or
    repeated, an item has no ``=``, or a value has the wrong type or is out of bounds.

    Examples
    --------
    >>> from toolkit.heads.knn.head import Knn
    >>> parse_options(Knn, ["k=5", "temperature=auto"])
    {'k': 5, 'temperature': None}
    """
    known, out = option_types(head_cls), dict[str, Any]()
    for item in items:
        key, equals, text = item.partition("=")
        name, text = key.strip(), text.strip()
        if not equals:
            raise OptionError(f"option {item!r} has no value; write it as {name or 'name'}=value")
        if name not in known:
            raise OptionError(_unknown(head_cls, name))
        if name in out:
            raise OptionError(f"option {name!r} is given twice; give it once")
        out[name] = _checked(head_cls, name, _from_text(known[name], text), text)
    return out


def check_options(head: Any) -> None:
    """Raise `OptionError` for the first option of a head with a value of the wrong type or out of bounds."""
    for name in option_types(type(head)):
        value = getattr(head, name)
        _checked(type(head), name, value, value)


def options_from_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options read from json with their lists as tuples again."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def option_types(head_cls: type[Any]) -> dict[str, Any]:
    """Return the annotation of each constructor option, in order; `str` for an option without."""
    return {
        name: str if parameter.annotation is Parameter.empty else parameter.annotation
        for name, parameter in signature(head_cls, eval_str=True).parameters.items()
    }


def describe_options(head_cls: type[Any]) -> dict[str, str]:
    """Return the type and default of each option in words, for help texts."""
    return {
        name: f"{_in_words(annotation)}, default {_default(head_cls, name)}"
        for name, annotation in option_types(head_cls).items()
    }


def _unknown(head_cls: type[Any], name: str) -> str:
    known = describe_options(head_cls)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    table = "; ".join(f"{option} ({words})" for option, words in known.items()) or "none at all"
    return f"head {head_cls.name!r} has no option {name!r}; {hint}its options are {table}"


def _from_text(annotation: Any, text: str) -> Any:
    """Convert text to None, a tuple, a number or a truth value; text that is none of these stays text."""
    allowed = members(annotation)
    if types.NoneType in allowed and text.lower() in ("none", "auto"):
        return None
    for each in allowed:
        if get_origin(each) is tuple:
            kinds = members(get_args(each)[0])
            return tuple(_word(part.strip(), kinds) for part in text.split(",") if part.strip())
    return _word(text, allowed)


def _word(text: str, kinds: tuple[Any, ...]) -> Any:
    if bool in kinds:
        return _TRUTH.get(text.lower(), text)
    for kind in (int, float):
        if kind in kinds:
            with contextlib.suppress(ValueError):
                return kind(text)
    return text


def _checked(head_cls: type[Any], name: str, value: Any, shown: Any) -> Any:
    annotation = option_types(head_cls)[name]
    try:
        converted = msgspec.convert(_plain(value), _bounded(annotation))
        if not _is_finite(converted):
            raise ValueError("it is not finite")
        return converted
    except ValueError as error:
        raise OptionError(
            f"option {name!r} of head {head_cls.name!r} got {shown!r}; "
            f"it takes {_in_words(annotation)} (default {_default(head_cls, name)})"
        ) from error


def _plain(value: Any) -> Any:
    """Return numpy's scalars as numbers of Python, also in a tuple or list."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else value


def _is_finite(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _bounded(annotation: Any) -> Any:
    """Return an annotation with its bounds as msgspec writes them."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = {_BOUNDS[type(each)]: astuple(each)[0] for each in inner[1:] if type(each) in _BOUNDS}
        return Annotated[_bounded(inner[0]), msgspec.Meta(**bounds)]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_bounded, inner))]  # noqa: UP007 - of a tuple
    return types.GenericAlias(tuple, tuple(map(_bounded, inner))) if origin is tuple else annotation


def _in_words(annotation: Any) -> str:
    """Describe an annotation for users who do not know Python."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *extras = get_args(annotation)
        bounds = [f"{_SIGNS[type(each)]} {astuple(each)[0]}" for each in extras if type(each) in _SIGNS]
        return f"{_in_words(inner)} {' and '.join(bounds)}".strip()
    if origin in (Union, types.UnionType):
        return " or ".join(map(_in_words, get_args(annotation)))
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if origin is tuple:
        return f"{_MANY.get(members(get_args(annotation)[0])[0], 'values')} separated by commas"
    return _ONE.get(annotation, str(getattr(annotation, "__name__", annotation)))


def _default(head_cls: type[Any], name: str) -> str:
    """Return the default of an option as text that `parse_options` reads."""
    default = signature(head_cls).parameters[name].default
    if default is Parameter.empty:
        return "required"
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "0"
    return str(default).lower() if default is None or isinstance(default, bool) else str(default)
