"""Which heads are fitted, with which options, in which order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolkit.errors import OptionError
from toolkit.heads.ensemble import Ensemble
from toolkit.heads.options import check_options, parse_options
from toolkit.heads.registry import get_head

HeadOptions = Mapping[str, Any] | Sequence[str]
"""Options of one head: by name, or as texts ``name=value``."""


@dataclass(frozen=True)
class Planned:
    """A head to fit.

    Attributes
    ----------
    name : str
        The head's name, and that of its folder.
    given : str
        The name to make it by: of the registry, or ``package.module:Class``.
    kind : type
    options : dict
        Of its constructor.
    shown : bool
        Whether the user asked for it. A member of an ensemble may be fitted for the ensemble alone.
    """

    name: str
    given: str
    kind: Any
    options: dict[str, Any]
    shown: bool = True


def plan_heads(
    heads: str | Sequence[str],
    options: Mapping[str, HeadOptions] | Sequence[str],
    defaults: Mapping[str, Any],
) -> list[Planned]:
    """Return the heads to fit, ensembles after their members.

    Parameters
    ----------
    heads : sequence of str, or names separated by commas
    options : mapping of head to its options, or sequence of ``head.name=value``
    defaults : mapping
        Options for every head that has them and is not given them.
    """
    names = _names(heads)
    by_head = options if isinstance(options, Mapping) else _by_head(options, names)
    stray = [name for name in by_head if name not in names]
    if stray:
        raise OptionError(f"options are given for head {stray[0]!r}, which is not among {', '.join(names)}")
    plan = [_planned(name, by_head.get(name, ()), defaults) for name in names]
    called = [planned.name for planned in plan]
    if len(set(called)) != len(called):
        raise OptionError(f"a head is named twice among {', '.join(called)}; name each once")
    out = [planned for planned in plan if planned.kind is not Ensemble]
    for ensemble in [planned for planned in plan if planned.kind is Ensemble]:
        members = _members(ensemble, out)
        known = {planned.name for planned in out}
        out += [replace(_planned(name, (), defaults), shown=False) for name in members if name not in known]
        out.append(replace(ensemble, options=ensemble.options | {"members": members}))
    return out


def _names(heads: str | Sequence[str]) -> list[str]:
    names = heads.split(",") if isinstance(heads, str) else list(heads)
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise OptionError("no head is named; name at least one")
    return names


def _by_head(options: Sequence[str], names: list[str]) -> dict[str, list[str]]:
    """Sort ``mlp.hidden=0`` to its head."""
    out: dict[str, list[str]] = {}
    for item in options:
        # the longest name: a package.module:Class has dots too
        head = max((name for name in names if item.startswith(f"{name}.")), key=len, default="")
        if not head:
            raise OptionError(
                f"-o got {item!r}; it must begin with one of {', '.join(names)} and a dot, as "
                f"{names[0]}.seed=1 does"
            )
        out.setdefault(head, []).append(item.removeprefix(f"{head}."))
    return out


def _members(ensemble: Planned, single: Sequence[Planned]) -> tuple[str, ...]:
    """Return the names of an ensemble's members: those given, or the other heads if there are two."""
    if "members" in ensemble.options:
        members: tuple[str, ...] = ensemble.options["members"]
    else:
        members = tuple(planned.name for planned in single) if len(single) > 1 else Ensemble().members
    foreign = [one.given for one in single if one.name in members and ":" in one.given]
    foreign += [name for name in members if ":" in name]
    if foreign:
        raise OptionError(
            f"the ensemble cannot keep {foreign[0]!r}, which no registry knows by name; leave it out "
            "(-o members=...), or give its package an entry point in the group toolkit.heads"
        )
    return members


def _planned(name: str, options: HeadOptions, defaults: Mapping[str, Any]) -> Planned:
    kind = get_head(name)
    values = dict(options) if isinstance(options, Mapping) else parse_options(kind, options)
    head: Any = kind()
    values = {key: value for key, value in defaults.items() if key in head.get_params()} | values
    head.set_params(**values)
    check_options(head)
    if kind is Ensemble:
        head.check_members()
    return Planned(str(kind.name), name, kind, values)
