"""Write the golden files and the generated part of the values schema anew: ``python -m tests.deploy.update``.

Look at what changed before you commit it.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.deploy.fleets import FLEETS, GOLDEN, GOLDEN_FLEETS, SCHEMA, rendered
from tritonfleet.deploy.schema import chart_schema

MANIFESTS = Path(__file__).parent / "helm/golden"
#: Without autoscalers, whose queries have tests of their own.
GOLDEN_CASES = ("eks", "eks-one-pool", "eks-nodes")


def main() -> None:
    """Write everything."""
    SCHEMA.write_text(chart_schema(SCHEMA.read_text()))
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name in GOLDEN_FLEETS:
        for path, content in rendered(FLEETS[name]).files.items():
            target = GOLDEN / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
    if find_spec("helm_python") is None:
        sys.exit("the manifests are left as they are: pip install -e '.[deploy]' brings Helm's engine")
    shutil.rmtree(MANIFESTS, ignore_errors=True)
    MANIFESTS.mkdir()
    for name in GOLDEN_CASES:
        (MANIFESTS / f"{name}.yaml").write_text(golden_manifests(name))


def golden_manifests(name: str) -> str:
    """Return the manifests of a case without dashboards and rules, which have tests of their own."""
    from tests.deploy.helm.charts import case_values, render

    values = case_values(name)
    return render(values | {"metrics": {"dashboards": False, "rules": False}})


if __name__ == "__main__":
    main()
