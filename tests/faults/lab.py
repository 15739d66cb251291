"""Commands that write, each run in a forked process on a copy of one small artifacts folder.

Heads are fitted in the process itself, so that every disk operation of a command has a number.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
from PIL import Image
from toolkit.cli.main import run as run_command_line
from toolkit.cli.signals import Signals

import toolkit.verbs.embed
import toolkit.verbs.verify
from tests.embedding.test_run import MeanBackbone
from tests.faults.disk import DISK, WRITING
from tests.made_up import made_up, names, write_labels, write_store
from toolkit.experiment import jobs, worker
from toolkit.experiment.dataset import store_names
from toolkit.experiment.leftovers import leftovers
from toolkit.experiment.saved import SavedHead, saved_names
from toolkit.files.csv import write_csv
from toolkit.files.folders import standing
from toolkit.heads import knn, logreg
from toolkit.heads.registry import load_head
from toolkit.store.reading import EmbeddingStore

__all__ = ["knn", "logreg", "worker"]  # imported before the fork, so that each run does not

ROWS = 40
TRAIN = ("--store", "train", "--labels", "labels.csv")
COMMANDS = {
    "embed": ("embed", "../pictures"),
    "import": ("import", "other.npy", "--names", "other.txt", "--name", "train", "--force"),
    "fit": ("fit", "--head", "knn", "-o", "k=3", *TRAIN),
    "fit --add-tags": ("fit", "--head", "knn", "--add-tags", "--store", "train", "--labels", "more.csv"),
    "compare": ("compare", "--heads", "knn,logreg", "-o", "knn.k=4", "-o", "logreg.C=0.5", *TRAIN),
    "tune": ("tune", "knn", "--rule", "top-k:1"),
    "predict": ("predict", "train", "--head", "knn", "--rule", "top-k:2", "--out", "submit.csv"),
    "predict again": ("predict", "submit.scores.npz", "--head", "knn", "--rule", "top-k:3"),
    "export": ("export", "logreg", "--out", "knn.npz", "--force"),
}
READING = {
    "info": ("info",),
    "evaluate": ("evaluate", "submit.csv", "labels.csv"),
}
ERRORS = {
    "ENOSPC": (errno.ENOSPC, {"write", "create", "mkdir", "truncate", "link"}, True),
    "EROFS": (errno.EROFS, WRITING, True),
    "EIO": (errno.EIO, WRITING | {"open", "list"}, False),
    "EACCES": (errno.EACCES, WRITING - {"write"} | {"open", "list"}, False),
    "EMFILE": (errno.EMFILE, {"open", "create", "list"}, True),
}
"""Name: number, the operations that it may happen to, and whether all that follow fail too."""

_IDS = ("id", "fit_seconds", "score_seconds", "peak_mb", "head_id", "folder", "seconds", "comparison")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status (negative: the signal), and what it printed."""

    status: int
    out: str
    err: str

    @property
    def is_one_line(self) -> bool:
        """Whether an error was said in one line that names it, without a traceback."""
        lines = self.err.splitlines()
        said = [line for line in lines if line.startswith("toolkit: ")]
        ugly = ("Traceback", "Exception ignored", "a fault of the toolkit itself")
        return len(said) == 1 and lines[-1] == said[0] and not any(word in self.err for word in ugly)


def prepare(home: Path) -> None:
    """Make a folder with a store of images, one of features, two heads and a prediction."""
    X, Y = made_up(n=ROWS)
    write_store(home, "train", X, names(ROWS))
    write_labels(home / "labels.csv", names(ROWS), Y)
    rows = ((name, "new" if number % 3 else "") for number, name in enumerate(names(ROWS)))
    write_csv(home / "more.csv", ("img_path", "tags"), rows)
    other, _ = made_up(seed=9, n=ROWS)
    np.save(home / "other.npy", other)
    (home / "other.txt").write_text("".join(f"b/{number}.jpg\n" for number in range(ROWS)))
    pictures = home.parent / "pictures"  # beside: an image that cannot be read is no failure of the command
    pictures.mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    for command in (
        ("embed", "../pictures"),
        ("compare", "--heads", "knn,logreg", "-o", "knn.k=5", "-o", "logreg.C=1", *TRAIN),
        ("predict", "train", "--head", "knn", "--out", "submit.csv"),
        ("export", "knn", "--out", "knn.npz"),
    ):
        ended = run(command, home)
        assert ended.status == 0, ended
    (pictures / "0.png").unlink()  # so that the next pass drops a row, and copies the others
    for number in (6, 7):
        pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{number}.png")


