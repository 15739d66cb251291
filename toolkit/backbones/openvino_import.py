"""OpenVINO, imported without its telemetry.

Importing it, or converting with it, sends usage statistics to its makers, unless the package
``openvino_telemetry`` is missing; then it uses a stub. So in our processes that package is missing.
"""

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """Import and return ``openvino``, without its telemetry unless that is imported already."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino  # type: ignore[no-any-return]
