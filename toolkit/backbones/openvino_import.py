"""OpenVINO, imported without its telemetry.

It sends usage statistics to its makers when imported and when converting, unless the package
``openvino_telemetry`` is missing. So in our processes that package is missing.
"""

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """Import and return ``openvino``, without its telemetry unless that is imported already."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino  # type: ignore[no-any-return]
