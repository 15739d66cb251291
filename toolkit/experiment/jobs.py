"""Run `toolkit.experiment.worker` in a process of its own, relaying its progress, warnings and errors."""

import json
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit import errors
from toolkit.errors import HeadError, ToolkitError
from toolkit.evaluation.splits import Split
from toolkit.runtime.progress import Progress

Rows = NDArray[np.intp]


@contextmanager
def work_folder(artifacts: Path) -> Iterator[Path]:
    """Make a folder for jobs inside `artifacts`, where there is room for arrays, and remove it afterwards."""
    artifacts.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".work-", dir=artifacts)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def run_job(folder: Path, document: dict[str, Any], progress: Progress) -> None:
    """Do the job `document` in `folder`, which is made.

    Raises
    ------
    ToolkitError
        The one the worker met.
    HeadError
        The worker died (its traceback, if it had one, is on stderr).
    """
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(document), encoding="utf-8")
    command = [sys.executable, "-m", "toolkit.experiment.worker", str(folder)]
    # a session of its own: Ctrl-C reaches this process alone, which then stops the worker
    worker = subprocess.Popen(  # noqa: S603 - this interpreter and this package
        command, stdout=subprocess.PIPE, encoding="utf-8", start_new_session=True
    )
    assert worker.stdout is not None
    try:
        for line in worker.stdout:
            _relay(line, progress)
        status = worker.wait()
    finally:
        worker.kill()
        worker.stdout.close()
        worker.wait()
    if (folder / "error.json").is_file():
        raise _error(json.loads((folder / "error.json").read_text(encoding="utf-8")))
    if status:
        how = f"ended with {status}" if status > 0 else f"was killed by signal {-status}"
        how += ", as happens when memory runs out" if status == -signal.SIGKILL else ""
        raise HeadError(f"the process of head {document.get('head', '')!r} {how}; nothing was changed")


def _relay(line: str, progress: Progress) -> None:
    try:
        said = json.loads(line)
    except ValueError:  # a head of another package prints
        sys.stderr.write(line)
        return
    if "stage" in said:
        progress(said["stage"], said["done"], said["total"], said["note"])
    else:
        logging.getLogger(said["logger"]).log(said["level"], "%s", said["message"])


def _error(document: dict[str, str]) -> ToolkitError:
    kind = getattr(errors, document["type"], ToolkitError)
    found: ToolkitError = kind(document["message"])
    return found


def save_data(
    folder: Path,
    rows: Rows,
    Y: sp.csr_array,
    split: Split,
    pool: Rows | None = None,
    fold: Rows | None = None,
) -> None:
    """Write what the jobs of one command read: where the features lie, their labels and their split.

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
    """Read labels written by `save_labels`."""
    # numpy leaves a file that it opened itself open if it is damaged
    with path.open("rb") as file, np.load(file, allow_pickle=False) as parts:
        indices, indptr, shape = parts["indices"], parts["indptr"], tuple(parts["shape"].tolist())
    return sp.csr_array((np.ones(len(indices), bool), indices, indptr), shape=shape)


def save_labels(path: Path, Y: sp.csr_array) -> None:
    """Write boolean CSR labels as plain arrays."""
    np.savez(path, indices=Y.indices, indptr=Y.indptr, shape=np.array(Y.shape))
