"""cleanup.sh: the order that leaves nothing behind, what it keeps, and what it says is still there."""

from __future__ import annotations

import json

import pytest

from .conftest import ACCOUNT, Bench

# Each run starts some hundred small processes.
pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]

ARN = f"arn:aws:elasticloadbalancing:us-west-2:{ACCOUNT}"
BALANCER = f"{ARN}:loadbalancer/net/k8s-fleet/0123456789abcdef"
TARGETS = f"{ARN}:targetgroup/k8s-fleet/0123456789abcdef"


def tagged(*arns: str) -> str:
    return json.dumps({"ResourceTagMappingList": [{"ResourceARN": arn, "Tags": []} for arn in arns]})


def test_order(installed: Bench) -> None:
    """Scalers, Gateways and Services; fleet; nodes; platform; volumes; load balancers; infrastructure; report."""
    services = {
        "items": [
            {"metadata": {"namespace": "web", "name": "door"}, "spec": {"type": "LoadBalancer"}},
            {"metadata": {"namespace": "web", "name": "inner"}, "spec": {"type": "ClusterIP"}},
        ]
    }
    installed.when("kubectl", "get services", stdout=json.dumps(services))
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 0, done.err
    assert done.terraform("destroy") == ["fleet", "platform", "infrastructure"]
    destroys = [
        index for index, call in enumerate(done.calls) if call.tool == "terraform" and call.argv[0] == "destroy"
    ]
    order = [
        done.first("aws eks describe-cluster"),
        done.first("kubectl delete scaledobjects"),
        done.first("kubectl delete gateways"),
        done.first("kubectl delete ingresses"),
        done.first("kubectl --namespace web delete service door"),
        destroys[0],
        done.first("kubectl delete nodepools"),
        done.first("kubectl delete nodeclaims"),
        done.first("aws ec2 describe-instances"),
        destroys[1],
        done.first("kubectl delete persistentvolumeclaims"),
        done.first("kubectl wait --for=delete persistentvolumes"),
        done.first("resourcegroupstaggingapi", "elasticloadbalancing:loadbalancer"),
        done.first("aws eks update-cluster-config", "--no-deletion-protection"),
        destroys[2],
        done.first("aws ec2 describe-volumes"),
        done.first("aws logs describe-log-groups"),
    ]
    assert order == sorted(order)
    assert not done.lines("delete service inner")
    assert "Nothing is left of tritonfleet in us-west-2." in done.out


def test_models_are_kept_unless_told(installed: Bench) -> None:
    """The bucket and its key leave Terraform's state before the destroy, and nothing in them is deleted."""
    done = installed.run("cleanup.sh", "--yes")
    kept = done.first("terraform state rm module.model_bucket.aws_s3_bucket.this module.model_bucket.aws_kms_key.this")
    assert "module.network" not in done.calls[kept].line
    assert kept < [index for index, call in enumerate(done.calls) if call.argv[:1] == ["destroy"]][-1]
    assert not done.lines("s3api")
    assert "the bucket tritonfleet-models and its key stay" in done.out


def test_models_are_deleted_when_told(installed: Bench) -> None:
    """Every version and delete marker goes, a page at a time, before the bucket."""
    page = {
        "Versions": [{"Key": "models/a", "VersionId": "1"}],
        "DeleteMarkers": [{"Key": "models/a", "VersionId": "2"}],
    }
    installed.when("aws", "list-object-versions", stdout="{}")
    installed.when("aws", "list-object-versions", stdout=json.dumps(page), times=2)
    done = installed.run("cleanup.sh", "--yes", "--delete-models")
    assert done.code == 0, done.err
    assert len(done.lines("aws s3api list-object-versions")) == 3
    assert len(done.lines("aws s3api delete-objects")) == 2
    assert not done.lines("terraform state rm")


