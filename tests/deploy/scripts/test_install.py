"""install.sh: what it checks, in which order it works, what it says when something fails, and that it goes on."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from .conftest import ACCOUNT, ADDON_VERSIONS, HERE, Bench, addon_listing, keep, recorded

# Each run starts some hundred small processes.
pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]


def test_order(bench: Bench) -> None:
    """Checks, price, infrastructure, cluster, CRDs, platform, fleet, front, prompts."""
    done = bench.run("install.sh", "--yes")
    assert done.code == 0, done.err
    assert done.terraform("init") == ["infrastructure", "platform", "fleet"]
    assert done.terraform("apply") == ["infrastructure", "platform", "fleet"]
    order = [
        done.first("aws sts get-caller-identity"),
        done.first("tritonfleet deploy render"),
        done.first("aws service-quotas"),
        done.first("aws pricing"),
        done.first("infrastructure.tfplan"),
        done.first("aws eks update-kubeconfig"),
        done.first("kubectl get --raw /readyz"),
        done.first("kubectl apply --server-side", "gateway-api/releases/download/v1.6.1"),
        done.first("platform.tfplan"),
        done.first("fleet.tfplan"),
        done.first("kubectl", "condition=Programmed"),
        done.first("kubectl", "exec -i"),
    ]
    assert order == sorted(order)


def test_says_where_it_is(bench: Bench) -> None:
    """Nine numbered steps, then the commands of the guide."""
    done = bench.run("install.sh", "--yes")
    for number in range(1, 10):
        assert f"[{number}/9]" in done.out
    assert "serves at http://internal-fleet.elb.us-west-2.amazonaws.com" in done.out
    assert "cleanup.sh --name tritonfleet" in done.out


def test_price_comes_before_the_question(bench: Bench) -> None:
    """The price is AWS's own: 1 EKS + 2 nodes + NAT + NLB + 12 endpoints + 2 GPU nodes."""
    done = bench.run("install.sh", "--plan-only")
    least = 0.10 + 2 * 0.192 + 0.045 + 0.0225 + 12 * 0.01 + 2 * 0.9776
    assert f"An hour costs {least:.2f} USD to start" in done.out
    assert not done.lines("terraform apply")


def test_price_that_is_not_known(bench: Bench) -> None:
    """A refused Pricing API is no reason to stop: the line says that its price is not known."""
    bench.when("aws", "pricing get-products", code=254, stderr="AccessDeniedException")
    done = bench.run("install.sh", "--yes")
    assert done.code == 0
    assert "price not known" in done.out
    assert "plus 7 line(s) without a price" in done.out


def test_plan_only_changes_nothing(bench: Bench) -> None:
    """--plan-only reads, prices and plans."""
    done = bench.run("install.sh", "--plan-only")
    assert done.code == 0, done.err
    assert done.terraform("plan") == ["infrastructure"]
    assert not done.lines("terraform apply")
    assert not [call for call in done.calls if call.tool in ("kubectl", "helm") and call.argv[0] != "version"]
    assert "Nothing was changed." in done.out


def test_no_terminal_no_yes(bench: Bench) -> None:
    """Without --yes and without a terminal nothing is created."""
    done = bench.run("install.sh")
    assert done.code == 1
    assert "Add --yes" in done.err
    assert not done.lines("terraform apply")


@pytest.mark.parametrize(("answer", "applies"), [("n", False), ("", False), ("y", True)])
def test_question(bench: Bench, answer: str, applies: bool) -> None:
    """On a terminal the person is asked, and only yes goes on."""
    bench.run("install.sh", "--plan-only")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        ["/bin/bash", str(bench.deploy / "install.sh")],
        cwd=bench.folder,
        env={
            "PATH": str(bench.folder / "bin"),
            "HOME": str(bench.folder),
            "STAND_IN": str(bench.folder),
            "TRITONFLEET_RETRY_SECONDS": "0",
        },
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    os.close(child)
    os.write(parent, f"{answer}\n".encode())
    out = process.communicate(timeout=100)[0].decode()
    os.close(parent)
    assert process.returncode == 0, out
    calls = (bench.folder / "calls.jsonl").read_text()
    assert ('"apply", "-input=false"' in calls) is applies
    assert ("Nothing was changed." in out) is not applies


# ---- images


