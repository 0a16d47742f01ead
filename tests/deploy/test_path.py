"""From a spec of examples/ to the cluster: what each step writes is what the next one takes."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import helm_python.chart
import pytest
import yaml

from tests.deploy.fleets import rendered
from tests.deploy.helm.charts import AWS, CHART, merged, objects, of_kind, render
from tritonfleet.deploy import Rendered
from tritonfleet.errors import UsageError

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[2]
STACKS = ROOT / "deploy/terraform/stacks"
#: lora.yaml names a folder of the machine, which no pod sees.
EXAMPLES = sorted({path.stem for path in (ROOT / "examples").glob("*.yaml")} - {"lora"})
REGISTRY = "111122223333.dkr.ecr.us-west-2.amazonaws.com"
#: Keys of terraform.tfvars.json that only the scripts read (deploy/terraform/README.md).
FOR_SCRIPTS = {"models", "pools", "hugging_face_token_required"}


def example(name: str) -> Rendered:
    """Return the deployment of a spec of examples/."""
    return rendered((ROOT / f"examples/{name}.yaml").read_text(), registry=REGISTRY)


def file(deployment: Rendered, name: str) -> Any:
    """Return a rendered file, parsed; JSON is YAML."""
    return yaml.safe_load(deployment.files[PurePosixPath(name)])


def as_installed(deployment: Rendered) -> dict[str, Any]:
    """Return the values as the Terraform gives them to Helm."""
    return merged(file(deployment, "values.yaml"), {"aws": AWS})


def test_terraform_gives_the_section_that_the_chart_is_tested_with() -> None:
    text = (STACKS / "fleet/main.tf").read_text()
    section = re.search(r"aws = \{\n(.*?)\n      \}", text, re.DOTALL)
    assert section
    assert set(re.findall(r"^\s+(\w+)\s*=", section[1], re.MULTILINE)) == set(AWS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_helm_takes_what_the_renderer_writes(name: str) -> None:
    values = as_installed(example(name))
    assert not helm_python.chart.lint(str(CHART), values=values)["errors"]
    text = render(values, release="tritonfleet")
    serving = {entry["metadata"]["name"] for entry in of_kind(text, "Deployment")} - {"tritonfleet-door"}
    assert serving == {f"tritonfleet-{pool.name}" for pool in example(name).pools}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_image_comes_from_the_registry(name: str) -> None:
    images = re.findall(r"image: \"?([^\s\"]+)", render(as_installed(example(name))))
    assert images
    assert [image for image in images if not image.startswith(f"{REGISTRY}/tritonfleet")] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_stack_knows_its_inputs(name: str) -> None:
    known = {
        variable
        for stack in STACKS.iterdir()
        for variable in re.findall(r'^variable "(\w+)"', (stack / "variables.tf").read_text(), re.MULTILINE)
    }
    assert set(file(example(name), "terraform.tfvars.json")) - FOR_SCRIPTS <= known


def test_a_folder_of_this_machine_is_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r"tritonfleet repository push"):
        example("lora")


def test_pods_run_as_the_accounts_that_the_roles_are_bound_to() -> None:
    variables = (STACKS / "infrastructure/variables.tf").read_text()
    bound = re.findall(r'variable "(?:service_account|copy_service_account)".*?default\s+= "([^"]+)"', variables, re.S)
    text = render(as_installed(example("gpu-two-models")))
    made = {entry["metadata"]["name"] for entry in of_kind(text, "ServiceAccount")}
    used = set(re.findall(r"serviceAccountName: (\S+)", text))
    assert set(bound) == {"tritonfleet", "tritonfleet-model-copy"}
    assert set(bound) <= made
    assert used <= made


def test_the_commands_of_the_scripts_select_pods_that_exist() -> None:
    pods = [
        entry["spec"]["template"]["metadata"]["labels"]
        for entry in objects(render(as_installed(example("gpu-two-models"))))
        if entry["kind"] == "Deployment"
    ]
    scripts = "\n".join(path.read_text() for path in (ROOT / "deploy").rglob("*.sh"))
    selectors = re.findall(r" -l (\S+?)=([\w-]+)", scripts)
    assert selectors
    for key, value in selectors:
        assert [labels for labels in pods if labels.get(key) == value], key


def test_the_models_that_are_asked_at_the_end_are_served() -> None:
    for name in EXAMPLES:
        deployment = example(name)
        values = file(deployment, "values.yaml")
        assert set(json.loads(deployment.files[PurePosixPath("terraform.tfvars.json")])["models"]) <= set(
            values["models"]
        )