def test_leftovers_of_the_controllers(installed: Bench) -> None:
    """A balancer whose controller died is deleted, waited for, then its target groups, groups, nodes, volumes."""
    installed.when("aws", "get-resources .*elasticloadbalancing:loadbalancer ", stdout=tagged(BALANCER))
    installed.when("aws", "get-resources .*elasticloadbalancing:targetgroup ", stdout=tagged(TARGETS))
    installed.when("aws", "describe-instances", stdout="i-01\ti-02\n")
    installed.when("aws", "describe-security-groups", stdout="sg-01\n")
    installed.when("aws", "describe-volumes", stdout="vol-01\tvol-02\n")
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 0, done.err
    order = [
        done.first("aws ec2 terminate-instances", "--instance-ids i-01 i-02"),
        done.first("aws ec2 wait instance-terminated"),
        done.first("aws elbv2 delete-load-balancer", BALANCER),
        done.first("aws elbv2 wait load-balancers-deleted", BALANCER),
        done.first("aws elbv2 delete-target-group", TARGETS),
        done.first("aws ec2 delete-security-group", "sg-01"),
        done.first("aws ec2 delete-volume", "vol-01"),
        done.first("aws ec2 delete-volume", "vol-02"),
    ]
    assert order == sorted(order)


def test_a_target_group_in_use_is_tried_again(installed: Bench) -> None:
    """AWS frees a target group some seconds after its balancer."""
    installed.when("aws", "get-resources .*elasticloadbalancing:targetgroup ", stdout=tagged(TARGETS))
    installed.when("aws", "delete-target-group", code=254, stderr="ResourceInUse\n", times=3)
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 0, done.err
    assert len(done.lines("aws elbv2 delete-target-group")) == 4


def test_what_is_still_there_is_listed(installed: Bench) -> None:
    """The end is a list, once each, without keys that only wait for their date, and an exit status of its own."""
    gone, kept = (f"arn:aws:kms:us-west-2:{ACCOUNT}:key/{name}" for name in ("gone-in-a-week", "of-the-bucket"))
    installed.when("aws", f"kms describe-key .*{gone}", stdout="PendingDeletion\n")
    installed.when("aws", f"kms describe-key .*{kept}", stdout="Enabled\n")
    installed.when(
        "aws", "get-resources .*tritonfleet.io/fleet", stdout=tagged("arn:aws:s3:::tritonfleet-models", gone, kept)
    )
    installed.when("aws", "get-resources .*kubernetes.io/cluster", stdout=tagged("arn:aws:s3:::tritonfleet-models"))
    group = f"arn:aws:logs:us-west-2:{ACCOUNT}:log-group:/aws/containerinsights/tritonfleet/performance"
    installed.when("aws", "logs describe-log-groups", stdout=json.dumps([group]))
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 3
    tail = done.out.split("Still there")[1].splitlines()[1:]
    assert tail == [f"  {kept}", f"  {group}", "  arn:aws:s3:::tritonfleet-models"]


def test_gone_cluster(installed: Bench) -> None:
    """A second run, with the cluster gone, takes the rest and asks kubectl nothing."""
    installed.when("aws", "describe-cluster", code=254, stderr="An error occurred (ResourceNotFoundException)\n")
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 0, done.err
    assert [call for call in done.calls if call.tool == "kubectl"][1:] == []
    assert done.terraform("destroy") == ["infrastructure"]
    assert not done.lines("update-cluster-config")


def test_everything_gone(installed: Bench) -> None:
    """A third run finds empty states and destroys nothing."""
    installed.when("aws", "describe-cluster", code=254, stderr="An error occurred (ResourceNotFoundException)\n")
    installed.when("terraform", "^state list", code=1, stderr="No state file was found!\n")
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 0, done.err
    assert done.terraform("destroy") == []
    assert "the infrastructure stack is gone already" in done.out


def test_unreadable_state_is_not_an_empty_one(installed: Bench) -> None:
    """A state that cannot be read stops the cleanup: it must not claim that nothing is there."""
    installed.when("terraform", "^state list", code=1, stderr="Error: AccessDenied reading the state\n")
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 1
    assert "the state of the fleet stack cannot be read" in done.err
    assert "Nothing is left" not in done.out


def test_unreachable_cluster(installed: Bench) -> None:
    """By default it stops and explains; with --unreachable it works on AWS's side alone."""
    installed.when("kubectl", "readyz", code=1, stderr="i/o timeout\n")
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 1
    assert "does not answer" in done.err
    assert done.terraform("destroy") == []
    installed.when("aws", "describe-instances .*karpenter.sh/nodepool", stdout="i-gpu\n")
    installed.when("aws", "describe-instances .*nodegroup-name", stdout="i-system\n")
    done = installed.run("cleanup.sh", "--yes", "--unreachable")
    assert done.code == 0, done.err
    # Karpenter would replace a node that is taken away: its own nodes go first.
    controllers = done.first("aws eks update-nodegroup-config", "minSize=0,desiredSize=0")
    assert controllers < done.first("aws ec2 wait instance-terminated", "i-system")
    assert done.first("aws ec2 wait instance-terminated", "i-system") < done.first(
        "aws ec2 terminate-instances", "i-gpu"
    )
    assert done.terraform("destroy") == ["infrastructure"]
    forgotten = [call.stack for call in done.calls if call.tool == "terraform" and call.argv[:2] == ["state", "rm"]]
    assert forgotten == ["fleet", "platform", "infrastructure"]


