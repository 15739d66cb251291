"""Features computed elsewhere become a store like any other."""

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.backbones.tensors import FILES as TENSORS
from toolkit.errors import StoreError
from toolkit.files.npy import COPY_ROWS, EmbeddingArray, shape_text
from toolkit.files.regular import open_regular
from toolkit.files.text import read_text, split_lines
from toolkit.runtime.children import ChildError, call_in_child
from toolkit.runtime.messages import counted, named, quoted
from toolkit.runtime.options import takes
from toolkit.runtime.progress import Progress
from toolkit.store.foreign import READERS, Foreign, read_npy
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import Row, StoreMeta
from toolkit.store.spec import MOST_COLUMNS, EmbeddingSpec
from toolkit.store.writing import StoreWriter
from toolkit.verbs.options import ImportOptions

logger = logging.getLogger(__name__)

MOST_WHOLE = 2**24  # up to which float32 holds every whole number


@takes(ImportOptions)
def import_features(options: ImportOptions) -> EmbeddingStore:
    r"""Make a store of features (N, D) and N image names.

    The file is an ``.npy``; an ``.npz``, a ``.parquet`` or a file of tensors (``.pt``, ``.pth``,
    ``.safetensors``), in which `key` names the features if there are several; or a ``.csv`` whose first
    column is names. `names` is a text file, one name a line; without it the names must be in the file.
    Numbers other than float16 and float32 become float32, and axes of one element after the first are
    dropped; both are said in a warning. `target` is the folder of the store, by default
    ``artifacts/embeddings/<name>``.

    Returns
    -------
    EmbeddingStore

    Raises
    ------
    StoreError
        The features are no numbers of shape (N, D), hold NaN, infinity or what float32 cannot hold, or do not
        fit the names; names repeat or are missing; or the store exists already.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "X.npy", np.ones((2, 3), np.float32))
    >>> _ = (folder / "names.txt").write_text("a.jpg\nb.jpg\n")
    >>> import_features(folder / "X.npy", folder / "names.txt", artifacts=folder / "artifacts").ids
    ('a.jpg', 'b.jpg')
    """
    path = Path(options.array)
    usual = Path(options.artifacts) / "embeddings" / (options.name or path.stem)
    target = usual if options.target is None else Path(options.target)
    if target.exists() and not options.force:
        raise StoreError(
            f"there is a store at {target} already; give another --name, or --force to replace it"
        )
    with tempfile.TemporaryDirectory() as folder:
        found = _read(path, options.key, Path(folder))
        X = _matrix(found, path)
        ids = _ids(found, path, options.names)
        writer = StoreWriter(target, _meta(X, path), ids, force=True)
        try:
            _copy(X, writer, path, options.progress)
        except BaseException:
            writer.abandon()
            raise
        return writer.finish()


def _meta(X: NDArray[Any], path: Path) -> StoreMeta:
    spec = EmbeddingSpec(
        backbone="imported",
        weights=path.name,
        weights_sha256="",
        preprocessing="unknown",
        pooling="unknown",
        dim=X.shape[1],
        precision="unknown",
        engine="unknown",
    )
    return StoreMeta(spec=spec, dtype="float16" if _is_half(X) else "float32")


def _read(path: Path, key: str | None, folder: Path) -> Foreign:
    """Return what a file holds; what another process has read lies in `folder`."""
    kind = path.suffix.lower()
    try:
        if kind in TENSORS:
            with open_regular(path):  # what is no file is said here
                array = folder / "features.npy"
            names, where = _call("toolkit.backbones.tensors:save_array", path, key, array)
            return Foreign(read_npy(array, None).rows, names, where)
        if kind in READERS:
            return READERS[kind](path, key)
    except FileNotFoundError as error:
        raise StoreError(f"there is no file {path}; give an .npy of (rows, features)") from error
    except (OSError, ValueError) as error:
        what = f"a plain {kind} array" if kind in (".npy", ".npz") else "features"
        raise StoreError(f"{path} is not {what} ({error}); save it with numpy.save") from error
    raise StoreError(
        f"{named(path)} ends in {kind!r}; features are read from {', '.join((*READERS, *TENSORS))}"
    )


def _call(function: str, *arguments: Any) -> Any:
    try:
        return call_in_child(function, *arguments, quiet=True)
    except ChildError as error:
        raise ValueError(f"the process that read it {error}") from error


