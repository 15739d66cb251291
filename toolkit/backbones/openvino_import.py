"""OpenVINO, imported so that it reports to nobody.

Importing it, or converting with it, sends usage statistics to its makers unless the package
``openvino_telemetry`` is missing; then it uses a stub of its own. We send nothing unasked, so in our
processes that package is missing.
"""

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """Import and return ``openvino``, without its telemetry unless somebody has imported that before."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino  # type: ignore[no-any-return]
