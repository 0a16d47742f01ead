# The whole stack applied against mocks: wiring, and what every input refuses.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { region = "us-west-2" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/mock" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-west-2:111122223333:key/mock", key_id = "mock" }
  }
  mock_resource "aws_eks_cluster" {
    defaults = {
      endpoint              = "https://mock.eks.amazonaws.com"
      certificate_authority = [{ data = "bW9jaw==" }]
    }
  }
}

variables {
  region               = "us-west-2"
  zones                = ["us-west-2a", "us-west-2b", "us-west-2c"]
  admin_principal_arns = ["arn:aws:iam::111122223333:role/admin"]
  addon_versions = {
    vpc-cni                         = "v1.20.4-eksbuild.2"
    kube-proxy                      = "v1.36.0-eksbuild.2"
    coredns                         = "v1.13.1-eksbuild.1"
    eks-pod-identity-agent          = "v1.3.9-eksbuild.3"
    aws-ebs-csi-driver              = "v1.50.1-eksbuild.1"
    metrics-server                  = "v0.8.0-eksbuild.2"
    amazon-cloudwatch-observability = "v4.4.0-eksbuild.1"
  }
  system_node_release_version = "1.36.2-20260714"
  # An ephemeral variable that is unset while planning must stay unset while applying, its default included.
  secret_values = {}
}

run "everything_applies" {
  command = apply

  variables {
    secret_versions = { grafana-admin = 1, hugging-face-token = 7 }
    secret_values   = { grafana-admin = "{}", hugging-face-token = "hf_secret" }
  }

  assert {
    condition     = output.configure_kubectl == "aws eks update-kubeconfig --region us-west-2 --name tritonfleet"
    error_message = "configure_kubectl must be the command of the guide"
  }
  assert {
    condition     = output.grafana_secret_name == "tritonfleet/grafana-admin"
    error_message = "grafana_secret_name must be the full name of the secret"
  }
  assert {
    condition     = output.platform.cluster_endpoint == "https://mock.eks.amazonaws.com"
    error_message = "the platform stack must get the cluster's endpoint"
  }
  assert {
    condition     = length(output.platform.private_subnet_ids) == 3
    error_message = "one private subnet for each zone"
  }
  assert {
    condition     = output.secret_versions["hugging-face-token"] == 7
    error_message = "install.sh reads back the version that it wrote"
  }
}

run "nat_in_every_zone" {
  command = apply

  variables {
    nat_per_zone = true
  }

  assert {
    condition     = length(distinct([for route in module.network.nat_routes : route.nat_gateway_id])) == 3
    error_message = "each zone's route must lead to its own NAT gateway"
  }
}

run "cloudwatch_brings_its_addon" {
  command = apply

  variables {
    cloudwatch_observability = true
  }

  assert {
    condition     = contains(module.cluster_addons.names, "amazon-cloudwatch-observability")
    error_message = "cloudwatch_observability must install the add-on"
  }
}

run "public_endpoint_only_for_given_addresses" {
  command = apply

  variables {
    endpoint_public_access_cidrs = ["203.0.113.7/32"]
  }

  assert {
    condition     = module.cluster.public_access_cidrs == toset(["203.0.113.7/32"])
    error_message = "the public endpoint must be open to the given addresses alone"
  }
}

run "bad_name" {
  command = plan
  variables { name = "Triton_Fleet" }
  expect_failures = [var.name]
}

run "bad_region" {
  command = plan
  variables { region = "Oregon" }
  expect_failures = [var.region]
}

run "bad_account" {
  command = plan
  variables { account_id = "1234" }
  expect_failures = [var.account_id]
}

run "small_vpc" {
  command = plan
  variables { vpc_cidr = "10.0.0.0/24" }
  expect_failures = [var.vpc_cidr]
}

run "one_zone" {
  command = plan
  variables { zones = ["us-west-2a"] }
  expect_failures = [var.zones]
}

run "zone_of_another_region" {
  command = plan
  variables { zones = ["us-west-2a", "us-east-1a"] }
  expect_failures = [var.zones]
}

run "bucket_wildcard" {
  command = plan
  variables { extra_readable_bucket_arns = ["arn:aws:s3:::*"] }
  expect_failures = [var.extra_readable_bucket_arns]
}

run "old_kubernetes" {
  command = plan
  variables {
    kubernetes_version          = "1.30"
    system_node_release_version = "1.30.2-20260714"
  }
  expect_failures = [var.kubernetes_version]
}

run "endpoint_for_the_world" {
  command = plan
  variables { endpoint_public_access_cidrs = ["0.0.0.0/0"] }
  expect_failures = [var.endpoint_public_access_cidrs]
}

run "session_as_admin" {
  command = plan
  variables { admin_principal_arns = ["arn:aws:sts::111122223333:assumed-role/admin/me"] }
  expect_failures = [var.admin_principal_arns]
}

run "odd_log_retention" {
  command = plan
  variables { log_retention_days = 31 }
  expect_failures = [var.log_retention_days]
}

run "one_system_node" {
  command = plan
  variables { system_nodes = { minimum = 1, desired = 1, maximum = 1 } }
  expect_failures = [var.system_nodes]
}

run "floating_addon" {
  command = plan
  variables {
    addon_versions = {
      vpc-cni                = "latest"
      kube-proxy             = "v1.36.0-eksbuild.2"
      coredns                = "v1.13.1-eksbuild.1"
      eks-pod-identity-agent = "v1.3.9-eksbuild.3"
      aws-ebs-csi-driver     = "v1.50.1-eksbuild.1"
      metrics-server         = "v0.8.0-eksbuild.2"
    }
  }
  expect_failures = [var.addon_versions]
}

run "missing_addon" {
  command = plan
  variables { addon_versions = { vpc-cni = "v1.20.4-eksbuild.2" } }
  expect_failures = [var.addon_versions]
}

run "node_image_of_another_kubernetes" {
  command = plan
  variables { system_node_release_version = "1.35.2-20260714" }
  expect_failures = [var.system_node_release_version]
}

run "no_grafana_secret" {
  command = plan
  variables { secret_versions = {} }
  expect_failures = [var.secret_versions]
}

run "odd_secret_recovery" {
  command = plan
  variables { secret_recovery_days = 3 }
  expect_failures = [var.secret_recovery_days]
}

run "budget_without_reader" {
  command = plan
  variables { monthly_budget_usd = 500 }
  expect_failures = [var.budget_emails]
}

run "negative_budget" {
  command = plan
  variables {
    monthly_budget_usd = -1
    budget_emails      = ["ops@example.com"]
  }
  expect_failures = [var.monthly_budget_usd]
}

run "bad_email" {
  command = plan
  variables {
    monthly_budget_usd = 500
    budget_emails      = ["ops"]
  }
  expect_failures = [var.budget_emails]
}

run "bad_budget_tag" {
  command = plan
  variables { budget_cost_allocation_tag = "team" }
  expect_failures = [var.budget_cost_allocation_tag]
}
