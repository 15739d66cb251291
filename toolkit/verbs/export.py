"""Hand a fitted head over to code that knows scikit-learn or numpy, but not this toolkit's folders."""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from toolkit.errors import OptionError
from toolkit.experiment.saved import BEST, SavedHead
from toolkit.heads.registry import load_head

Format = Literal["joblib", "npz"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export(
    head: str = BEST,
    *,
    format: Format = "npz",
    out: Path | str | None = None,
    artifacts: Path | str = "artifacts",
    force: bool = False,
) -> Path:
    """Write a fitted head as one file; return its path.

    ``npz`` holds plain arrays: ``tags`` (L,), ``document`` (json: the rule, the stores and every
    ``head.json``) and the head's arrays under the names they have in its folder, such as ``coef.npy``; numpy
    alone reads it, without pickle. ``joblib`` holds a dict: ``head`` (the estimator: ``predict_proba(X)``),
    ``tags``, ``rule`` (its ``apply`` turns scores into predictions) and ``stores``. A joblib file is a
    pickle: load only files you trust, where this toolkit is installed.

    Parameters
    ----------
    head : str
        A fitted head; ``best`` is the last comparison's winner, or the only one there is.
    format : {"npz", "joblib"}
    out : path, optional
        By default ``<head>.npz`` or ``<head>.joblib`` in the working folder.
    force : bool
        Whether a file that is there is replaced.

    Raises
    ------
    HeadError
        There is no such head, or it reads rows from its folder, which a joblib file cannot hold.
    OptionError
        The format is not known, or `out` exists.
    """
    if format not in FORMATS:
        raise OptionError(f"--format got {format!r}; allowed are {', '.join(FORMATS)}")
    saved = SavedHead.open(Path(artifacts), head)
    path = Path(f"{saved.name}.{format}") if out is None else Path(out)
    if path.is_dir():
        raise OptionError(f"--out {path} is a folder; give a file name such as {path / saved.name}.{format}")
    if path.exists() and not force:
        raise OptionError(f"--out {path} exists; give another name, or --force to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        (_write_npz if format == "npz" else _write_joblib)(partial, saved)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _stores(saved: SavedHead) -> list[dict[str, Any]]:
    return [part.to_dict() for part in saved.parts]


def _write_npz(path: Path, saved: SavedHead) -> None:
    folder = saved.folder
    inside = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.parts[-2] != "scores"]
    document = {
        "rule": saved.decision["rule"],
        "stores": _stores(saved),
        "heads": {
            file.as_posix(): json.loads((folder / file).read_text(encoding="utf-8"))
            for file in inside
            if file.name == "head.json"
        },
    }
    arrays = {
        file.as_posix(): np.load(folder / file, mmap_mode="r", allow_pickle=False)
        for file in inside
        if file.suffix == ".npy"
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
