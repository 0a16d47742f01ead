"""install.sh and the stacks fit together: the inputs it writes are planned by the real Terraform."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.scripts.conftest import Bench, healthy_account, healthy_cluster

from .conftest import OFFLINE, Json, Terraform

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    (tmp_path / "fleet.yaml").write_text("models: {}\n")
    healthy_account(bench)
    healthy_cluster(bench)
    return bench


def test_plan_only_with_the_real_terraform(bench: Bench, terraform: Terraform, found: Json) -> None:
    """The first command of a newcomer ends in a plan of the whole infrastructure."""
    bench.remove("terraform")
    (bench.folder / "bin" / "terraform").symlink_to(found["terraform"])
    bench.environment |= terraform.environment
    bench.environment["HF_TOKEN"] = "hf_secret_token"
    done = bench.run("install.sh", "--plan-only", "--public-cidr", "203.0.113.7/32")
    assert done.code == 0, done.out + done.err
    assert "module.cluster.aws_eks_cluster.this" in done.out
    assert 'module.model_bucket.aws_s3_object.repository["llama2/config.pbtxt"]' in done.out
    assert 'module.secrets.aws_secretsmanager_secret_version.this["hugging-face-token"]' in done.out
    assert "hf_secret_token" not in done.out + done.err


@pytest.mark.parametrize("stack", ["platform", "fleet"])
def test_inputs_of_the_other_stacks(bench: Bench, terraform: Terraform, stack: str) -> None:
    """What install.sh takes from one stack's outputs is what the next stack's inputs accept."""
    assert bench.run("install.sh", "--yes").code == 0
    inputs: Json = json.loads((bench.work / f"{stack}.tfvars.json").read_text())
    if stack == "fleet":
        inputs["infrastructure"] |= {
            "cluster_endpoint": "https://x",
            "cluster_certificate_authority": "bW9jaw==",
            "model_repository_url": "s3://b/r",
            "weights_url": "s3://b/w",
            "secret_names": {},
        }
        inputs["platform"] = {
            "secret_store": "s",
            "prometheus_url": "http://p:9090",
            "autoscaler": "keda",
            "front": "none",
        }
    plan = terraform.plan(stack, inputs)
    assert plan.of_type("helm_release")


def test_readme_is_true() -> None:
    """The tables of inputs and outputs are those of the code."""
    done = subprocess.run(
        [sys.executable, str(OFFLINE / "document.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
