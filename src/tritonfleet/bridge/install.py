"""Put the bridge where Triton looks for it: a folder ``vllm`` in a backend directory. Stdlib only.

Triton's stub ignores PYTHONPATH and knows nothing of the environment that tritonfleet is installed in, so the backend
folder carries a copy of the few modules that the bridge needs.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

BACKEND = "vllm"

#: Modules beside ``bridge`` that the bridge imports.
_SHARED = ("__init__.py", "errors.py", "leases.py", "wire.py")


def install_backend(backends_dir: Path) -> None:
    """Write ``backends_dir/vllm``, replacing what stood there; raise OSError if the folder cannot be written."""
    package = Path(__file__).parent.parent
    target = backends_dir / BACKEND
    building = Path(tempfile.mkdtemp(prefix=f".{BACKEND}-", dir=backends_dir))
    try:
        building.chmod(0o755)
        copy = building / package.name
        shutil.copytree(package / "bridge", copy / "bridge", ignore=shutil.ignore_patterns("__pycache__"))
        for name in _SHARED:
            shutil.copyfile(package / name, copy / name)
        shutil.copyfile(package / "bridge" / "entry.py", building / "model.py")
        _remove(target)
        building.replace(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