def test_eks_without_an_answer(installed: Bench) -> None:
    """An error that is not 'not found' does not pass for a cluster that is gone."""
    installed.when("aws", "describe-cluster", code=254, stderr="An error occurred (AccessDeniedException)\n")
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 1
    assert "EKS does not answer" in done.err
    assert done.terraform("destroy") == []


@pytest.mark.parametrize("stack", ["fleet", "platform", "infrastructure"])
def test_a_destroy_fails(installed: Bench, stack: str) -> None:
    """A lasting error stops there and the next run goes on; a passing one is tried again."""
    installed.when("terraform", f"^destroy .*{stack}.tfvars", code=1, stderr="Error: AccessDenied\n")
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 1
    assert f"the {stack} stack could not be destroyed" in done.err
    assert done.terraform("destroy")[-1] == stack
    installed.rules.pop(0)
    installed.when("terraform", f"^destroy .*{stack}.tfvars", code=1, stderr="Error: DependencyViolation\n", times=2)
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 0, done.err
    assert done.terraform("destroy").count(stack) == 3


def test_other_account(installed: Bench) -> None:
    """Nothing is destroyed with the credentials of another account."""
    installed.when(
        "aws", "^sts", stdout=json.dumps({"Account": "999988887777", "Arn": "arn:aws:iam::999988887777:user/me"})
    )
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 1
    assert "belongs to account" in done.err
    assert not done.lines("kubectl delete")


def test_other_region(installed: Bench) -> None:
    """Nor in another region, where the list of what is left would be empty and wrong."""
    done = installed.run("cleanup.sh", "--yes", "--region", "eu-west-1")
    assert done.code == 1
    assert "Give --region us-west-2" in done.err


def test_nothing_installed(bench: Bench) -> None:
    """A name that was never installed from here is said to be so."""
    done = bench.run("cleanup.sh", "--yes", "--name", "other")
    assert done.code == 1
    assert "no deployment other was installed from" in done.err


def test_needs_a_yes(installed: Bench) -> None:
    """Without --yes and without a terminal nothing is removed."""
    done = installed.run("cleanup.sh")
    assert done.code == 1
    assert "Add --yes" in done.err
    assert not done.lines("kubectl delete")


def test_protection_that_is_off_already(installed: Bench) -> None:
    """EKS answers 'No changes needed' with an error: that is fine."""
    installed.when(
        "aws",
        "update-cluster-config",
        code=254,
        stderr="InvalidParameterException: No changes needed for the deletion protection\n",
    )
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 0
    assert "deletion protection" not in done.err


@pytest.mark.parametrize(
    ("tool", "match"),
    [
        ("kubectl", "delete horizontalpodautoscalers"),
        ("kubectl", "delete ingresses"),
        ("kubectl", "delete persistentvolumeclaims"),
        ("aws", "describe-instances"),
        ("aws", "get-resources"),
        ("aws", "get-resources .*tritonfleet.io/fleet"),
        ("aws", "describe-security-groups"),
        ("aws", "logs describe-log-groups"),
        ("kubectl", "get services"),
        ("aws", "describe-volumes"),
        ("helm", "^list"),
    ],
)
def test_any_step_may_fail(installed: Bench, tool: str, match: str) -> None:
    """Whatever fails, the script does not say that nothing is left."""
    installed.when(tool, match, code=7, stderr="boom\n")
    done = installed.run("cleanup.sh", "--yes")
    assert done.code not in (0, 3)
    assert "error:" in done.err
    assert "Nothing is left" not in done.out


def test_without_keda(installed: Bench) -> None:
    """Where KEDA is dead or was never there, its objects hold nothing up, and that is said."""
    installed.when("kubectl", "delete scaledobjects.*--timeout=2m", code=1, stderr="timed out waiting")
    done = installed.run("cleanup.sh", "--yes")
    assert done.code == 0, done.err
    assert "no ScaledObject was deleted" in done.err + done.out
    assert done.terraform("destroy") == ["fleet", "platform", "infrastructure"]
