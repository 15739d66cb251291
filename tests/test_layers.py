"""The rooms of DESIGN.md: a module imports only from a lower layer, or from its own package."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = [
    {"errors", "progress", "cores", "sampling", "metrics", "ranking", "wording", "demo_pictures"},
    {
        "textfiles",
        "imagehints",
        "imagepixels",
        "bootstrap",
        "storearrays",
        "features",
        "devices",
        "calibration",
    },
    {"spec", "images", "manifest", "labels", "decisions", "splits", "submission"},
    {"store", "scorestore", "demo_data", "report"},
    {"backbones", "heads"},
    {"embedding", "imported"},
    {"experiment"},
    {"demo"},
]
HEAVY = {
    "torch": {"backbones", "embedding", "heads", "devices"},
    "torchvision": {"backbones", "demo"},
    "faiss": {"heads"},
    "PIL": {
        "images",
        "imagehints",
        "imagepixels",
        "manifest",
        "demo_pictures",
        "demo_data",
        "backbones",
        "embedding",
    },
}


def modules() -> list[Path]:
    return sorted((ROOT / "toolkit").rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT / "toolkit").with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def level(name: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if name in rooms)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_imports_only_lower_layers(path):
    here = room(path)
    if here == "__init__":
        return
    for name in imports(path):
        if name.startswith("toolkit."):
            there = name.split(".")[1]
            assert there == here or level(there) < level(here), f"{here} imports {name}"
        assert not name.startswith("cli"), f"{path} imports the command line"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_imports_heavy_libraries_only_where_allowed(path):
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in HEAVY or room(path) in HEAVY[top], f"{path} imports {top}"
