"""The whole `toolkit compare` at the reference contest's size: how long each stage takes, and the memory.

Features and tags are made up (`benchmarks.contest_like`) and written as the contest ships its own: a csv, a
tag list and a dense multi-hot ``.npz``. ``--rows 2000 --features 256 --tags 200`` tries it in a minute.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contest_like import write_contest_like
from benchmarks.processes import Run, run
from benchmarks.tables import table, write_section
from toolkit.files.csv import write_csv

F1S = ("micro_f1", "macro_f1", "samples_f1", "map")


def main() -> None:
    """Write the data, import and compare it, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=35_000)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--tags", type=int, default=6941)
    parser.add_argument("--tags-per-image", type=float, default=27.0)
    parser.add_argument("--folder", type=Path, help="where the files go, to be removed again")
    parser.add_argument("options", nargs="*", help="further options of compare, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        home = Path(name)
        write_files(home, given)
        imported = _toolkit("import", home / "X.npy", "--names", home / "names.txt", "--artifacts", home)
        print(f"imported in {imported.seconds:.0f} s", flush=True)
        data = ("--labels", home / "tag_train.npz", "--tags", home / "valid_tags.txt", "--artifacts", home)
        compared = _toolkit("compare", *data, "--json", *given.options)
    document = json.loads(compared.stdout)
    text = report(document, imported, compared, given)
    print(text)
    write_section("compare at contest scale", "python -m benchmarks.contest_compare", text)


def write_files(home: Path, given: Any) -> None:
    """Write ``X.npy``, its ``names.txt``, and the contest's three label files into `home`."""
    shape = (given.rows, given.features, given.tags)
    Y = write_contest_like(home / "X.npy", *shape, dtype=np.float32, tags_per_image=given.tags_per_image)
    names = [f"{row:05d}.jpg" for row in range(given.rows)]
    tags = np.array([f"标签{column:04d}" for column in range(given.tags)])
    (home / "names.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    (home / "valid_tags.txt").write_text("".join(f"{tag}\n" for tag in tags), encoding="utf-8")
    cells = (",".join(tags[Y.indices[Y.indptr[row] : Y.indptr[row + 1]]]) for row in range(given.rows))
    write_csv(home / "visual_china_train.csv", ("img_path", "tags"), zip(names, cells, strict=True))
    np.savez_compressed(home / "tag_train.npz", tag_train=Y.astype(np.uint8).toarray())


def _toolkit(*arguments: object) -> Run:
    return run([sys.executable, "-m", "cli", *map(str, arguments)])


def report(document: dict[str, Any], imported: Run, compared: Run, given: Any) -> str:
    """Return the section's text: total and memory, heads, stages."""
    total = compared.seconds
    heads = [
        (
            row["head"],
            *(f"{row[name]:.4f}" for name in F1S),
            _interval(document["intervals"].get(row["head"]), 1, "{:.4f}"),
            _interval(document["leads"].get(row["head"]), 100, "{:+.2f}"),
            row["rule"],
            *(f"{row[name]:,.0f}" for name in ("fit_seconds", "score_seconds", "peak_mb")),
        )
        for row in document["heads"]
    ]
    stages = [
        (name, f"{s:,.0f}", f"{100 * s / total:.0f} %") for name, s in stage_seconds(document, total).items()
    ]
    sizes = ", ".join(f"{document[f'n_{part}']:,} {part}" for part in ("train", "val", "test"))
    return (
        f"{given.rows:,} x {given.features:,} float32, {given.tags:,} tags, made up; `compare` with "
        f"{' '.join(given.options) or 'its defaults'}; rows: {sizes}. In all {total / 60:.1f} minutes; the "
        f"largest process held {compared.largest_mb:,.0f} MiB, all together {compared.together_mb:,.0f} MiB "
        f"(shared pages counted in each). `import` before it took {imported.seconds:.0f} s.\n\n"
        + table(
            ("head", "micro F1", "macro F1", "samples F1", "mAP", f"{document['level']:.0%} interval of "
             f"{document['metric']} F1", "best head's lead, points", "rule", "fit s", "score s", "peak MiB"),
            heads,
        )
        + "\n\nWhere the time goes:\n\n"
        + table(("stage", "seconds", "share"), stages)
    )  # fmt: skip


def stage_seconds(document: dict[str, Any], total: float) -> dict[str, float]:
    """Return the seconds of every stage, and what is left of `total`.

    They are compare's own account (``seconds``) or, of a version without it, the fits and scorings alone;
    the ensemble's, which are the sums of its members', are left out.
    """
    known = document.get("seconds") or {
        f"{what} {row['head']}": row[f"{what}_seconds"]
        for what in ("fit", "score")
        for row in document["heads"]
        if row["head"] != "ensemble"
    }
    return {**known, "the rest (start-up, writing)": total - sum(known.values())}


def _interval(ends: list[float] | None, factor: float, form: str) -> str:
    return "" if ends is None else "[" + ", ".join(form.format(factor * end) for end in ends) + "]"


if __name__ == "__main__":
    main()
