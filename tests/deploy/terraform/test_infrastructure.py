"""What the plan of the infrastructure says, before anything exists."""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
from collections.abc import Iterator

import pytest

from .conftest import ACCOUNT, INFRASTRUCTURE, REGION, TERRAFORM, Json, Plan, Terraform

pytestmark = pytest.mark.deploy

BUCKET = f"arn:aws:s3:::tritonfleet-models-{ACCOUNT}-{REGION}"


def listed(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]


def statements(plan: Plan) -> Iterator[tuple[str, Json]]:
    """Every IAM statement in the plan, wherever it stands, with its resource's address."""
    for resource in plan.resources:
        for name in ("policy", "assume_role_policy"):
            if resource.values.get(name):
                for statement in json.loads(resource.values[name])["Statement"]:
                    yield resource.address, statement


def test_no_policy_is_hidden_until_apply(infrastructure: Plan) -> None:
    """Each policy is known at plan time, so that the checks below see all of them."""
    known = {address for address, _ in statements(infrastructure)}
    kinds = ("aws_iam_role_policy", "aws_s3_bucket_policy", "aws_sqs_queue_policy", "aws_kms_key", "aws_iam_role")
    for kind in kinds:
        for resource in infrastructure.of_type(kind):
            assert resource.address in known


def test_no_wildcard_bucket(infrastructure: Plan) -> None:
    """No statement names a bucket by '*', and only an object path under a named bucket ends in one."""
    seen = 0
    for address, statement in statements(infrastructure):
        for arn in listed(statement.get("Resource", [])):
            if ":s3:::" in arn:
                seen += 1
                assert "*" not in arn.split(":::")[1].split("/")[0], (address, arn)
    assert seen > 8


def test_s3_actions_never_meet_a_bare_star(infrastructure: Plan) -> None:
    """An S3 action is never allowed on resource '*'."""
    for address, statement in statements(infrastructure):
        if any(action.startswith("s3:") for action in listed(statement["Action"])):
            assert "*" not in listed(statement["Resource"]), address


def test_reader_reads_one_bucket(infrastructure: Plan) -> None:
    """The serving pods may list, read and decrypt; nothing is written, nothing lies outside the two prefixes."""
    policy = json.loads(
        infrastructure.one("module.model_bucket.module.reader.aws_iam_role_policy.this[0]").values["policy"]
    )
    actions = {action for statement in policy["Statement"] for action in listed(statement["Action"])}
    resources = {arn for statement in policy["Statement"] for arn in listed(statement["Resource"])}
    assert actions == {"s3:ListBucket", "s3:GetObject", "kms:Decrypt"}
    assert {arn for arn in resources if ":s3:::" in arn} == {
        BUCKET,
        f"{BUCKET}/model_repository/*",
        f"{BUCKET}/models/*",
    }
    listing = next(item for item in policy["Statement"] if item["Action"] == "s3:ListBucket")
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["model_repository/*", "models/*"]}}


def test_writer_writes_weights_alone(infrastructure: Plan) -> None:
    """The copy job cannot change the model repository: what lies there is run as code."""
    policy = json.loads(
        infrastructure.one("module.model_bucket.module.writer.aws_iam_role_policy.this[0]").values["policy"]
    )
    writes = [item for item in policy["Statement"] if "s3:PutObject" in listed(item["Action"])]
    assert [listed(item["Resource"]) for item in writes] == [[f"{BUCKET}/models/*"]]


def test_pod_roles_are_bound_to_one_service_account(infrastructure: Plan) -> None:
    """A role for pods names account, cluster, namespace and service account."""
    roles = [
        (address, item)
        for address, item in statements(infrastructure)
        if item.get("Principal") == {"Service": "pods.eks.amazonaws.com"}
    ]
    assert len(roles) >= 7
    for address, item in roles:
        condition = item["Condition"]["StringEquals"]
        assert condition["aws:SourceAccount"] == ACCOUNT, address
        assert condition["aws:RequestTag/eks-cluster-arn"] == f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/tritonfleet"
        assert condition["aws:RequestTag/kubernetes-namespace"]
        assert condition["aws:RequestTag/kubernetes-service-account"]


def test_no_administrator(infrastructure: Plan) -> None:
    """No role has all actions, and no managed policy of the administrator kind is attached."""
    for address, statement in statements(infrastructure):
        if statement["Effect"] == "Allow" and "aws_kms_key" not in address:
            assert not any(action.endswith(":*") or action == "*" for action in listed(statement["Action"])), address
    for attachment in infrastructure.of_type("aws_iam_role_policy_attachment"):
        assert not re.search("Administrator|PowerUser|FullAccess", attachment.values["policy_arn"])


