"""install.sh and cleanup.sh, run for real between stand-ins that record every call."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
TOOLS = ("aws", "terraform", "kubectl", "helm", "curl", "tritonfleet")
# All that the scripts need of the system; nothing else is on their PATH.
SYSTEM = [
    "bash",
    "cat",
    "chmod",
    "cp",
    "dirname",
    "flock",
    "grep",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "sleep",
    "sort",
    "tail",
    "tee",
    "tr",
]
ACCOUNT = "111122223333"

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One recorded call of a stand-in."""

    tool: str
    argv: list[str]
    cwd: str
    stdin: str
    env: dict[str, str]

    @property
    def line(self) -> str:
        return " ".join([self.tool, *self.argv])

    @property
    def stack(self) -> str:
        """The Terraform stack that the call worked in."""
        return Path(self.cwd).name


@dataclass
class Run:
    """How a script ended."""

    code: int
    out: str
    err: str
    calls: list[Call]

    def lines(self, *parts: str) -> list[str]:
        """Recorded calls that hold every part, in order."""
        return [call.line for call in self.calls if all(part in call.line for part in parts)]

    def first(self, *parts: str) -> int:
        """Position of the first call that holds every part."""
        return next(index for index, call in enumerate(self.calls) if all(part in call.line for part in parts))

    def terraform(self, verb: str) -> list[str]:
        """Stacks in the order in which a Terraform command ran in them."""
        return [call.stack for call in self.calls if call.tool == "terraform" and call.argv[0] == verb]


