"""Work on heads in processes of their own: folders for it, the arrays it reads, and its errors."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.sparse import COLUMNS, ENDS, checked_csr
from toolkit.arrays.types import RowNumbers
from toolkit.errors import HeadError
from toolkit.evaluation.splits import Split
from toolkit.files.npy import Expected
from toolkit.files.npz import open_npz
from toolkit.runtime.children import ChildError, call_in_child
from toolkit.runtime.progress import Progress


@contextmanager
def work_folder(artifacts: Path) -> Iterator[Path]:
    """Make a folder inside `artifacts`, where there is room for arrays, and remove it afterwards."""
    artifacts.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".work-", dir=artifacts)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def run_job(job: str, head: str, folder: Path, progress: Progress, **arguments: Any) -> Any:
    """Call the function `job` of `toolkit.experiment.worker` in a process of its own; return what it returns.

    `head` is the head's name as the user wrote it; `folder` is made for the arrays the function writes. A
    `ToolkitError` of the function is raised here; if the process fails otherwise, a `HeadError`.
    """
    folder.mkdir()
    function = f"toolkit.experiment.worker:{job}"
    try:
        return call_in_child(function, {"head": head, "folder": folder, **arguments}, progress=progress)
    except ChildError as error:
        raise HeadError(f"the process of head {head!r} {error}; nothing was changed") from error


def save_data(
    folder: Path,
    rows: RowNumbers,
    Y: sp.csr_array,
    split: Split,
    pool: RowNumbers | None = None,
    fold: RowNumbers | None = None,
) -> None:
    """Write what the jobs of one command read: the rows of the features, their labels and their split.

    `pool` are the rows dealt to folds, `fold` the number of each one's; none by default.
    """
    none = np.empty(0, np.intp)
    arrays = {
        "rows": rows,
        "train": split.train,
        "val": split.val,
        "test": split.test,
        "pool": none if pool is None else pool,
        "fold": none if fold is None else fold,
    }
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    save_labels(folder / "Y.npz", Y)


def load_labels(path: Path) -> sp.csr_array:
    """Read labels written by `save_labels`; `OSError` or `ValueError` if they are damaged."""
    with open_npz(path) as archive:
        N, L = archive.read("shape", Expected(kinds="i", shape=(2,), low=0)).tolist()
        return checked_csr(archive.read("indices", COLUMNS), archive.read("indptr", ENDS), (N, L))


def save_labels(path: Path, Y: sp.csr_array) -> None:
    """Write boolean CSR labels as plain arrays, the columns of each row ascending."""
    clean = Y.copy()
    clean.sum_duplicates()
    np.savez(path, indices=clean.indices, indptr=clean.indptr, shape=np.array(Y.shape))
