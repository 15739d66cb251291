"""The heads by name. To add one, write its file (see `toolkit.heads.base`) and one line in `HEADS`.

The registry holds import strings, so naming a head imports neither torch nor faiss. Other packages add heads
through the entry-point group ``toolkit.heads``; a ``package.module:Class`` is a name too.
"""

import difflib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypedDict

from toolkit.errors import HeadError, OptionError

if TYPE_CHECKING:  # naming a head does not need numpy and scipy
    from toolkit.heads.base import Head

HEADS: Mapping[str, str] = MappingProxyType(
    {
        "mlp": "toolkit.heads.mlp:Mlp",
        "logreg": "toolkit.heads.logreg:Logreg",
        "knn": "toolkit.heads.knn:Knn",
        "ensemble": "toolkit.heads.ensemble:Ensemble",
    }
)
ENTRY_POINTS = "toolkit.heads"
MEMBERS = (
    *("name", "fit", "scores", "chosen", "save", "load", "get_params", "set_params", "add_tags", "history"),
    *("diagnostics", "uses_views", "keeps_rows"),
)
"""Attributes that make a class a head."""


def _registry() -> dict[str, str]:
    """Return the import string of every name; a plug-in cannot replace the toolkit's own heads."""
    from importlib.metadata import entry_points  # 20 ms, and `toolkit --help` imports this module

    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)} | dict(HEADS)


def head_names() -> tuple[str, ...]:
    """Return the registered names: the toolkit's own, then those of other packages.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> head_names()[:4]
    ('mlp', 'logreg', 'knn', 'ensemble')
    """
    return tuple(HEADS) + tuple(sorted(set(_registry()) - set(HEADS)))


def get_head(name: str) -> "type[Head]":
    """Return a head class.

    Parameters
    ----------
    name : str
        A registered name, or an import string ``package.module:Class``.

    Returns
    -------
    type

    Raises
    ------
    OptionError
        The name is unknown, or the import string cannot be resolved or names no head.

    Examples
    --------
    >>> get_head("knn")
    <class 'toolkit.heads.knn.head.Knn'>
    """
    target = _registry().get(name, name)
    if ":" not in target:
        close = difflib.get_close_matches(name.lower(), head_names(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise OptionError(
            f"there is no head {name!r}; {hint}heads are {', '.join(head_names())}, or package.module:Class"
        )
    try:
        head: type[Head] = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(
            f"head {name!r} cannot be imported from {target!r} ({error}); install its package or fix it"
        ) from error
    if not (isinstance(head, type) and all(hasattr(head, member) for member in MEMBERS)):
        raise OptionError(
            f"{target!r} is no head: a head is a class with {', '.join(MEMBERS)}; inherit "
            "toolkit.heads.base.HeadBase"
        )
    return head


class _Named(TypedDict):
    head: str


def saved_name(folder: Path) -> str:
    """Return the name of the head saved in `folder`; `HeadError` if that cannot be read."""
    from toolkit.files.json import read_json  # late: `toolkit --help` imports this module

    try:
        return read_json(folder / "head.json", _Named)["head"]
    except (OSError, ValueError) as error:
        raise HeadError(f"{folder} does not hold a readable head ({error}); fit it again") from error


def load_head(folder: Path, name: str = "") -> "Head":
    """Load a saved head.

    Parameters
    ----------
    folder : Path
        Where the head was saved, such as ``artifacts/heads/knn``.
    name : str
        Its ``package.module:Class``, if it is not registered: a name in the folder must not import code.

    Returns
    -------
    Head

    Raises
    ------
    HeadError
        The head cannot be read, or is not registered.

    Examples
    --------
    >>> import toolkit
    >>> report = toolkit.fit("knn", options={"k": 5}, artifacts=artifacts)
    >>> load_head(report.folder).k
    5
    """
    if ":" in name:
        return get_head(name).load(folder)
    name = saved_name(folder)
    if name not in head_names():
        raise HeadError(
            f"head {name!r} is neither the toolkit's nor of an installed package; name it by its class, "
            "package.module:Class (for predict and fit: with --head)"
        )
    return get_head(name).load(folder)
