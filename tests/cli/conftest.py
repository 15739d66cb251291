"""Run the command line as a process."""

import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def toolkit():
    """Call ``toolkit ARGUMENTS`` in the folder `cwd`; weights are untrained unless `env` says otherwise."""

    def run(*arguments, cwd, **env):
        return subprocess.run(
            [sys.executable, "-m", "toolkit", *map(str, arguments)],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TOOLKIT_WEIGHTS": "random:0"} | env,
        )

    return run