def _matrix(found: Foreign, path: Path) -> NDArray[Any]:
    """Return features as (rows, columns), and say what is converted."""
    rows = X = found.rows
    if rows.ndim > 2:
        long = [length for length in rows.shape[1:] if length != 1]
        if len(long) > 1:
            raise StoreError(
                f"{path} holds {rows.dtype} of shape {rows.shape}, more than one row an image; pool them "
                "first, such as by X.mean(axis=1), to the shape (rows, features)"
            )
        X = rows.reshape(len(rows), *(long or [1]))
    if X.ndim != 2 or not 1 <= X.shape[1] <= MOST_COLUMNS or not len(X):
        raise StoreError(
            f"{path} holds {rows.dtype} of shape {rows.shape}; it must be (rows, features) with 1 to "
            f"{MOST_COLUMNS:,} features"
        )
    notes = [found.note] if found.note else []
    if X.ndim != rows.ndim:
        notes.append(f"{shape_text(rows.shape)} became {shape_text(X.shape)}")
    if rows.dtype.kind != "f" or rows.dtype.itemsize > 4:
        digits = ", which keeps about 7 digits" if rows.dtype.kind == "f" else ""
        notes.append(f"{rows.dtype.name} became float32{digits}")
    if not rows.dtype.isnative:
        notes.append("the other byte order became this computer's")
    if notes:
        where = f", {found.where}" if found.where else ""
        logger.warning("%s%s: %s", path, where, "; ".join(notes))
    return X


def _is_half(X: NDArray[Any]) -> bool:
    return X.dtype.kind == "f" and X.dtype.itemsize == 2


def _ids(found: Foreign, path: Path, given: Any) -> list[str]:
    """Return the names of the rows: those given, or else the file's own."""
    if given is not None:
        source = Path(given)
        ids = _names(split_lines(read_text(source, error=StoreError)), f"{source}", "line")
        if found.names is not None:
            logger.warning("%s: its own names are not used, as --names gives others", path)
    elif found.names is not None:
        ids = _names(found.names, f"{path}", "row")
        source = path
    else:
        raise StoreError(f"{path} holds no names of images; give them with --names FILE, one a line")
    if len(ids) != len(found.rows):
        raise StoreError(
            f"{path} has {counted(len(found.rows), 'row')} but {source} has {counted(len(ids), 'name')}; "
            "they must be the same images"
        )
    return ids


def _copy(X: NDArray[Any], writer: StoreWriter, path: Path, progress: Progress) -> None:
    dtype = np.float16 if _is_half(X) else np.float32
    for start in range(0, len(X), COPY_ROWS):
        block = _converted(X[start : start + COPY_ROWS], dtype, start, path)
        for slot, values in enumerate(block, start):
            digest = hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()
            writer.write(slot, Row(writer.ids[slot], digest=digest), [values])
        progress("import", start + len(block), len(X))


def _converted(rows: NDArray[Any], dtype: Any, start: int, path: Path) -> EmbeddingArray:
    """Return rows as they are stored; `StoreError` for values that cannot be."""
    if rows.dtype.kind == "f":
        _require(np.isfinite(rows), start, path, "holds NaN or infinity; drop it or compute it again")
    with np.errstate(over="ignore"):
        block: EmbeddingArray = rows.astype(dtype)
    _require(np.isfinite(block), start, path, "holds values beyond float32; scale the features first")
    if rows.dtype.kind in "iu":
        exact = np.abs(rows.astype(np.float64)) <= MOST_WHOLE
        text = (
            f"holds whole numbers beyond {MOST_WHOLE:,}, which float32 may change; scale the features first"
        )
        _require(exact, start, path, text)
    return block


def _require(good: NDArray[np.bool_], start: int, path: Path, text: str) -> None:
    bad = ~good.all(axis=1)
    if bad.any():
        raise StoreError(f"{path} row {start + int(bad.argmax())} {text}")


def _names(names: Sequence[str], source: str, unit: str) -> list[str]:
    first: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if not name.strip():
            raise StoreError(f"{source} {unit} {line} is blank; it must hold one image name a {unit}")
        if name in first:
            raise StoreError(f"{source} names {quoted(name)} twice, in {unit}s {first[name]} and {line}")
        first[name] = line
    return list(names)