def test_registry_reaches_the_renderer(bench: Bench) -> None:
    """--registry is where the images are."""
    done = bench.run("install.sh", "--plan-only", "--registry", "registry.example.com/llm")
    assert done.code == 0, done.err
    (call,) = done.lines("tritonfleet deploy render")
    assert call.endswith("--registry registry.example.com/llm")


def test_images_without_a_registry(bench: Bench) -> None:
    """A fleet rendered without a registry is refused before anything is created."""
    rendered = keep(bench.folder)
    (rendered / "values.yaml").write_text("pools: {}\n")
    done = bench.run("install.sh", "--yes", "--rendered", "rendered")
    assert done.code == 1
    assert "the images have no registry" in done.err
    assert not done.lines("terraform apply")


# ---- preflight


@pytest.mark.parametrize("tool", ["terraform", "aws", "kubectl", "helm", "curl", "tritonfleet"])
def test_missing_tool(bench: Bench, tool: str) -> None:
    """A tool that is not there is named, with where to get it."""
    bench.remove(tool)
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert f"{tool} is not on the PATH" in done.err
    assert not done.lines("aws sts")


def test_all_missing_tools_at_once(bench: Bench) -> None:
    """One run tells of every missing tool."""
    bench.remove("helm")
    bench.remove("tritonfleet")
    done = bench.run("install.sh", "--yes")
    assert "helm is not on the PATH" in done.err
    assert "tritonfleet is not on the PATH" in done.err


def test_old_terraform(bench: Bench) -> None:
    """Terraform before 1.11 would keep secrets in the state."""
    bench.when("terraform", "^version", stdout='{"terraform_version": "1.9.8"}')
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "terraform 1.9.8 is too old" in done.err


def test_expired_credentials(bench: Bench) -> None:
    """AWS's own words, and what to do."""
    bench.when("aws", "^sts", code=254, stderr="An error occurred (ExpiredToken): the security token is expired\n")
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "ExpiredToken" in done.err
    assert "aws sso login" in done.err
    assert not done.lines("terraform init")


def test_root_credentials(bench: Bench) -> None:
    """The root user cannot be an access entry."""
    bench.when("aws", "^sts", stdout=json.dumps({"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}))
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "root credentials" in done.err


def test_no_region(bench: Bench) -> None:
    """No region anywhere."""
    bench.when("aws", "^configure get region", code=1)
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "no AWS region: give --region" in done.err


def test_disabled_region(bench: Bench) -> None:
    """A region that the account has not enabled."""
    bench.when("aws", "describe-availability-zones", code=254, stderr="AuthFailure: AWS was not able to validate\n")
    done = bench.run("install.sh", "--yes", "--region", "ap-east-1")
    assert done.code == 1
    assert "region ap-east-1 does not answer" in done.err


def test_small_quota(bench: Bench) -> None:
    """A quota that is too small is named with the command that asks for more."""
    quotas = json.loads(recorded("quotas"))
    quotas["Quotas"][0]["Value"] = 8
    bench.when("aws", "list-service-quotas", stdout=json.dumps(quotas))
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "'Running On-Demand G and VT instances' is 8 vCPUs; the fleet needs 16 to start and 64 to scale" in done.err
    assert "--quota-code L-DB2E81BA --desired-value 64" in done.err
    assert not done.lines("terraform apply")


def test_unreadable_quotas_are_a_warning(bench: Bench) -> None:
    """Not everyone may read quotas; the deployment can still work."""
    bench.when("aws", "list-service-quotas", code=254, stderr="AccessDenied")
    done = bench.run("install.sh", "--yes")
    assert done.code == 0
    assert "quotas cannot be read" in done.err


def test_type_not_offered(bench: Bench) -> None:
    """No zone offers the GPU: said before anything is paid for."""
    offers = json.loads(recorded("offerings"))
    offers["InstanceTypeOfferings"] = [
        item for item in offers["InstanceTypeOfferings"] if item["InstanceType"] == "m6i.xlarge"
    ]
    bench.when("aws", "describe-instance-type-offerings", stdout=json.dumps(offers))
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "pool llama2: no zone of this region offers g6.2xlarge or g5.2xlarge" in done.err


@pytest.fixture
def gated(bench: Bench) -> Bench:
    """A fleet that loads gated models."""
    rendered = keep(bench.folder)
    path = rendered / "terraform.tfvars.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hugging_face_token_required": True}))
    return bench


