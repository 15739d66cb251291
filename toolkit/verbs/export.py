"""Write a fitted head for code that knows scikit-learn or numpy, but not this toolkit's folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import OptionError
from toolkit.experiment.saved import SavedHead
from toolkit.files.atomic import replacing
from toolkit.files.json import read_json
from toolkit.files.npy import map_array
from toolkit.heads.registry import load_head
from toolkit.runtime.options import takes
from toolkit.verbs.options import ExportOptions


@takes(ExportOptions)
def export(options: ExportOptions) -> Path:
    """Write a fitted head as one file.

    ``npz`` holds plain arrays: ``tags`` (L,), ``document`` (json: the rule, the stores and every
    ``head.json``) and the head's arrays under the names they have in its folder, such as ``coef.npy``; numpy
    alone reads it, without pickle. ``joblib`` holds a dict: ``head`` (the estimator: ``predict_proba(X)``),
    ``tags``, ``rule`` (its ``apply`` turns scores into predictions) and ``stores``. A joblib file is a
    pickle: load only files you trust, where this toolkit is installed.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    HeadError
        There is no such head, or it reads rows from its folder, which a joblib file cannot hold.
    OptionError
        The format is not known, or `out` exists.

    Examples
    --------
    >>> import toolkit
    >>> report = toolkit.fit("knn", options={"k": 5}, artifacts=artifacts)
    >>> toolkit.export("knn", artifacts=artifacts, out=f"{artifacts}/knn.npz").name
    'knn.npz'
    """
    saved = SavedHead.open(Path(options.artifacts), options.head)
    path = Path(f"{saved.name}.{options.format}" if options.out is None else options.out)
    if path.is_dir():
        name = path / f"{saved.name}.{options.format}"
        raise OptionError(f"--out {path} is a folder; give a file name such as {name}")
    if path.exists() and not options.force:
        raise OptionError(f"--out {path} exists; give another name, or --force to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as fresh:
        (_write_npz if options.format == "npz" else _write_joblib)(fresh, saved)
    return path


def _stores(saved: SavedHead) -> list[dict[str, Any]]:
    return [record.to_dict() for record in saved.stores]


def _write_npz(path: Path, saved: SavedHead) -> None:
    folder = saved.folder
    load_head(folder, saved.given)  # checks every array
    inside = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.parts[-2] != "scores"]
    document = {
        "rule": saved.decision["rule"],
        "stores": _stores(saved),
        "heads": {
            file.as_posix(): read_json(folder / file, dict[str, Any])
            for file in inside
            if file.name == "head.json"
        },
    }
    arrays: dict[str, Any] = {
        file.as_posix(): map_array(folder / file) for file in inside if file.suffix == ".npy"
    }
    with path.open("wb") as file:
        np.savez(
            file,
            tags=np.array(saved.space.tags),
            document=np.array(json.dumps(document, ensure_ascii=False)),
            **arrays,
        )


def _write_joblib(path: Path, saved: SavedHead) -> None:
    import joblib

    content = {
        "head": load_head(saved.folder, saved.given),
        "tags": list(saved.space.tags),
        "rule": saved.rule(),
        "stores": _stores(saved),
    }
    joblib.dump(content, path)
