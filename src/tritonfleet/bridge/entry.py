"""Triton's way into the bridge: ``install_backend`` copies this file to ``backends/vllm/model.py``."""

# The embedded interpreter starts in the C locale, where file names and text files would be ASCII.
import locale

locale.setlocale(locale.LC_ALL, "C.UTF-8")

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

# First, so that a tritonfleet of another version in the stub's environment is not taken instead.
sys.path.insert(0, str(Path(__file__).parent))

from tritonfleet.bridge.model import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
