"""Tests that need packages of the extra `deploy` are not looked at in runs that leave the deployment files out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

#: Folder or module, and the package without which it cannot be imported.
NEEDS = dict.fromkeys(("helm", "test_chart.py", "test_path.py", "test_pods.py"), "helm_python")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what lacks its package, unless the deployment tests were asked for: then that must show."""
    package = NEEDS.get(collection_path.name)
    asked = config.getoption("markexpr") == "deploy"
    return True if package and not asked and find_spec(package) is None else None