def test_missing_token(gated: Bench) -> None:
    """A gated fleet wants a token."""
    done = gated.run("install.sh", "--yes", "--rendered", "rendered")
    assert done.code == 1
    assert "HF_TOKEN is not set" in done.err
    assert not done.lines("terraform apply")


def test_refused_token(gated: Bench) -> None:
    """Hugging Face is asked, and its no is final."""
    gated.environment["HF_TOKEN"] = "hf_old"
    gated.when("curl", "whoami", stdout="401")
    done = gated.run("install.sh", "--yes", "--rendered", "rendered")
    assert done.code == 1
    assert "Hugging Face refuses HF_TOKEN (401)" in done.err


def test_token_stays_hidden(gated: Bench) -> None:
    """The token is in no argument, no file and no output; Terraform gets it by its environment, for one stack."""
    secret = "hf_very_secret"
    gated.environment["HF_TOKEN"] = secret
    gated.when("curl", "whoami", stdout="200")
    done = gated.run("install.sh", "--yes", "--rendered", "rendered")
    assert done.code == 0, done.err
    assert not any(secret in call.line for call in done.calls)
    assert secret not in done.out + done.err
    for path in gated.work.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    holders = {(call.tool, call.stack) for call in done.calls if secret in call.env.get("TF_VAR_secret_values", "")}
    assert holders == {("terraform", "infrastructure")}
    written = json.loads((gated.work / "infrastructure.tfvars.json").read_text())
    assert set(written["secret_versions"]) == {"grafana-admin", "hugging-face-token"}


def test_token_of_an_earlier_run_is_enough(gated: Bench) -> None:
    """A second run need not give the token again, and does not overwrite it."""
    gated.when("terraform", "^output -json secret_versions$", stdout='{"grafana-admin": 1, "hugging-face-token": 42}')
    done = gated.run("install.sh", "--yes", "--rendered", "rendered")
    assert done.code == 0, done.err
    written = json.loads((gated.work / "infrastructure.tfvars.json").read_text())
    assert written["secret_versions"] == {"grafana-admin": 1, "hugging-face-token": 42}
    values = next(
        call.env["TF_VAR_secret_values"]
        for call in done.calls
        if call.stack == "infrastructure" and call.argv[0] == "plan"
    )
    assert values == "{}"


def test_grafana_password_is_made_once(bench: Bench) -> None:
    """The first run writes a random password; it is in no file."""
    done = bench.run("install.sh", "--yes")
    values = [
        call.env.get("TF_VAR_secret_values", "{}")
        for call in done.calls
        if call.tool == "terraform" and call.argv[0] == "apply"
    ]
    password = json.loads(json.loads(values[0])["grafana-admin"])["admin-password"]
    assert len(password) >= 24
    assert values[1:] == ["{}", "{}"]
    for path in bench.work.rglob("*"):
        assert not path.is_file() or password.encode() not in path.read_bytes(), path


# ---- settings


def test_pins_are_asked_once(bench: Bench) -> None:
    """Versions that AWS alone knows are kept; the next run asks no more and changes nothing by itself."""
    first = bench.run("install.sh", "--yes")
    assert len(first.lines("describe-addon-versions")) == 1
    pins = json.loads((bench.work / "pins.tfvars.json").read_text())
    assert pins["addon_versions"] == ADDON_VERSIONS
    assert pins["admin_principal_arns"] == [f"arn:aws:iam::{ACCOUNT}:role/team/admin"]
    assert pins["zones"] == ["us-west-2a", "us-west-2b", "us-west-2c"]
    second = bench.run("install.sh", "--yes")
    assert second.code == 0
    assert not second.lines("describe-addon-versions")
    assert json.loads((bench.work / "pins.tfvars.json").read_text()) == pins


def test_addon_without_default(bench: Bench) -> None:
    """An add-on that EKS does not know for this version is no empty pin."""
    without = {name: version for name, version in ADDON_VERSIONS.items() if name != "coredns"}
    bench.when("aws", "describe-addon-versions", stdout=addon_listing(without))
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "no default version of the add-on coredns" in done.err
    assert not (bench.work / "pins.tfvars.json").exists()


