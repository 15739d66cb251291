"""Coverage-guided inputs for one reader: ``python -m tests.fuzz.guided READER --runs 100000``.

It needs atheris (the extra ``fuzz``). The first byte of an input chooses the file, the rest takes its place.
What ends otherwise than in a `ToolkitError` is printed and its input written to ``crash-...``.
"""

import argparse
import contextlib
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

_INSTRUMENTED = ["toolkit", "defusedxml", "xml", "zipfile"]


def main() -> None:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    with atheris.instrument_imports(include=_INSTRUMENTED):  # before anything imports the package
        from tests.fuzz.running import Bench
        from tests.fuzz.targets import TARGETS
    parser.add_argument("reader", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as home:
        folder, seeds = Path(home, "files"), Path(home, "seeds")
        folder.mkdir()
        seeds.mkdir()
        with atheris.instrument_imports(include=_INSTRUMENTED):
            bench = Bench(TARGETS[options.reader], folder)
        warnings.simplefilter("error")
        files = sorted(bench.valid)
        for number, file in enumerate(files):
            (seeds / str(number)).write_bytes(bytes([number]) + bench.valid[file])

        def one(data: bytes) -> None:
            if data:
                bench.run(files[data[0] % len(files)], data[1:])

        flags = [
            f"-runs={options.runs}",
            f"-seed={options.seed}",
            "-max_len=20000",
            "-timeout=20",
            "-rss_limit_mb=4096",
        ]
        atheris.Setup([sys.argv[0], *flags, str(seeds)], one)
        with contextlib.suppress(SystemExit):
            atheris.Fuzz()


if __name__ == "__main__":
    main()