@dataclass
class Bench:
    """A folder to work in, stand-ins first on the PATH, and the rules that they answer by."""

    folder: Path
    rules: list[Json] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    bash: str = "/bin/bash"

    def __post_init__(self) -> None:
        self.deploy.mkdir(parents=True)
        tools = self.folder / "bin"
        tools.mkdir(parents=True)
        for tool in TOOLS:
            path = tools / tool
            path.write_text(f"#!{sys.executable} -ISE\n" + (HERE / "stand_in.py").read_text())
            path.chmod(0o755)
        (tools / "python3").symlink_to(sys.executable)
        for name in SYSTEM:
            (tools / name).symlink_to(shutil.which(name) or f"/missing/{name}")
        for part in ("install.sh", "cleanup.sh", "lib", "terraform"):
            copy = shutil.copytree if (DEPLOY / part).is_dir() else shutil.copy2
            copy(DEPLOY / part, self.deploy / part)
        chart = self.deploy / "helm" / "tritonfleet"
        chart.mkdir(parents=True)
        (chart / "Chart.yaml").write_text("name: tritonfleet\n")

    def when(self, tool: str, match: str, **answer: Any) -> None:
        """Answer calls of *tool* that match; rules given later come first."""
        self.rules.insert(0, {"tool": tool, "match": match, **answer})

    def remove(self, tool: str) -> None:
        """Take a tool away."""
        (self.folder / "bin" / tool).unlink()

    def run(self, script: str, *arguments: str, stdin: str | None = None) -> Run:
        """Run a script of deploy/ to its end."""
        calls = self.folder / "calls.jsonl"
        calls.unlink(missing_ok=True)
        for counter in self.folder.glob("rule-*"):
            counter.unlink()
        (self.folder / "rules.json").write_text(json.dumps(self.rules))
        environment = {
            "PATH": str(self.folder / "bin"),
            "HOME": str(self.folder),
            "STAND_IN": str(self.folder),
            "TRITONFLEET_RETRY_SECONDS": "0",
            "LC_ALL": "C.UTF-8",
            **self.environment,
        }
        done = subprocess.run(
            [self.bash, str(self.deploy / script), *arguments],
            cwd=self.folder,
            env=environment,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        text = calls.read_text() if calls.exists() else ""
        recorded = [Call(**json.loads(line)) for line in text.splitlines()]
        return Run(done.returncode, done.stdout, done.stderr, recorded)

    @property
    def deploy(self) -> Path:
        """A copy of deploy/, complete with a chart."""
        return self.folder / "checkout" / "deploy"

    @property
    def work(self) -> Path:
        return self.folder / ".tritonfleet" / "deploy" / "tritonfleet"


PLATFORM_OUTPUT = {
    "cluster_name": "tritonfleet",
    "cluster_endpoint": "https://mock.eks.amazonaws.com",
    "cluster_certificate_authority": "bW9jaw==",
    "cluster_security_group_id": "sg-0123456789abcdef0",
    "vpc_id": "vpc-0123456789abcdef0",
    "private_subnet_ids": ["subnet-0a", "subnet-0b"],
    "node_instance_profile": "tritonfleet-karpenter-node",
    "interruption_queue": "tritonfleet-interruptions",
    "secret_names": {"grafana-admin": "tritonfleet/grafana-admin"},
}
FLEET_OUTPUT = {"cluster_name": "tritonfleet", "model_bucket": "tritonfleet-models"}
ADDON_VERSIONS = {
    "vpc-cni": "v1.20.4-eksbuild.2",
    "kube-proxy": "v1.36.0-eksbuild.2",
    "coredns": "v1.13.1-eksbuild.1",
    "eks-pod-identity-agent": "v1.3.9-eksbuild.3",
    "aws-ebs-csi-driver": "v1.50.1-eksbuild.1",
    "metrics-server": "v0.8.0-eksbuild.2",
}


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.json").read_text()


def addon_listing(defaults: dict[str, str]) -> str:
    """DescribeAddonVersions: two versions of each add-on, the second its default."""

    def version(name: str, default: bool) -> Json:
        return {"addonVersion": name, "compatibilities": [{"clusterVersion": "1.36", "defaultVersion": default}]}

    addons = [
        {"addonName": name, "addonVersions": [version("v99.0.0-eksbuild.1", False), version(default, True)]}
        for name, default in defaults.items()
    ]
    return json.dumps({"addons": addons})


def healthy_account(bench: Bench) -> None:
    """What a well-prepared machine and account answer."""
    bench.when("terraform", "^version", stdout='{"terraform_version": "1.11.4"}')
    bench.when("kubectl", "^version", stdout='{"clientVersion": {"gitVersion": "v1.36.1"}}')
    identity = {"UserId": "AROA:me", "Account": ACCOUNT, "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/admin/me"}
    bench.when("aws", "^sts get-caller-identity", stdout=json.dumps(identity))
    bench.when("aws", "^iam get-role", stdout=f"arn:aws:iam::{ACCOUNT}:role/team/admin\n")
    bench.when("aws", "^configure get region", stdout="us-west-2\n")
    bench.when("aws", "describe-availability-zones", stdout=recorded("zones"))
    bench.when("aws", "describe-instance-type-offerings", stdout=recorded("offerings"))
    bench.when("aws", "describe-instance-types ", stdout=recorded("types"))
    bench.when("aws", "list-service-quotas", stdout=recorded("quotas"))
    bench.when("aws", "pricing get-products", stdout=recorded("prices"))
    bench.when("aws", "ssm get-parameter", stdout="1.36.2-20260714\n")
    bench.when("aws", "eks describe-addon-versions", stdout=addon_listing(ADDON_VERSIONS))
    bench.when("tritonfleet", "deploy render", copy=str(HERE / "rendered"))


def healthy_cluster(bench: Bench) -> None:
    """What Terraform and the cluster answer when all goes well."""
    bench.when(
        "terraform", "^plan .*-detailed-exitcode", code=2, stdout="Plan: 94 to add, 0 to change, 0 to destroy.\n"
    )
    outputs = {
        "-json platform": PLATFORM_OUTPUT,
        "-json secret_versions": {"grafana-admin": 1},
        "-json model_bucket": "tritonfleet-models",
    }
    for name, value in outputs.items():
        bench.when("terraform", f"^output {name}$", stdout=json.dumps(value))
    bench.when("terraform", "^output -json fleet$", stdout=json.dumps(FLEET_OUTPUT))
    bench.when("terraform", "^output -raw", stdout="command of the stack")
    bench.when("helm", "^list", stdout="[]")
    bench.when("kubectl", "get gateways.*jsonpath", stdout="internal-fleet.elb.us-west-2.amazonaws.com")
    answer = {"choices": [{"text": " an inference server", "index": 0}], "usage": {"completion_tokens": 4}}
    bench.when("kubectl", "exec -i tritonfleet-verify", stdout=json.dumps(answer))


def healthy(folder: Path) -> Bench:
    bench = Bench(folder)
    (folder / "fleet.yaml").write_text("models: {}\n")
    healthy_account(bench)
    healthy_cluster(bench)
    # The first run finds no state: nothing was written before.
    bench.when("terraform", "^output -json secret_versions$", code=1, stderr="No outputs found", times=1)
    return bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A machine and an account where everything works."""
    return healthy(tmp_path)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a successful install.sh leaves in its folder."""
    bench = healthy(tmp_path_factory.mktemp("installation"))
    done = bench.run("install.sh", "--yes")
    assert done.code == 0, done.err
    return bench.work


@pytest.fixture
def installed(bench: Bench, installation: Path) -> Bench:
    """A machine after a successful install.sh, with what cleanup.sh then meets."""
    shutil.copytree(installation, bench.work)
    state = [
        "module.model_bucket.aws_s3_bucket.this",
        "module.model_bucket.aws_kms_key.this",
        "module.network.aws_vpc.this",
    ]
    bench.when("terraform", "^state list", stdout="\n".join(state) + "\n")
    bench.when("kubectl", "get services", stdout='{"items": []}')
    bench.when("aws", "resourcegroupstaggingapi", stdout='{"ResourceTagMappingList": []}')
    bench.when("aws", "logs describe-log-groups", stdout="[]")
    return bench


def keep(folder: Path) -> Path:
    """A copy of the rendered fleet that a test may change."""
    target = folder / "rendered"
    shutil.copytree(HERE / "rendered", target)
    return target