def test_misspelt_setting(bench: Bench) -> None:
    """A setting that no stack takes is refused with the near one."""
    (bench.folder / "my.json").write_text('{"accelerator_famillies": ["g6e"]}')
    done = bench.run("install.sh", "--yes", "--settings", "my.json")
    assert done.code == 1
    assert "'accelerator_famillies'" in done.err
    assert "did you mean accelerator_families?" in done.err


def test_settings_win_over_the_fleet(bench: Bench) -> None:
    """What the person sets is laid over what the fleet needs; each stack gets its own variables alone."""
    (bench.folder / "my.json").write_text(
        '{"accelerator_families": ["g6e"], "monthly_budget_usd": 900, "budget_emails": ["a@b.co"]}'
    )
    done = bench.run(
        "install.sh",
        "--yes",
        "--settings",
        "my.json",
        "--public-cidr",
        "203.0.113.7/32",
        "--public-cidr",
        "198.51.100.0/24",
    )
    assert done.code == 0, done.err
    infrastructure = json.loads((bench.work / "infrastructure.tfvars.json").read_text())
    platform = json.loads((bench.work / "platform.tfvars.json").read_text())
    assert platform["accelerator_families"] == ["g6e"]
    assert "accelerator_families" not in infrastructure
    assert infrastructure["monthly_budget_usd"] == 900
    assert infrastructure["endpoint_public_access_cidrs"] == ["203.0.113.7/32", "198.51.100.0/24"]
    assert platform["infrastructure"]["vpc_id"] == "vpc-0123456789abcdef0"
    assert "monthly_budget_usd" not in platform


@pytest.mark.parametrize(
    ("options", "kind", "holds"),
    [((), "local", "infrastructure.tfstate"), (("--state-bucket", "team-state"), "s3", 'bucket       = "team-state"')],
)
def test_state(bench: Bench, options: tuple[str, ...], kind: str, holds: str) -> None:
    """State lies beside the deployment, or locked in the team's bucket."""
    done = bench.run("install.sh", "--yes", *options)
    assert done.code == 0, done.err
    text = (bench.work / "terraform" / "stacks" / "infrastructure" / "backend.tf").read_text()
    assert f'backend "{kind}"' in text
    assert holds in text


def test_other_account(bench: Bench) -> None:
    """The credentials of another account do not touch this deployment."""
    assert bench.run("install.sh", "--yes").code == 0
    other = {"Account": "999988887777", "Arn": "arn:aws:iam::999988887777:user/me"}
    bench.when("aws", "^sts", stdout=json.dumps(other))
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert f"belongs to account {ACCOUNT}, the credentials are of 999988887777" in done.err
    assert not done.lines("terraform apply")


def test_other_region(bench: Bench) -> None:
    """The same for another region."""
    assert bench.run("install.sh", "--yes").code == 0
    done = bench.run("install.sh", "--yes", "--region", "eu-west-1")
    assert done.code == 1
    assert "lies in us-west-2, not in eu-west-1" in done.err


@pytest.mark.parametrize("arguments", [("--fleet",), ("--nam", "x"), ("extra",)])
def test_wrong_usage(bench: Bench, arguments: tuple[str, ...]) -> None:
    """A mistyped option stops at once."""
    done = bench.run("install.sh", *arguments)
    assert done.code in (1, 2)
    assert arguments[0] in done.err
    assert not done.calls


def test_missing_fleet(bench: Bench) -> None:
    """The fleet file is looked for before anything else is done with it."""
    done = bench.run("install.sh", "--yes", "--fleet", "other.yaml")
    assert done.code == 1
    assert "other.yaml does not exist" in done.err


# ---- failures on the way


@pytest.mark.parametrize("stack", ["infrastructure", "platform", "fleet"])
def test_a_stack_fails(bench: Bench, stack: str) -> None:
    """A lasting error stops at its stack, once, says where the log is, and the next run goes on."""
    bench.when("terraform", f"^apply .*{stack}.tfplan", code=1, stderr="Error: creating thing: AccessDenied\n", times=1)
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert f"the {stack} stack could not be applied (exit 1)" in done.err
    assert f"{stack}-apply-1.log" in done.err
    assert done.terraform("apply")[-1] == stack
    assert done.terraform("apply").count(stack) == 1
    bench.rules.pop(0)
    again = bench.run("install.sh", "--yes")
    assert again.code == 0, again.err


