"""Click commands made from options classes: their arguments, options, defaults and help have one home."""

import logging
import os
import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, get_origin

import click

from toolkit.runtime.options import OptionField, Options, members, option_fields


def _no_warnings(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    if value:
        logging.getLogger().setLevel(logging.ERROR)
    return value


def quiet() -> click.Option:
    """Return the option ``--quiet``."""
    return click.Option(
        ["--quiet", "-q"],
        is_flag=True,
        callback=_no_warnings,
        help="No progress, notes or warnings, only errors.",
    )


def as_json() -> click.Option:
    """Return the option ``--json``."""
    return click.Option(
        ["--json", "as_json"], is_flag=True, help="One JSON document on stdout, nothing else."
    )


def strict() -> click.Option:
    """Return the option ``--strict``."""
    return click.Option(["--strict"], is_flag=True, help="Exit with 1 if an image failed.")


def command(
    kind: type[Options], *flags: click.Option, name: str | None = None, omit: Sequence[str] = ()
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function the command whose arguments and options are the fields of `kind`.

    The function gets the options that the user gave (on the command line or by an environment variable) as a
    dict, and each of `flags` by name. What the user did not give keeps the default of `kind`.

    Parameters
    ----------
    kind : type
    *flags : click.Option
        Options of the command line alone.
    name : str, optional
        By default the function's.
    omit : sequence of str
        Fields that the command has no option for.
    """

    def make(function: Callable[..., None]) -> click.Command:
        fields = [each for each in option_fields(kind) if each.option is not None and each.name not in omit]

        def run(**values: Any) -> None:
            context = click.get_current_context()
            names = {each.name for each in fields}
            default = click.core.ParameterSource.DEFAULT
            given = {key: values[key] for key in names if context.get_parameter_source(key) is not default}
            function(given, **{key: value for key, value in values.items() if key not in names})

        parameters = [_parameter(each) for each in fields]
        text = (function.__doc__ or "").strip()
        return click.Command(name or function.__name__, params=[*parameters, *flags], callback=run, help=text)

    return make


def _parameter(field: OptionField) -> click.Parameter:
    option = field.option
    assert option is not None
    common: dict[str, Any] = {
        "required": field.default is MISSING,
        "metavar": option.metavar or None,
        "envvar": option.environment or None,
    }
    if field.default is not MISSING:  # an explicit None would count as a default
        common["default"] = field.default
    if field.positional and not option.flags:
        return click.Argument([field.name], type=_click_type(field), **common)
    is_flag = field.annotation is bool
    shown = field.default not in (MISSING, None, "", ()) and field.default is not False
    return click.Option(
        [*(option.flags or (field.flag,)), field.name],
        type=None if is_flag else _click_type(field),
        is_flag=is_flag,
        show_default=option.default or shown,
        multiple=_is_repeated(field),
        help=option.help,
        **common,
    )


def _is_repeated(field: OptionField) -> bool:
    """Return whether the option may be repeated: it takes a sequence, and its default is not one text."""
    several = any(get_origin(each) is Sequence for each in members(field.annotation))
    return several and not isinstance(field.default, str)


def _click_type(field: OptionField) -> "click.ParamType[Any, Any]":
    kinds = [each for each in members(field.annotation) if each is not types.NoneType]
    if field.choices:
        return click.Choice([str(choice) for choice in field.choices])
    if any(get_origin(each) is os.PathLike for each in kinds):
        return click.Path(path_type=Path)
    if kinds[0] is int:
        return click.INT
    return click.FLOAT if kinds[0] is float else click.STRING
