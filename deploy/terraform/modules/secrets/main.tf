# Secrets Manager entries whose values Terraform writes but never keeps, and the one role that reads them.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.region
  account   = data.aws_caller_identity.this.account_id
  key_alias = "alias/${var.name}/secrets"
}

resource "aws_kms_key" "this" {
  description             = "Secrets of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AccountDecidesByIAM"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
      Action    = "kms:*"
      Resource  = "*" # in a key policy: this key
    }]
  })
}

resource "aws_kms_alias" "this" {
  name          = local.key_alias
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_secretsmanager_secret" "this" {
  for_each = var.versions

  name                    = "${var.name}/${each.key}"
  description             = "Read by the External Secrets Operator of ${var.cluster_name}"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.recovery_window_days
}

resource "aws_secretsmanager_secret_version" "this" {
  for_each = var.versions

  secret_id                = aws_secretsmanager_secret.this[each.key].id
  secret_string_wo         = lookup(var.values, each.key, null)
  secret_string_wo_version = each.value
}

module "reader" {
  source = "../pod_identity"

  name            = "${var.name}-secret-reader"
  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  policy_statements = [
    {
      Sid    = "Read"
      Effect = "Allow"
      Action = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
      # Secrets Manager adds six characters to a secret's ARN.
      Resource = [for name in keys(var.versions) : "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${var.name}/${name}-??????"]
    },
    {
      Sid       = "Decrypt"
      Effect    = "Allow"
      Action    = "kms:Decrypt"
      Resource  = "arn:${local.partition}:kms:${local.region}:${local.account}:key/*"
      Condition = { "ForAnyValue:StringEquals" = { "kms:ResourceAliases" = local.key_alias } }
    },
  ]
}
