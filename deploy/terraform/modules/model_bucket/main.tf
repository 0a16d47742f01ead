# The encrypted, versioned bucket of the model repository and of the weights, and who may read it.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  arn        = "arn:${data.aws_partition.this.partition}:s3:::${var.bucket}"
  repository = "model_repository"
  weights    = "models"
  files      = var.repository_directory == "" ? toset([]) : fileset(var.repository_directory, "**")

  # The key is known to IAM by its alias, so that a policy can be read before the key exists.
  key_resource  = "arn:${data.aws_partition.this.partition}:kms:${data.aws_region.this.region}:${data.aws_caller_identity.this.account_id}:key/*"
  key_alias     = "alias/${var.name}/models"
  key_condition = { "ForAnyValue:StringEquals" = { "kms:ResourceAliases" = local.key_alias } }

  read_statements = [
    {
      Sid       = "List"
      Effect    = "Allow"
      Action    = "s3:ListBucket"
      Resource  = local.arn
      Condition = { StringLike = { "s3:prefix" = ["${local.repository}/*", "${local.weights}/*"] } }
    },
    {
      Sid      = "Read"
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = ["${local.arn}/${local.repository}/*", "${local.arn}/${local.weights}/*"]
    },
    {
      Sid       = "Decrypt"
      Effect    = "Allow"
      Action    = "kms:Decrypt"
      Resource  = local.key_resource
      Condition = local.key_condition
    },
  ]
}

resource "aws_kms_key" "this" {
  description             = "Models of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AccountDecidesByIAM"
      Effect    = "Allow"
      Principal = { AWS = "arn:${data.aws_partition.this.partition}:iam::${data.aws_caller_identity.this.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*" # in a key policy: this key
    }]
  })
}

resource "aws_kms_alias" "this" {
  name          = local.key_alias
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_s3_bucket" "this" {
  bucket        = var.bucket
  force_destroy = false # cleanup.sh empties it, and only when told to
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    bucket_key_enabled = true # one KMS call for many objects
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    expiration {
      expired_object_delete_marker = true
    }
  }

  rule {
    id     = "broken-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TLSOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [local.arn, "${local.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_object" "repository" {
  for_each = local.files

  bucket      = aws_s3_bucket.this.id
  key         = "${local.repository}/${each.key}"
  source      = "${var.repository_directory}/${each.key}"
  source_hash = filemd5("${var.repository_directory}/${each.key}") # etag is not an MD5 under KMS

  depends_on = [aws_s3_bucket_server_side_encryption_configuration.this, aws_s3_bucket_versioning.this]
}

module "reader" {
  source = "../pod_identity"

  name              = "${var.name}-model-reader"
  cluster_name      = var.cluster_name
  namespace         = var.namespace
  service_account   = var.reader_service_account
  policy_statements = local.read_statements
}

module "writer" {
  source = "../pod_identity"

  name            = "${var.name}-model-writer"
  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = var.writer_service_account
  policy_statements = concat(local.read_statements, [
    {
      Sid      = "Write"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      Resource = "${local.arn}/${local.weights}/*"
    },
    {
      Sid       = "Encrypt"
      Effect    = "Allow"
      Action    = "kms:GenerateDataKey"
      Resource  = local.key_resource
      Condition = local.key_condition
    },
  ])
}