def test_a_passing_error_is_tried_again(bench: Bench) -> None:
    """Throttling is met with a new plan and a new apply."""
    bench.when(
        "terraform", "^apply .*infrastructure.tfplan", code=1, stderr="Error: Throttling: Rate exceeded\n", times=2
    )
    done = bench.run("install.sh", "--yes")
    assert done.code == 0, done.err
    assert done.terraform("apply") == ["infrastructure"] * 3 + ["platform", "fleet"]
    assert done.terraform("plan").count("infrastructure") == 3


def test_a_passing_error_that_does_not_pass(bench: Bench) -> None:
    """Three tries, then an end."""
    bench.when("terraform", "^apply .*infrastructure.tfplan", code=1, stderr="Error: Throttling: Rate exceeded\n")
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert done.terraform("apply") == ["infrastructure"] * 3


def test_plan_fails(bench: Bench) -> None:
    """A plan that fails is never applied."""
    bench.when("terraform", "^plan .*platform.tfplan", code=1, stderr="Error: Invalid value for variable\n")
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "Invalid value for variable" in done.out + done.err
    assert "platform" not in done.terraform("apply")


def test_up_to_date(bench: Bench) -> None:
    """A stack without changes is not applied again."""
    bench.when("terraform", "^plan .*-detailed-exitcode", code=0, stdout="No changes.\n")
    done = bench.run("install.sh", "--yes")
    assert done.code == 0, done.err
    assert done.terraform("apply") == []
    assert "The infrastructure stack is up to date." in done.out


def test_registry_out_of_reach(bench: Bench) -> None:
    """terraform init is tried three times before the network is blamed."""
    bench.when("terraform", "^init", code=1, stderr="Error: could not query provider registry\n")
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert done.terraform("init") == ["infrastructure"] * 3
    assert "could not query provider registry" in done.err
    assert "check the network" in done.err


def test_private_cluster_from_outside(bench: Bench) -> None:
    """The private endpoint is explained, with the two ways in."""
    bench.when("kubectl", "readyz", code=1, stderr="dial tcp 10.1.3.4:443: i/o timeout\n")
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert len(done.lines("kubectl get --raw /readyz")) == 5
    assert "It is private" in done.err
    assert "--public-cidr" in done.err
    assert "platform" not in done.terraform("apply")


def test_half_done_releases_are_mended(bench: Bench) -> None:
    """A killed first install is removed, a killed upgrade rolled back, before Helm is asked again."""
    pending = [
        {"name": "keda", "namespace": "keda", "revision": "1", "status": "pending-install"},
        {"name": "tritonfleet", "namespace": "tritonfleet", "revision": "4", "status": "pending-upgrade"},
    ]
    bench.when("helm", "^list", stdout=json.dumps(pending))
    done = bench.run("install.sh", "--yes")
    assert done.code == 0, done.err
    assert done.lines("helm uninstall keda --namespace keda")
    assert done.lines("helm rollback tritonfleet --namespace tritonfleet")
    assert done.first("helm rollback") < done.first("platform.tfplan")


def test_no_load_balancer(bench: Bench) -> None:
    """A front without an address ends with where to look."""
    bench.when("kubectl", "get gateways.*jsonpath", stdout="")
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "the front has no address" in done.err
    assert "aws-load-balancer-controller" in done.err


def test_every_model_is_asked(bench: Bench) -> None:
    """A prompt for each model goes through the load balancer; the API key is in no argument."""
    bench.environment["TRITONFLEET_API_KEY"] = "key-123"
    done = bench.run("install.sh", "--yes")
    prompts = [call for call in done.calls if "exec" in call.argv]
    assert len(prompts) == 2
    for call, model in zip(prompts, ("llama2", "mistral7b"), strict=True):
        assert 'url = "http://internal-fleet.elb.us-west-2.amazonaws.com/v1/completions"' in call.stdin
        assert f'\\"model\\": \\"{model}\\"' in call.stdin
        assert "Bearer key-123" in call.stdin
        assert "key-123" not in call.line
    assert "llama2: an inference server" in done.out


