"""Which heads are to be fitted, with which options, in which order."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from toolkit.errors import OptionError
from toolkit.experiment.dataset import DataOptions
from toolkit.heads.ensemble import BLOCK_MARK, Ensemble
from toolkit.heads.options import check_options, parse_options
from toolkit.heads.registry import get_head

Join = Literal["side-by-side", "average"]
JOINS: tuple[Join, ...] = get_args(Join)


@dataclass(frozen=True)
class Planned:
    """A head to fit.

    Attributes
    ----------
    name : str
        What it is called, and its folder.
    given : str
        The name to make it by: of the registry, or ``package.module:Class``.
    kind : type
    options : dict
        Of its constructor.
    shown : bool
        Whether the user asked for it; members of an ensemble may be there for it alone.
    block : int, optional
        The one store it is fitted on, where there are several; None is all of them side by side.
    """

    name: str
    given: str
    kind: Any
    options: dict[str, Any]
    shown: bool = True
    block: int | None = None


def data_options(data: Mapping[str, Any]) -> DataOptions:
    """Return the options of that name; `OptionError` lists them if one is not known."""
    paths = {
        key: Path(data[key]) for key in ("artifacts", "labels", "tags", "split") if data.get(key) is not None
    }
    try:
        return DataOptions(**{**data, **paths})
    except TypeError as error:
        allowed = ", ".join(asdict(DataOptions()))
        raise OptionError(f"unknown option ({error}); data options are {allowed}") from error


def default_options(device: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for the heads that have them and are not given them."""
    return {"seed": int(data.get("seed", 0)), "device": device}


def plan_heads(names: list[str], options: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[Planned]:
    """Return the heads to fit, ensembles after their members; members nobody asked for are not shown."""
    if not names:
        raise OptionError("no head is named; name at least one")
    stray = [name for name in options if name not in names]
    if stray:
        raise OptionError(f"options are given for head {stray[0]!r}, which is not among {', '.join(names)}")
    plan = [_planned(name, options.get(name, ()), defaults) for name in names]
    called = [planned.name for planned in plan]
    if len(set(called)) != len(called):
        raise OptionError(f"a head is named twice among {', '.join(called)}; name each once")
    single = [planned for planned in plan if planned.kind is not Ensemble]
    for ensemble in [planned for planned in plan if planned.kind is Ensemble]:
        members = ensemble.options.get("members") or tuple(planned.name for planned in single)
        if len(single) < 2 and "members" not in ensemble.options:
            members = Ensemble().members
        foreign = [one.given for one in single if one.name in members and ":" in one.given]
        foreign += [name for name in members if ":" in name]
        if foreign:
            raise OptionError(
                f"the ensemble cannot keep {foreign[0]!r}, which no registry knows by name; leave it out "
                "(-o members=...), or give its package an entry point in the group toolkit.heads"
            )
        known = {planned.name for planned in single}
        for name in members:
            if name not in known:
                single.append(replace(_planned(name, (), defaults), shown=False))
        single.append(replace(ensemble, options=ensemble.options | {"members": members}))
    return single


def one_a_store(plan: Sequence[Planned], widths: tuple[int, ...]) -> list[Planned]:
    """Return the plan with every single head fitted on each store on its own, and those averaged.

    `widths` are the stores' numbers of columns. The average is an `Ensemble`: it learns what each store's
    head is worth.
    """
    if len(widths) < 2:
        raise OptionError("--join average got one store; name several with --store, or leave --join out")
    out = []
    for planned in plan:
        if ":" in planned.given:
            raise OptionError(
                f"--join average cannot keep {planned.given!r}, which no registry knows by name; give its "
                "package an entry point in the group toolkit.heads, or join the stores side-by-side"
            )
        if planned.kind is Ensemble:
            out.append(planned)
            continue
        members = tuple(f"{planned.name}{BLOCK_MARK}{block}" for block in range(len(widths)))
        for block, member in enumerate(members):
            out.append(replace(planned, name=member, shown=False, block=block))
        options = {"members": members, "widths": widths}
        out.append(Planned(planned.name, Ensemble.name, Ensemble, options, planned.shown))
    return out


def _planned(name: str, options: Mapping[str, Any] | Sequence[str], defaults: Mapping[str, Any]) -> Planned:
    kind = get_head(name)
    values = dict(options) if isinstance(options, Mapping) else parse_options(kind, options)
    head: Any = kind()
    values = {key: value for key, value in defaults.items() if key in head.get_params()} | values
    head.set_params(**values)
    check_options(head)
    if kind is Ensemble:
        head.check_members()
    return Planned(str(kind.name), name, kind, values)
