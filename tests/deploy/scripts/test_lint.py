"""The scripts are clean by ShellCheck, and every call of the AWS CLI is one that it knows."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import DEPLOY, ROOT, Bench

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]


def shellcheck() -> str:
    """ShellCheck from the PATH, or from the cache of the offline Terraform checks."""
    found = shutil.which("shellcheck")
    if found:
        return found
    offline = ROOT / "scripts" / "terraform_offline"
    spec = importlib.util.spec_from_file_location("prepare", offline / "prepare.py")
    assert spec
    assert spec.loader
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    try:
        python = prepare.build_python(prepare.default_cache())
    except prepare.Unavailable as err:
        pytest.skip(f"shellcheck is not here and cannot be fetched: {err}")
    return str(Path(python).parent / "shellcheck")


@pytest.mark.parametrize("script", ["install.sh", "cleanup.sh"])
def test_shellcheck(script: str) -> None:
    """No finding, in the script or in what it sources."""
    done = subprocess.run(
        [shellcheck(), "--check-sourced", "--external-sources", "--source-path=SCRIPTDIR", str(DEPLOY / script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", ["install.sh", "cleanup.sh"])
def test_bash_alone(script: str) -> None:
    """bash itself reads every file."""
    for path in (DEPLOY / script, *(DEPLOY / "lib").glob("*.sh")):
        subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.parametrize("script", ["install.sh", "cleanup.sh"])
def test_help(bench: Bench, script: str) -> None:
    """--help tells every option and calls nothing."""
    done = bench.run(script, "--help")
    assert done.code == 0
    assert not done.calls
    text = (DEPLOY / script).read_text()
    options = [line.split(")")[0].strip().split(" ")[0] for line in text.splitlines() if line.startswith("    --")]
    assert len(options) >= 8
    for option in options:
        assert option in done.out


def test_aws_calls_are_real(installed: Bench) -> None:
    """Each recorded call has an operation and parameters that the real AWS CLI accepts (nothing is reached)."""
    aws = shutil.which("aws")
    if aws is None:
        pytest.skip("the AWS CLI is not here")
    installed.when(
        "aws",
        "get-resources .*elasticloadbalancing:loadbalancer ",
        stdout='{"ResourceTagMappingList": [{"ResourceARN": "arn:aws:elasticloadbalancing:x"}]}',
    )
    installed.when(
        "aws",
        "get-resources .*elasticloadbalancing:targetgroup ",
        stdout='{"ResourceTagMappingList": [{"ResourceARN": "arn:aws:elasticloadbalancing:y"}]}',
    )
    installed.when("aws", "describe-instances", stdout="i-0123456789abcdef0\n")
    installed.when("aws", "describe-security-groups", stdout="sg-0123456789abcdef0\n")
    installed.when("aws", "describe-volumes", stdout="vol-0123456789abcdef0\n")
    installed.when("aws", "list-object-versions", stdout="{}")
    installed.when("aws", "list-object-versions", stdout='{"Versions": [{"Key": "a", "VersionId": "1"}]}', times=1)
    (installed.work / "pins.tfvars.json").unlink()
    calls = installed.run("install.sh", "--plan-only").calls
    (installed.work / "delete.json").unlink(missing_ok=True)
    calls += installed.run("cleanup.sh", "--yes", "--delete-models").calls
    (installed.work / "delete.json").write_text('{"Objects": [{"Key": "a", "VersionId": "1"}]}')
    plain = [
        call.argv
        for call in calls
        if call.tool == "aws" and call.argv[0] != "configure" and not {"wait", "update-kubeconfig"} & set(call.argv)
    ]
    seen = {tuple(argv[:2]): argv for argv in plain}
    assert len(seen) >= 20
    for argv in seen.values():
        done = subprocess.run(
            [aws, *argv, "--endpoint-url", "http://127.0.0.1:9", "--cli-connect-timeout", "2"],
            env={
                **{key: os.environ[key] for key in ("PATH", "HOME")},
                "AWS_DEFAULT_REGION": "us-west-2",
                "AWS_ACCESS_KEY_ID": "nobody",
                "AWS_SECRET_ACCESS_KEY": "nobody",
                "AWS_MAX_ATTEMPTS": "1",
            },
            cwd=installed.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        # A wrong option or parameter is refused before the CLI tries to connect.
        assert "Could not connect to the endpoint" in done.stderr, f"{' '.join(argv)}: {done.stderr}"
