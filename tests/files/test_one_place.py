"""Files of strangers are parsed in one place: nothing else calls the readers of numpy, scipy or json."""

import re
from pathlib import Path

import pytest

import toolkit

PACKAGE = Path(toolkit.__file__).parent
CALLS = {
    r"np\.load\(|np\.memmap\(|read_array_header|read_magic|lib\.format\.read": {"files/npy.py"},
    r"np\.fromfile\(": {"files/npy.py", "arrays/features.py"},  # there of a file whose header was checked
    r"load_npz\(|ZipFile\(": {"files/npz.py"},
    r"json\.loads?\(": {"files/json.py"},
    r"deserialize_index|faiss\.read_index": set(),
    r"pickle\.loads?\(|joblib\.load\(|(?<![.\w])(eval|exec)\(": {"runtime/children.py"},
    r"torch\.load\((?!.*weights_only=True)": set(),
    r"torch\.load\(": {"backbones/weights.py", "backbones/tensors.py"},
    r"allow_pickle=True": set(),
}
TESTING = "testing/heads.py"  # reads what the head under test has just written


@pytest.mark.parametrize("call", CALLS)
def test_readers__are_called_in_one_place(call):
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(call, path.read_text(encoding="utf-8"))
    }
    assert found - {TESTING} == CALLS[call]