# ---------------------------------------------------------------------- running


def run(command: tuple[str, ...], home: Path, before: Callable[[int, str, str], None] | None = None) -> Ended:
    """Run a command in a forked process, in the folder `home`; `before` sees its disk operations."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        child = os.fork()
        if child == 0:
            _run_here(command, home, before, out, err)
        _, status = os.waitpid(child, 0)
        return Ended(os.waitstatus_to_exitcode(status), out.read_text(), err.read_text())


def _run_here(command, home, before, out, err):
    """In the forked process: run the command line, and end the process."""
    status = 99
    try:
        os.chdir(home)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w") for n in (1, 2))
        sys.argv = ["toolkit", *command]
        logging.root.handlers.clear()  # a test runner's
        jobs.call_in_child = _call_here
        toolkit.verbs.embed.load_backbone = lambda *_, **__: MeanBackbone()
        if before is not None:
            DISK.watch(home, before)
        run_command_line(Signals())
    except SystemExit as end:
        status = end.code
    finally:
        DISK.rest()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _call_here(function, *arguments, progress, **_):
    return resolve_name(function)(progress, *arguments)


def start(command: tuple[str, ...], home: Path) -> "subprocess.Popen[str]":
    """Start a command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "toolkit", *command],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TOOLKIT_WEIGHTS": "random:0"},
    )