def test_karpenter_touches_its_own(infrastructure: Plan) -> None:
    """Whatever creates, tags or deletes machines is bound to this cluster's tag."""
    policy = json.loads(
        infrastructure.one("module.karpenter.module.controller.aws_iam_role_policy.this[0]").values["policy"]
    )
    for statement in policy["Statement"]:
        actions = listed(statement["Action"])
        if any(re.match("ec2:(Terminate|Delete|CreateTags|CreateLaunch)", action) for action in actions):
            keys = json.dumps(statement["Condition"])
            assert "kubernetes.io/cluster/tritonfleet" in keys, statement["Sid"]
    assert len(json.dumps(policy, separators=(",", ":"))) < 10_240, "the limit of a role's inline policies"


def test_inline_policies_fit(infrastructure: Plan) -> None:
    """IAM refuses more than 10,240 characters of inline policy on a role."""
    for policy in infrastructure.of_type("aws_iam_role_policy"):
        assert len(re.sub(r"\s", "", policy.values["policy"])) < 10_240, policy.address


def test_endpoint_is_private(infrastructure: Plan) -> None:
    """The API server is reached from inside the VPC alone, unless addresses are given."""
    vpc = infrastructure.one("module.cluster.aws_eks_cluster.this").values["vpc_config"][0]
    assert vpc["endpoint_private_access"] is True
    assert vpc["endpoint_public_access"] is False


def test_cluster_is_guarded(infrastructure: Plan) -> None:
    """Access entries alone, encrypted secrets, every log, no paid extended support, deletion protected."""
    cluster = infrastructure.one("module.cluster.aws_eks_cluster.this").values
    assert cluster["version"] == "1.36"
    assert cluster["access_config"][0]["authentication_mode"] == "API"
    assert cluster["access_config"][0]["bootstrap_cluster_creator_admin_permissions"] is False
    assert cluster["encryption_config"][0]["resources"] == ["secrets"]
    assert set(cluster["enabled_cluster_log_types"]) == {
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    }
    assert cluster["upgrade_policy"] == [{"support_type": "STANDARD"}]
    assert cluster["deletion_protection"] is True


def test_every_addon_is_pinned(infrastructure: Plan) -> None:
    """Each add-on has the exact version that was given."""
    addons = {
        item.values["addon_name"]: item.values["addon_version"] for item in infrastructure.of_type("aws_eks_addon")
    }
    assert addons == INFRASTRUCTURE["addon_versions"]


def test_network_policies_are_enforced(infrastructure: Plan) -> None:
    """Without this switch the VPC CNI accepts NetworkPolicies and ignores them."""
    cni = next(item for item in infrastructure.of_type("aws_eks_addon") if item.values["addon_name"] == "vpc-cni")
    assert json.loads(cni.values["configuration_values"]) == {"enableNetworkPolicy": "true"}


def test_volumes_carry_the_tag(infrastructure: Plan) -> None:
    """cleanup.sh finds a forgotten volume by the tag that the EBS driver puts on it."""
    driver = next(
        item for item in infrastructure.of_type("aws_eks_addon") if item.values["addon_name"] == "aws-ebs-csi-driver"
    )
    tags = json.loads(driver.values["configuration_values"])["controller"]["extraVolumeTags"]
    assert tags == {"tritonfleet.io/fleet": "tritonfleet"}


def test_two_zones(infrastructure: Plan) -> None:
    """A private and a public subnet in each zone, without overlap, inside the VPC."""
    subnets = infrastructure.of_type("aws_subnet")
    for kind in ("private", "public"):
        zones = {item.values["availability_zone"] for item in subnets if f"aws_subnet.{kind}" in item.address}
        assert zones == {"us-west-2a", "us-west-2b"}
    assert_disjoint([item.values["cidr_block"] for item in subnets], "10.1.0.0/16")


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "172.16.0.0/17", "10.9.128.0/18"])
def test_six_zones_fit(terraform: Terraform, cidr: str) -> None:
    """The largest number of zones has room in the smallest allowed VPC."""
    zones = [f"{REGION}{letter}" for letter in "abcdef"]
    plan = terraform.plan("infrastructure", INFRASTRUCTURE | {"vpc_cidr": cidr, "zones": zones})
    cidrs = [item.values["cidr_block"] for item in plan.of_type("aws_subnet")]
    assert len(cidrs) == 12
    assert_disjoint(cidrs, cidr)


def assert_disjoint(cidrs: list[str], whole: str) -> None:
    networks = sorted(ipaddress.IPv4Network(cidr) for cidr in cidrs)
    assert all(network.subnet_of(ipaddress.IPv4Network(whole)) for network in networks)
    assert not any(first.overlaps(second) for first, second in itertools.pairwise(networks))
    assert all(network.prefixlen <= 26 for network in networks), "a load balancer wants eight free addresses"


