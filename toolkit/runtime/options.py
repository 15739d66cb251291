"""Options: the one home of each option's type, default, bounds and help.

An options class is a frozen dataclass derived from `Options`. Each field is annotated with what it takes and
with an `Option` that says what it is for::

    class ReadOptions(Options):
        batch_size: Annotated[int | None, Ge(1), Le(4096), Option("Images a forward pass.")] = None

From that one line come the keyword of the public function (`takes`), its documentation, its check with the
error message, and the option ``--batch-size`` of the command line. Classes are combined by inheritance, so a
function that takes `ReadOptions` takes the options of any command that has them.
"""

import inspect
import os
import types
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import wraps
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Le

from toolkit.errors import OptionError
from toolkit.runtime.failures import explained
from toolkit.runtime.progress import Progress, silent

PathLike = str | os.PathLike[str]

P = ParamSpec("P")
O = TypeVar("O", bound="Options")  # noqa: E741 - as in Options
R = TypeVar("R")


@dataclass(frozen=True)
class Option:
    """What an option is for, and what the command line must know beyond type and default.

    Attributes
    ----------
    help : str
        One or two sentences, for ``--help`` and for the documentation of the function.
    flags : tuple of str
        How it is written on the command line, if not by its own name.
    metavar : str
        What the value is called in ``--help``.
    environment : str
        An environment variable that gives the default on the command line.
    default : str
        What the default is, in words, where the value does not say it.
    choices : callable, optional
        Returns the values allowed where they are a registry's and not a `Literal`.
    """

    help: str
    flags: tuple[str, ...] = ()
    metavar: str = ""
    environment: str = ""
    default: str = ""
    choices: Callable[[], tuple[str, ...]] | None = None