def test_a_model_that_warms_up(bench: Bench) -> None:
    """The first answers may be errors: the balancer's name and its targets take a while."""
    bench.when("kubectl", "exec -i tritonfleet-verify", code=6, stderr="curl: (6) Could not resolve host\n", times=3)
    done = bench.run("install.sh", "--yes")
    assert done.code == 0, done.err


def test_a_model_that_stays_silent(bench: Bench) -> None:
    """It is named; the other one was asked too; the pod that asked is gone; the next step is told."""
    bench.when("kubectl", "exec -i tritonfleet-verify", stdout='{"choices": [{"text": ""}]}', times=8)
    done = bench.run("install.sh", "--yes")
    assert done.code == 1
    assert "no answer through the load balancer from: llama2" in done.err
    assert "mistral7b: an inference server" in done.out
    assert "delete pod tritonfleet-verify" in done.calls[-1].line
    assert "kubectl -n tritonfleet get pods" in done.err


def test_skip_verify(bench: Bench) -> None:
    """--skip-verify starts no pod."""
    done = bench.run("install.sh", "--yes", "--skip-verify")
    assert done.code == 0
    assert not done.lines("kubectl", "exec")


def test_ingress_front(bench: Bench) -> None:
    """With ingress-nginx there are no Gateway API resources, and the address is the Ingress's."""
    (bench.folder / "my.json").write_text('{"front": "ingress-nginx"}')
    bench.when("kubectl", "get ingress", stdout="internal-nginx.elb.us-west-2.amazonaws.com")
    done = bench.run("install.sh", "--yes", "--settings", "my.json")
    assert done.code == 0, done.err
    assert not done.lines("gateway-api")
    assert "serves at http://internal-nginx.elb.us-west-2.amazonaws.com" in done.out


@pytest.mark.parametrize(
    ("tool", "match"),
    [
        ("aws", "describe-instance-type-offerings"),
        ("aws", "ssm get-parameter"),
        ("aws", "update-kubeconfig"),
        ("helm", "^list"),
        ("kubectl", "apply --server-side"),
        ("kubectl", "condition=Programmed"),
        ("kubectl", "run tritonfleet-verify"),
        ("tritonfleet", "deploy render"),
    ],
)
def test_any_step_may_fail(bench: Bench, tool: str, match: str) -> None:
    """Whatever fails, the script fails, says so, and a second run succeeds."""
    bench.when(tool, match, code=7, stderr="boom\n")
    done = bench.run("install.sh", "--yes")
    assert done.code != 0
    assert "error:" in done.err
    assert "serves at" not in done.out
    bench.rules.pop(0)
    assert bench.run("install.sh", "--yes").code == 0


def test_one_run_at_a_time(bench: Bench) -> None:
    """Two runs on one state would break it."""
    assert bench.run("install.sh", "--plan-only").code == 0
    with (bench.work / "lock").open() as lock:
        holder = subprocess.Popen(
            ["flock", str(bench.work / "lock"), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdin
        assert holder.stdout
        holder.stdin.write(b"locked\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"locked\n"
        done = bench.run("install.sh", "--yes")
        holder.stdin.close()
        holder.wait(timeout=10)
        holder.stdout.close()
    assert lock.closed
    assert done.code == 1
    assert "another run works on" in done.err


def test_cleanup_gets_the_code_that_built(bench: Bench) -> None:
    """The deployment keeps its own copy of the Terraform code and of the rendered fleet."""
    assert bench.run("install.sh", "--yes").code == 0
    assert (bench.work / "terraform" / "modules" / "network" / "main.tf").exists()
    assert (bench.work / "rendered" / "values.yaml").read_text() == (HERE / "rendered" / "values.yaml").read_text()
    fleet = json.loads((bench.work / "fleet.tfvars.json").read_text())
    assert Path(fleet["values_file"]).is_relative_to(bench.work)
    assert Path(fleet["chart"]).is_relative_to(bench.work)


def test_the_kept_fleet_can_be_given_again(bench: Bench) -> None:
    """The folder that install.sh keeps, given by --rendered, is used and not deleted."""
    assert bench.run("install.sh", "--yes").code == 0
    kept = bench.work / "rendered"
    before = {path.name for path in kept.iterdir()}
    done = bench.run("install.sh", "--yes", "--rendered", str(kept))
    assert done.code == 0, done.err
    assert {path.name for path in kept.iterdir()} == before