def counted(command: tuple[str, ...], home: Path) -> list[str]:
    """Return the kinds of the disk operations of a command, in order."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        ended = run(command, home, lambda _, kind, path: os.write(descriptor, f"{kind} {path}\n".encode()))
        os.close(descriptor)
        assert ended.status == 0, ended
        return [line.partition(" ")[0] for line in log.read_text().splitlines()]


def killing(moment: int) -> Callable[[int, str, str], None]:
    """Return what kills the process before the disk operation of that number."""

    def before(number: int, kind: str, path: str) -> None:
        if number == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    return before


def refusing(name: str, moment: int) -> Callable[[int, str, str], None]:
    """Return what lets the first fitting operation from that number on fail with an errno."""
    code, kinds, for_good = ERRORS[name]
    failed = []

    def before(number: int, kind: str, path: str) -> None:
        if number >= moment and kind in kinds and (for_good or not failed):
            failed.append(number)
            raise OSError(code, os.strerror(code), path)

    return before


# ---------------------------------------------------------------------- what is there


def state(home: Path) -> dict[str, str]:
    """Return a digest of every store, head, prediction and export, without ids, times and memory.

    All is opened as its readers do; what cannot be opened raises.
    """
    artifacts, out = home / "artifacts", {}
    for name in store_names(artifacts):
        store = EmbeddingStore(artifacts / "embeddings" / name)
        out[f"store {name}"] = _digest(standing(store.folder)) + store.embeddings().tobytes().hex()[:8]
    for name in saved_names(artifacts):
        saved = SavedHead.open(artifacts, name)
        saved.read(load_head)
        out[f"head {name}"] = _digest(standing(saved.folder))
    if (artifacts / "heads" / "best.json").exists():
        out["best"] = SavedHead.open(artifacts, "best").name
    for folder in (artifacts / "comparisons").glob("*"):
        assert {path.name for path in folder.iterdir()} == {
            "table.csv",
            "compare.json",
            "split.csv",
            "report.html",
        }
    out["comparisons"] = str(len(list((artifacts / "comparisons").glob("*"))))
    out["prediction"] = _prediction(home)
    out["export"] = _digest_of_file(home / "knn.npz")
    return out


def _prediction(home: Path) -> str:
    """Return a digest of both files; the scores may be absent in the moment of their replacement."""
    csv = _digest_of_file(home / "submit.csv")
    scores = home / "submit.scores.npz"
    return f"{csv} {_digest_of_file(scores) if scores.exists() else 'absent'}"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "journal.csv":  # removed last of all
            digest.update(f"{path.relative_to(folder)} {_digest_of_file(path)}".encode())
    return digest.hexdigest()[:16]


def _digest_of_file(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        document = json.loads(data)
        if isinstance(document, dict):
            data = json.dumps({key: value for key, value in document.items() if key not in _IDS}).encode()
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            kept = {key: arrays[key].tobytes() for key in arrays.files if key not in (*_IDS, "document")}
        data = repr(sorted(kept.items())).encode()
    return hashlib.sha256(data).hexdigest()[:16]


@dataclass
class Tally:
    """What came of the moments tried with one command."""

    moments: int = 0
    harmless: int = 0
    lost: int = 0
    ugly: int = 0
    notes: tuple[str, ...] = ()

    def note(self, text: str) -> None:
        """Keep what went wrong, for the table."""
        self.notes = (*self.notes, text)


class Lab:
    """A prepared folder, and for each command what is there before and after it."""

    def __init__(self, folder: Path) -> None:
        self._home, self.base = folder / "home", folder / "base"
        prepare(self._home)
        self.before = state(self._home)
        self._home.rename(self.base)
        self._after: dict[str, tuple[list[str], dict[str, str]]] = {}

    @contextmanager
    def copy(self) -> Iterator[Path]:
        """Yield a copy of the prepared folder, always at one path: stores know where their images are."""
        shutil.copytree(self.base, self._home)
        try:
            yield self._home
        finally:
            shutil.rmtree(self._home)

    def undisturbed(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Return the kinds of disk operations of a command, and what is there after it."""
        if name not in self._after:
            with self.copy() as home:
                kinds = counted(COMMANDS[name], home)
                self._after[name] = kinds, state(home)
        return self._after[name]

    def moments(self, name: str, error: str = "") -> list[int]:
        """Return the moments at which a kill makes a difference, or the operations an error may happen to."""
        kinds = ERRORS[error][1] if error else WRITING
        return [number for number, kind in enumerate(self.undisturbed(name)[0]) if kind in kinds]

    def kill(self, name: str, moment: int, tally: Tally) -> None:
        """Kill a command before its disk operation of that number; see that nothing is lost."""
        self._disturb(name, killing(moment), f"killed at {moment}", tally, killed=True)

    def refuse(self, name: str, error: str, moment: int, tally: Tally) -> None:
        """Let a command's disk operations fail from that number on; see that it says so in one line."""
        self._disturb(name, refusing(error, moment), f"{error} at {moment}", tally, killed=False)

    def _disturb(
        self, name: str, before: Callable[[int, str, str], None], what: str, tally: Tally, *, killed: bool
    ) -> None:
        tally.moments += 1
        _, after = self.undisturbed(name)
        with self.copy() as home:
            ended = run(COMMANDS[name], home, before)
            if ended.status == 0:
                tally.harmless += 1
            elif not killed and not (ended.status == 2 and ended.is_one_line):
                tally.ugly += 1
                tally.note(f"{name}, {what}: status {ended.status}: {ended.err}")
            self._check(name, what, home, after, tally)

    def _check(self, name: str, what: str, home: Path, after: dict[str, str], tally: Tally) -> None:
        """Check that each thing is the old or the new one, and that the same command then completes."""
        try:
            now = state(home)
            wrong = [key for key in after if not self._is_whole(key, now.get(key, "gone"), after)]
            if wrong:
                raise AssertionError(f"neither old nor new: {wrong}")
            if name == "fit --add-tags" and now["head knn"] == after["head knn"]:
                return  # the same command would find no new tag
            again = run(COMMANDS[name], home)
            if again.status != 0:
                raise AssertionError(f"run again: {again}")
            settled = state(home)
            for key, new in after.items():
                if key != "comparisons" and settled[key] != new:
                    raise AssertionError(f"run again, {key} differs")
            left = leftovers(home / "artifacts")
            if left:
                raise AssertionError(f"left over: {left}")
        except Exception as error:
            tally.lost += 1
            tally.note(f"{name}, {what}: {type(error).__name__}: {error}")

    def _is_whole(self, key: str, now: str, after: dict[str, str]) -> bool:
        old, new = self.before.get(key, "gone"), after[key]
        if key == "prediction":
            absent = {f"{each.split()[0]} absent" for each in (old, new)}
            return now in {old, new} | absent
        return now in (old, new)