@dataclass(frozen=True)
class OptionField:
    """One field of an options class, taken apart.

    Attributes
    ----------
    name : str
    annotation : Any
        The type without `Option` and bounds.
    default : Any
        `dataclasses.MISSING` if it is required.
    positional : bool
    option : Option or None
        None for what only Python passes, such as `progress`.
    least, most : number or None
        Bounds, both allowed.
    """

    name: str
    annotation: Any
    default: Any
    positional: bool
    option: Option | None
    least: float | None
    most: float | None

    @property
    def flag(self) -> str:
        """How messages name it."""
        if self.positional:
            return self.name
        flags = self.option.flags if self.option is not None else ()
        return flags[0].partition("/")[0] if flags else f"--{self.name.replace('_', '-')}"

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values allowed, if they can be listed."""
        if self.option is not None and self.option.choices is not None:
            return self.option.choices()
        return next((get_args(each) for each in members(self.annotation) if get_origin(each) is Literal), ())

    @property
    def may_be_none(self) -> bool:
        """Whether None is allowed."""
        return types.NoneType in members(self.annotation)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Options:
    """Base of options classes: a subclass is a frozen dataclass with keyword-only fields, checked when made.

    Raises
    ------
    OptionError
        A value has the wrong type, is out of bounds or is not one of the choices.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for each in option_fields(type(self)):
            if each.option is not None:
                _check(each, getattr(self, each.name))

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that the caller gave, even at their default.

        Of an object that `takes` did not make: those whose value is not the default.
        """
        known: frozenset[str] | None = getattr(self, "_given", None)
        if known is None:
            known = frozenset(
                each.name for each in option_fields(type(self)) if getattr(self, each.name) != each.default
            )
        return known

    def part(self, kind: type[O]) -> O:
        """Return the fields that `kind` has, as a `kind`."""
        return kind(**{each.name: getattr(self, each.name) for each in fields(kind)})  # type: ignore[arg-type]


class SeedOption(Options):
    """The seed of everything drawn at random."""

    seed: Annotated[int, Option("Seed of everything drawn at random.")] = 0


class ProgressOption(Options):
    """What is called as the work advances."""

    progress: Progress = silent


def option_fields(kind: type) -> list[OptionField]:
    """Return the fields of an options class: positional ones first, then base by base in the order given."""
    hints = get_type_hints(kind, include_extras=True)
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind)}
    order = [name for base in kind.__mro__ for name in inspect.get_annotations(base) if name in known]
    found = [_taken_apart(known[name], hints[name]) for name in dict.fromkeys(order)]
    return sorted(found, key=lambda each: not each.positional)


def _taken_apart(declared: "Field[Any]", hint: Any) -> OptionField:
    annotation, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    least: Any = next((each.ge for each in extras if isinstance(each, Ge)), None)
    most: Any = next((each.le for each in extras if isinstance(each, Le)), None)
    option = next((each for each in extras if isinstance(each, Option)), None)
    default = declared.default if declared.default_factory is MISSING else declared.default_factory()
    return OptionField(declared.name, annotation, default, not declared.kw_only, option, least, most)


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, without their bounds; a plain type is its own only alternative."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(inner for each in get_args(annotation) for inner in members(each))
    return (annotation,)


# ---------------------------------------------------------------------- checks

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _check(known: OptionField, value: Any) -> None:
    if value is None and known.may_be_none:
        return
    if known.choices and value not in known.choices:
        raise OptionError(f"{known.flag} got {value!r}; allowed are {', '.join(map(str, known.choices))}")
    kinds = [get_origin(each) or each for each in members(known.annotation)]
    plain = tuple(each for each in kinds if isinstance(each, type))
    if len(plain) == len(kinds) and not _is_one_of(value, plain):
        words = " or ".join(_WORDS.get(each, each.__name__) for each in plain if each is not types.NoneType)
        raise OptionError(
            f"{known.flag} got {value!r}; it takes {words.replace('text or PathLike', 'a path')}"
        )
    _check_bounds(known, value)


def _is_one_of(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int) and float in kinds:
        return True
    return isinstance(value, kinds)


def _check_bounds(known: OptionField, value: Any) -> None:
    least, most = known.least, known.most
    low, high = least is not None and not value >= least, most is not None and not value <= most
    if not (low or high):
        return
    if least is not None and least > 1 and most is not None:
        raise OptionError(f"{known.flag} got {value}; give {least:,} to {most:,}")
    raise OptionError(f"{known.flag} got {value}; give {f'{least} or more' if low else f'{most:,} or less'}")


# ---------------------------------------------------------------------- functions


def takes(kind: Callable[P, O]) -> Callable[[Callable[[O], R]], Callable[P, R]]:
    """Give a function of one options object the fields of its class as plain arguments.

    The signature and the Parameters section of the docstring are made from the fields, so ``help`` and an
    editor show them, and a type checker sees them. What the operating system refuses is a `MachineError`.

    Examples
    --------
    >>> class Greeting(Options):
    ...     times: Annotated[int, Ge(1), Option("How often.")] = 1
    >>> @takes(Greeting)
    ... def greet(options: Greeting) -> str:
    ...     '''Return a greeting.'''
    ...     return "hello " * options.times
    >>> greet(times=2)
    'hello hello '
    >>> print(inspect.signature(greet))
    (*, times: int = 1) -> str
    """

    def wrap(function: Callable[[O], R]) -> Callable[P, R]:
        name, signature = function.__name__, _signature(kind, function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            unknown = [each for each in kwargs if each not in signature.parameters]
            if unknown:
                known = ", ".join(signature.parameters)
                raise OptionError(f"unknown option {unknown[0]!r}; the options of {name} are {known}")
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{name}(): {error}") from None
            options = kind(*args, **kwargs)
            object.__setattr__(options, "_given", frozenset(kwargs))
            with explained():
                return function(options)

        call.__signature__ = signature  # type: ignore[attr-defined]
        call.__doc__ = _documented(function.__doc__ or "", kind)
        del call.__wrapped__
        return call

    return wrap


def _signature(kind: Any, function: Callable[..., Any]) -> inspect.Signature:
    parameters = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD if each.positional else inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=each.annotation,
        )
        for each in option_fields(kind)
    ]
    return inspect.Signature(parameters, return_annotation=get_type_hints(function)["return"])


def _documented(doc: str, kind: Any) -> str:
    """Put a Parameters section in front of the first section of a numpydoc text."""
    lines = inspect.cleandoc(doc).splitlines()
    rules = [number for number, line in enumerate(lines) if line and set(line) == {"-"}]
    first = rules[0] - 1 if rules else len(lines)
    section = ["Parameters", "----------"]
    for each in option_fields(kind):
        help = "Called as the work advances." if each.name == "progress" else ""
        section += [f"{each.name} : {_type_words(each)}", f"    {each.option.help if each.option else help}"]
    return "\n".join(["\n".join(lines[:first]).rstrip(), "", *section, "", *lines[first:]])


def _type_words(known: OptionField) -> str:
    kinds = [each for each in members(known.annotation) if each is not types.NoneType]
    words = " or ".join(getattr(each, "__name__", str(each)) for each in kinds)
    words = words.replace("str or PathLike", "path")
    if known.choices:
        words = "{" + ", ".join(map(repr, known.choices)) + "}"
    if known.default is MISSING:
        return words
    return f"{words}, optional" if known.default is None else f"{words}, default {known.default!r}"
