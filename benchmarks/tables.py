"""BENCHMARKS.md, one section a script: what was measured, where, and by which command."""

import importlib.metadata
import platform
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from toolkit.runtime.devices import usable_cores

FILE = Path(__file__).resolve().parents[1] / "BENCHMARKS.md"
LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "torchvision", "openvino", "pillow", "faiss-cpu")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine() -> str:
    """Say on what and with what this was measured."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*: (.*)", info.read_text())
        cpu = found[1] if found else cpu
    installed = {name: version for name in LIBRARIES if (version := _version(name))}
    versions = ", ".join(f"{name} {version}" for name, version in installed.items())
    day = datetime.now().astimezone().strftime("%Y-%m-%d")
    return f"{day}; {usable_cores()} cores of {cpu}; Python {platform.python_version()}, {versions}."


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""  # a pass on CUDA does without openvino and faiss


def section(title: str, command: str, text: str) -> str:
    """Return a section of BENCHMARKS.md."""
    return f"## {title}\n\n`{command}`: {machine()}\n\n{text.strip()}\n"


def write_section(title: str, command: str, text: str) -> None:
    """Put the section `title` into BENCHMARKS.md, in place of an earlier one."""
    old = FILE.read_text(encoding="utf-8") if FILE.exists() else "# Benchmarks\n"
    parts = re.split(r"(?m)^(?=## )", old)
    kept = [part.rstrip() + "\n" for part in parts if not part.startswith(f"## {title}\n")]
    FILE.write_text("\n".join([*kept, section(title, command, text)]), encoding="utf-8")
