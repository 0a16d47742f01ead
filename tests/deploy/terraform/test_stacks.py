"""Every stack passes Terraform's own checks: format, validate and the tests against mock providers."""

from __future__ import annotations

import re
import subprocess

import pytest

from .conftest import OFFLINE, ROOT, STACKS, TERRAFORM, Json, Terraform

pytestmark = pytest.mark.deploy


def test_format(found: Json) -> None:
    """Every file is as `terraform fmt` writes it."""
    done = subprocess.run(
        [found["terraform"], "fmt", "-check", "-recursive", "-no-color", str(TERRAFORM)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run terraform fmt on {done.stdout}"


@pytest.mark.parametrize("stack", STACKS)
def test_validate(terraform: Terraform, stack: str) -> None:
    """No argument is misspelt, missing or of the wrong type for the pinned providers."""
    done = terraform.run(stack, "validate", "-no-color")
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stack", STACKS)
def test_terraform_test(terraform: Terraform, stack: str) -> None:
    """The stack applies against mocks and refuses each bad input by name."""
    done = terraform.run(stack, "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Success! \d+ passed, 0 failed", done.stdout)


def test_every_validation_is_refused_once() -> None:
    """Each variable with a validation has a run that expects it to fail."""
    for stack in STACKS:
        folder = TERRAFORM / "stacks" / stack
        variables = re.split(r"^variable ", (folder / "variables.tf").read_text(), flags=re.M)[1:]
        checked = {match[1] for text in variables if "validation {" in text and (match := re.match(r'"(\w+)"', text))}
        tests = "".join(path.read_text() for path in (folder / "tests").glob("*.tftest.hcl"))
        expected = {
            name
            for group in re.findall(r"expect_failures\s*=\s*\[([^\]]*)\]", tests)
            for name in re.findall(r"var\.(\w+)", group)
        }
        assert checked == expected, stack


def test_every_variable_and_output_is_described() -> None:
    """The README and `terraform console` have a sentence for each."""
    for path in TERRAFORM.rglob("*.tf"):
        for block in re.findall(r'^(?:variable|output) "\w+" \{\n(.*?)^\}', path.read_text(), flags=re.M | re.S):
            assert re.match(r'  description = ".+"', block), f"{path.relative_to(ROOT)}: {block[:60]}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('resource "aws_vpc" "x" { cidr_blok = "10.0.0.0/16" }', "Unsupported argument"),
        ('resource "aws_kms_alias" "x" {}', "Missing required argument"),
        ('resource "aws_vpc" "x" { enable_dns_support = "perhaps" }', "Inappropriate value for attribute"),
        (
            'variable "s" {\n  type = string\n  ephemeral = true\n}\n'
            'resource "aws_secretsmanager_secret_version" "x" {\n  secret_id = "x"\n  secret_string = var.s\n}',
            "Invalid use of ephemeral value",
        ),
    ],
)
def test_stub_refuses(found: Json, tmp_path_factory: pytest.TempPathFactory, text: str, complaint: str) -> None:
    """The stub provider that these checks rest on refuses what the real one would refuse by its schema."""
    folder = tmp_path_factory.mktemp("wrong")
    pin = 'terraform {\n  required_providers {\n    aws = { source = "hashicorp/aws" }\n  }\n}\n'
    (folder / "main.tf").write_text(pin + text)
    done = subprocess.run(
        ["python3", str(OFFLINE / "offline.py"), str(folder), "validate", "-no-color"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert complaint in done.stderr