def test_nodes_hide_their_credentials(infrastructure: Plan) -> None:
    """System nodes take IMDSv2 alone, one hop far, on encrypted disks."""
    template = infrastructure.one("module.system_nodes.aws_launch_template.this").values
    metadata = template["metadata_options"][0]
    assert (metadata["http_tokens"], metadata["http_put_response_hop_limit"]) == ("required", 1)
    # A flag inside ebs is a string in the provider's schema.
    assert template["block_device_mappings"][0]["ebs"][0]["encrypted"] == "true"


def test_bucket_is_locked(infrastructure: Plan) -> None:
    """No public access, own key, versions, TLS alone, nothing deleted with objects inside."""
    bucket = infrastructure.one("module.model_bucket.aws_s3_bucket.this").values
    assert bucket["force_destroy"] is False
    block = infrastructure.one("module.model_bucket.aws_s3_bucket_public_access_block.this").values
    flags = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert all(block[flag] for flag in flags)
    policy = json.loads(infrastructure.one("module.model_bucket.aws_s3_bucket_policy.this").values["policy"])
    assert policy["Statement"][0]["Effect"] == "Deny"
    assert policy["Statement"][0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    versioning = infrastructure.one("module.model_bucket.aws_s3_bucket_versioning.this").values
    assert versioning["versioning_configuration"][0]["status"] == "Enabled"
    rules = infrastructure.one("module.model_bucket.aws_s3_bucket_server_side_encryption_configuration.this").values[
        "rule"
    ]
    assert rules[0]["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "aws:kms"


def test_repository_is_synced_by_content(infrastructure: Plan) -> None:
    """Each rendered file is an object, uploaded again only when its content changes."""
    objects = {item.values["key"]: item.values["source_hash"] for item in infrastructure.of_type("aws_s3_object")}
    assert set(objects) == {"model_repository/llama2/config.pbtxt", "model_repository/llama2/1/model.json"}
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in objects.values())


def test_secret_values_are_nowhere(terraform: Terraform) -> None:
    """A secret's value is in neither plan nor state: it goes through a write-only argument."""
    secret = "hf_this_must_not_be_kept"
    terraform.environment["TF_VAR_secret_values"] = json.dumps({"hugging-face-token": secret})
    try:
        plan = terraform.plan("infrastructure", INFRASTRUCTURE)
    finally:
        del terraform.environment["TF_VAR_secret_values"]
    assert secret not in json.dumps(plan.document)
    versions = plan.of_type("aws_secretsmanager_secret_version")
    assert len(versions) == 2
    assert all(item.values.get("secret_string") is None for item in versions)


def test_secret_reader_reads_only_these(infrastructure: Plan) -> None:
    """The External Secrets Operator may read the deployment's secrets and no other."""
    policy = json.loads(infrastructure.one("module.secrets.module.reader.aws_iam_role_policy.this[0]").values["policy"])
    read = next(item for item in policy["Statement"] if item["Sid"] == "Read")
    prefix = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:tritonfleet"
    assert read["Resource"] == [f"{prefix}/grafana-admin-??????", f"{prefix}/hugging-face-token-??????"]


def test_s3_endpoint_knows_its_buckets(infrastructure: Plan) -> None:
    """Pods reach the model bucket and the image layers of this region, and no other bucket."""
    policy = json.loads(infrastructure.one("module.network.aws_vpc_endpoint.s3").values["policy"])
    buckets = {arn.split(":::")[1].split("/")[0] for item in policy["Statement"] for arn in listed(item["Resource"])}
    assert buckets == {
        f"tritonfleet-models-{ACCOUNT}-{REGION}",
        f"prod-{REGION}-starport-layer-bucket",
        f"prod-registry-k8s-io-{REGION}",
    }


def test_keys_rotate(infrastructure: Plan) -> None:
    """Every key that the deployment owns is rotated."""
    keys = infrastructure.of_type("aws_kms_key")
    assert len(keys) == 3
    assert all(key.values["enable_key_rotation"] for key in keys)


def test_budget_warns_before_and_at_the_limit(infrastructure: Plan) -> None:
    """Mail at 50, 80 and 100 % spent and when the forecast passes the limit."""
    budget = infrastructure.one("module.budget.aws_budgets_budget.this[0]").values
    seen = {(item["notification_type"], item["threshold"]) for item in budget["notification"]}
    assert seen == {("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)}
    assert budget["cost_filter"] == [{"name": "TagKeyValue", "values": ["user:tritonfleet.io/fleet$tritonfleet"]}]


def test_everything_carries_the_tag(infrastructure: Plan) -> None:
    """cleanup.sh finds what is left by this tag, which the provider puts on every resource."""
    provider = infrastructure.document["configuration"]["provider_config"]["aws"]["expressions"]
    assert "var.name" in provider["default_tags"][0]["tags"]["references"]
    assert '"tritonfleet.io/fleet" = var.name' in (TERRAFORM / "stacks/infrastructure/versions.tf").read_text()
