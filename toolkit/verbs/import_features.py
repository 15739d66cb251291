"""Features computed elsewhere become a store like any other."""

import hashlib
from pathlib import Path

import numpy as np

from toolkit.errors import StoreError
from toolkit.files.npy import COPY_ROWS, EmbeddingArray, map_array
from toolkit.files.text import quoted, read_text, split_lines
from toolkit.runtime.messages import counted
from toolkit.runtime.options import takes
from toolkit.runtime.progress import Progress
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import Row, StoreMeta
from toolkit.store.spec import MOST_COLUMNS, EmbeddingSpec
from toolkit.store.writing import StoreWriter
from toolkit.verbs.options import ImportOptions


@takes(ImportOptions)
def import_features(options: ImportOptions) -> EmbeddingStore:
    r"""Make a store of an (N, D) float16 or float32 ``.npy`` and N image names, one a line.

    `target` is the folder of the store, by default ``artifacts/embeddings/<name>``.

    Returns
    -------
    EmbeddingStore

    Raises
    ------
    StoreError
        The array is not (N, D) float16 or float32, holds NaN or infinity, or does not fit the names; names
        repeat; or the store exists already.

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
    array, names = Path(options.array), Path(options.names)
    usual = Path(options.artifacts) / "embeddings" / (options.name or array.stem)
    target = usual if options.target is None else Path(options.target)
    if target.exists() and not options.force:
        raise StoreError(
            f"there is a store at {target} already; give another --name, or --force to replace it"
        )
    X = _features(array)
    ids = _names(names)
    if len(ids) != len(X):
        raise StoreError(
            f"{array} has {counted(len(X), 'row')} but {names} has {counted(len(ids), 'name')}; they must be "
            "the same images"
        )
    spec = EmbeddingSpec(
        backbone="imported",
        weights=array.name,
        weights_sha256="",
        preprocessing="unknown",
        pooling="unknown",
        dim=X.shape[1],
        precision="unknown",
        engine="unknown",
    )
    meta = StoreMeta(spec=spec, dtype="float16" if X.dtype == np.float16 else "float32")
    writer = StoreWriter(target, meta, ids, force=True)
    try:
        _copy(X, writer, array, options.progress)
    except BaseException:
        writer.abandon()
        raise
    return writer.finish()


def _copy(X: EmbeddingArray, writer: StoreWriter, array: Path, progress: Progress) -> None:
    for start in range(0, len(X), COPY_ROWS):
        block = X[start : start + COPY_ROWS]
        _require_finite(block, start, array)
        for slot, values in enumerate(block, start):
            digest = hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()
            writer.write(slot, Row(writer.ids[slot], digest=digest), [values])
        progress("import", start + len(block), len(X))


def _features(path: Path) -> EmbeddingArray:
    try:
        X = map_array(path)
    except FileNotFoundError as error:
        raise StoreError(f"there is no file {path}; give an .npy of (rows, features)") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is not a plain .npy array ({error}); save it with numpy.save") from error
    if X.ndim != 2 or X.dtype not in (np.float16, np.float32) or not 1 <= X.shape[1] <= MOST_COLUMNS:
        raise StoreError(
            f"{path} holds {X.dtype} of shape {X.shape}; it must be float16 or float32 of shape (rows, "
            f"features) with 1 to {MOST_COLUMNS:,} features"
        )
    return X


def _names(path: Path) -> list[str]:
    ids = split_lines(read_text(path, error=StoreError))
    first: dict[str, int] = {}
    for line, name in enumerate(ids, start=1):
        if not name.strip():
            raise StoreError(f"{path} line {line} is blank; it must hold one image name a line")
        if name in first:
            raise StoreError(f"{path} names {quoted(name)} twice, in lines {first[name]} and {line}")
        first[name] = line
    return ids


def _require_finite(block: EmbeddingArray, start: int, path: Path) -> None:
    bad = ~np.isfinite(block).all(axis=1)
    if bad.any():
        raise StoreError(
            f"{path} row {start + int(bad.argmax())} holds NaN or infinity; drop it or compute it again"
        )
