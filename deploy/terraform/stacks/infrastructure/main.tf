# Everything that the AWS API makes. The platform stack then fills the cluster, the fleet stack serves.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}

locals {
  # The account keeps the name unique in the world, and known before anything exists.
  bucket     = "${var.name}-models-${data.aws_caller_identity.this.account_id}-${var.region}"
  bucket_arn = "arn:${data.aws_partition.this.partition}:s3:::${local.bucket}"
  policy_arn = "arn:${data.aws_partition.this.partition}:iam::aws:policy"
}

module "network" {
  source = "../../modules/network"

  name                 = var.name
  cidr                 = var.vpc_cidr
  zones                = var.zones
  nat_per_zone         = var.nat_per_zone
  interface_endpoints  = var.interface_endpoints
  readable_bucket_arns = concat([local.bucket_arn], var.extra_readable_bucket_arns)
}

module "cluster" {
  source = "../../modules/cluster"

  name                 = var.name
  kubernetes_version   = var.kubernetes_version
  subnet_ids           = module.network.private_subnet_ids
  public_access_cidrs  = var.endpoint_public_access_cidrs
  admin_principal_arns = var.admin_principal_arns
  deletion_protection  = var.deletion_protection
  log_retention_days   = var.log_retention_days
}

# A node without these is not ready, so they come before the first one.
module "node_addons" {
  source = "../../modules/addons"

  cluster_name = module.cluster.name
  versions     = var.addon_versions
  addons = {
    eks-pod-identity-agent = {}
    kube-proxy             = {}
    vpc-cni = {
      configuration   = jsonencode({ enableNetworkPolicy = "true" })
      service_account = "aws-node"
      role_arn        = module.vpc_cni.role_arn
    }
  }
}

module "system_nodes" {
  source = "../../modules/nodes"

  name = var.name
  # By its output, not depends_on: that would put off the module's data sources, and with them half the plan.
  cluster_name       = module.node_addons.cluster_name
  subnet_ids         = module.network.private_subnet_ids
  kubernetes_version = var.kubernetes_version
  release_version    = var.system_node_release_version
  instance_types     = var.system_instance_types
  size               = var.system_nodes
}

module "cluster_addons" {
  source = "../../modules/addons"

  cluster_name = module.system_nodes.cluster_name
  versions     = var.addon_versions
  addons = merge(
    {
      coredns        = {}
      metrics-server = {}
      aws-ebs-csi-driver = {
        # cleanup.sh finds a forgotten volume by this tag.
        configuration   = jsonencode({ controller = { extraVolumeTags = { "tritonfleet.io/fleet" = var.name } } })
        service_account = "ebs-csi-controller-sa"
        role_arn        = module.ebs_csi.role_arn
      }
    },
    var.cloudwatch_observability ? {
      amazon-cloudwatch-observability = {
        service_account = "cloudwatch-agent"
        role_arn        = module.cloudwatch[0].role_arn
      }
    } : {},
  )
}

module "vpc_cni" {
  source = "../../modules/pod_identity"

  name                = "${var.name}-vpc-cni"
  cluster_name        = var.name
  namespace           = "kube-system"
  service_account     = "aws-node"
  managed_policy_arns = { cni = "${local.policy_arn}/AmazonEKS_CNI_Policy" }
  associate           = false
}

module "ebs_csi" {
  source = "../../modules/pod_identity"

  name                = "${var.name}-ebs-csi"
  cluster_name        = var.name
  namespace           = "kube-system"
  service_account     = "ebs-csi-controller-sa"
  managed_policy_arns = { ebs = "${local.policy_arn}/service-role/AmazonEBSCSIDriverPolicy" }
  associate           = false
}

module "cloudwatch" {
  source = "../../modules/pod_identity"
  count  = var.cloudwatch_observability ? 1 : 0

  name            = "${var.name}-cloudwatch"
  cluster_name    = var.name
  namespace       = "amazon-cloudwatch"
  service_account = "cloudwatch-agent"
  managed_policy_arns = {
    agent = "${local.policy_arn}/CloudWatchAgentServerPolicy"
    xray  = "${local.policy_arn}/AWSXrayWriteOnlyAccess"
  }
  associate = false
}

module "karpenter" {
  source = "../../modules/karpenter"

  cluster_name = module.cluster.name
  namespace    = "kube-system"
}

module "load_balancer" {
  source = "../../modules/load_balancer"

  cluster_name    = module.cluster.name
  namespace       = "kube-system"
  service_account = "aws-load-balancer-controller"
}

module "model_bucket" {
  source = "../../modules/model_bucket"

  name                   = var.name
  bucket                 = local.bucket
  cluster_name           = module.cluster.name
  namespace              = var.namespace
  reader_service_account = var.service_account
  writer_service_account = var.copy_service_account
  repository_directory   = var.model_repository_directory
}

module "secrets" {
  source = "../../modules/secrets"

  name                 = var.name
  versions             = var.secret_versions
  values               = var.secret_values
  recovery_window_days = var.secret_recovery_days
  cluster_name         = module.cluster.name
  namespace            = "external-secrets"
  service_account      = "external-secrets"
}

module "budget" {
  source = "../../modules/budget"

  name                = var.name
  monthly_usd         = var.monthly_budget_usd
  emails              = var.budget_emails
  cost_allocation_tag = var.budget_cost_allocation_tag
}
