"""docs/openai.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tritonfleet.gateway.app import KINDS
from tritonfleet.gateway.metrics import PREFIX, TABLE
from tritonfleet.spec.models import GatewaySpec

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "openai.md").read_text()
CODE = "\n".join(path.read_text() for path in (ROOT / "src/tritonfleet/gateway").glob("*.py"))


def test_the_defaults_on_the_page_are_those_of_the_spec() -> None:
    block = next(text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S) if text.startswith("gateway:"))
    written = yaml.safe_load(block)["gateway"]
    assert GatewaySpec(**written) == GatewaySpec()
    assert written.keys() == GatewaySpec.model_fields.keys()


def test_every_path_is_on_the_page() -> None:
    assert [kind.path for kind in KINDS if f"{kind.path}`" not in PAGE] == []


def test_every_metric_is_on_the_page_with_its_labels() -> None:
    for metric in TABLE.values():
        line = next(line for line in PAGE.splitlines() if f"`{metric.name.removeprefix(PREFIX)}`" in line)
        # What stands on every series is said once.
        assert ", ".join(label for label in metric.labels if label not in ("fleet", "pool")) in line


def test_every_code_on_the_page_is_one_of_the_gateways() -> None:
    codes = set(re.findall(r"`(\w+)`", PAGE[PAGE.index("| status |") : PAGE.index("Any other error")]))
    settings = set(GatewaySpec.model_fields)
    assert codes - settings - {"model"} <= set(re.findall(r'"(\w+)"', CODE))
