"""Where and how much: zones, instance types and vCPU quotas, from what EC2 says of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from documents import Json, Refused

# Zones, by id, where EKS places no control plane.
# https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
REFUSED_ZONE_IDS = {"use1-az3", "usw1-az2", "cac1-az3"}
MOST_ZONES = 3
SYSTEM_TYPE = "m6i.xlarge"

# Add-ons of every deployment; the infrastructure stack refuses to go without one.
ADDONS = ("vpc-cni", "kube-proxy", "coredns", "eks-pod-identity-agent", "aws-ebs-csi-driver", "metrics-server")

# A family's letters, to the name that EC2 gives its quota.
QUOTAS = {
    "g": "Running On-Demand G and VT instances",
    "vt": "Running On-Demand G and VT instances",
    "p": "Running On-Demand P instances",
    "inf": "Running On-Demand Inf instances",
    "trn": "Running On-Demand Trn instances",
}
STANDARD_QUOTA = "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"


def instance_types(inputs: Json) -> list[str]:
    """Every instance type that the deployment may start, system nodes first."""
    types = list(inputs.get("system_instance_types", [SYSTEM_TYPE]))
    for pool in inputs.get("pools", {}).values():
        types += pool["instance_types"]
    return list(dict.fromkeys(types))


def choose_zones(zones: Json, offerings: Json, types: list[str]) -> list[str]:
    """Up to three zones, those first that offer the most of the instance types."""
    usable = [item["ZoneName"] for item in zones["AvailabilityZones"] if item["ZoneId"] not in REFUSED_ZONE_IDS]
    offered: dict[str, set[str]] = {zone: set() for zone in usable}
    for item in offerings["InstanceTypeOfferings"]:
        if item["Location"] in offered and item["InstanceType"] in types:
            offered[item["Location"]].add(item["InstanceType"])
    ranked = sorted(usable, key=lambda zone: (-len(offered[zone]), zone))
    if len(ranked) < 2:
        raise Refused(
            f"the region has {len(ranked)} usable availability zone(s), EKS needs two: choose another with --region"
        )
    return sorted(ranked[:MOST_ZONES])


def default_addons(listing: Json, wanted: Iterable[str]) -> dict[str, str]:
    """The version that EKS itself would install of each add-on, out of what DescribeAddonVersions said."""
    found = {
        addon["addonName"]: version["addonVersion"]
        for addon in listing["addons"]
        for version in addon["addonVersions"]
        if any(item.get("defaultVersion") for item in version["compatibilities"])
    }
    for name in wanted:
        if name not in found:
            raise Refused(
                f"EKS offers no default version of the add-on {name} for this Kubernetes: "
                "pin one under addon_versions with --settings, or choose another kubernetes_version"
            )
    return {name: found[name] for name in wanted}


def quota_name(instance_type: str) -> str:
    family = re.match(r"[a-z]+", instance_type)
    return QUOTAS.get(family[0] if family else "", STANDARD_QUOTA)


def needed_vcpus(inputs: Json, types: Json) -> dict[str, tuple[int, int]]:
    """vCPUs at least and at most, by quota."""
    size = {item["InstanceType"]: item["VCpuInfo"]["DefaultVCpus"] for item in types["InstanceTypes"]}
    need: dict[str, tuple[int, int]] = {}

    def add(instance_type: str, least: int, most: int) -> None:
        name = quota_name(instance_type)
        before = need.get(name, (0, 0))
        need[name] = (before[0] + least * size[instance_type], before[1] + most * size[instance_type])

    nodes = inputs.get("system_nodes", {"minimum": 2, "maximum": 4})
    add(instance_types(inputs)[0], nodes["minimum"], nodes["maximum"])
    for pool in inputs.get("pools", {}).values():
        add(pool["instance_types"][0], pool["minimum"], pool["maximum"])
    return need


def capacity_problems(inputs: Json, types: Json, quotas: Json, offerings: Json) -> list[str]:
    """Quotas that are too small, and accelerator types that fewer than one zone offers."""
    found = []
    limits = {item["QuotaName"]: item for item in quotas["Quotas"]}
    for name, (least, most) in needed_vcpus(inputs, types).items():
        quota = limits.get(name)
        if quota is not None and quota["Value"] < least:
            found.append(
                f"the quota '{name}' is {quota['Value']:g} vCPUs; the fleet needs {least} to start and "
                f"{most} to scale: aws service-quotas request-service-quota-increase --service-code ec2 "
                f"--quota-code {quota['QuotaCode']} --desired-value {most}"
            )
    where: dict[str, set[str]] = {}
    for item in offerings["InstanceTypeOfferings"]:
        where.setdefault(item["InstanceType"], set()).add(item["Location"])
    for name, pool in inputs.get("pools", {}).items():
        if not any(where.get(kind) for kind in pool["instance_types"]):
            found.append(
                f"pool {name}: no zone of this region offers {' or '.join(pool['instance_types'])}; "
                "choose another region or instance type"
            )
    return found
