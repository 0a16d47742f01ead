# What Karpenter needs of AWS: a role to act, a role and profile for its nodes, a queue of interruption notices.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.region
  ec2       = "arn:${local.partition}:ec2:${local.region}"
  queue     = "${var.cluster_name}-interruptions"
  queue_arn = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.queue}"
  node_role = "${var.cluster_name}-karpenter-node"
  owned     = "kubernetes.io/cluster/${var.cluster_name}"

  # Created and destroyed: only what carries this cluster's tag.
  created = [for kind in ["fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request"] : "${local.ec2}:*:${kind}/*"]
  used    = concat(["${local.ec2}::image/*", "${local.ec2}::snapshot/*"], [for kind in ["security-group", "subnet", "launch-template", "capacity-reservation"] : "${local.ec2}:*:${kind}/*"])

  interruptions = {
    health    = { source = "aws.health", type = "AWS Health Event" }
    spot      = { source = "aws.ec2", type = "EC2 Spot Instance Interruption Warning" }
    rebalance = { source = "aws.ec2", type = "EC2 Instance Rebalance Recommendation" }
    state     = { source = "aws.ec2", type = "EC2 Instance State-change Notification" }
    reserved  = { source = "aws.ec2", type = "EC2 Capacity Reservation Instance Interruption Warning" }
  }
}

resource "aws_sqs_queue" "this" {
  name                      = local.queue
  message_retention_seconds = 300
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_policy" "this" {
  queue_url = aws_sqs_queue.this.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "EventsMaySend"
        Effect    = "Allow"
        Principal = { Service = ["events.amazonaws.com"] }
        Action    = "sqs:SendMessage"
        Resource  = local.queue_arn
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
      {
        Sid       = "TLSOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = local.queue_arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.interruptions

  name          = "${var.cluster_name}-${each.key}"
  description   = "${each.value.type}, for Karpenter"
  event_pattern = jsonencode({ source = [each.value.source], "detail-type" = [each.value.type] })
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.interruptions

  rule = aws_cloudwatch_event_rule.this[each.key].name
  arn  = aws_sqs_queue.this.arn
}

resource "aws_iam_role" "node" {
  name        = local.node_role
  description = "Karpenter nodes of the EKS cluster ${var.cluster_name}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"])

  role       = aws_iam_role.node.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.key}"
}

# Made here, so that Karpenter itself writes nothing in IAM.
resource "aws_iam_instance_profile" "node" {
  name = local.node_role
  role = aws_iam_role.node.name
}

resource "aws_eks_access_entry" "node" {
  cluster_name  = var.cluster_name
  principal_arn = aws_iam_role.node.arn
  type          = "EC2_LINUX"
}

module "controller" {
  source = "../pod_identity"

  name            = "${var.cluster_name}-karpenter"
  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = "karpenter"
  policy_statements = [
    {
      Sid      = "LaunchFrom"
      Effect   = "Allow"
      Action   = ["ec2:RunInstances", "ec2:CreateFleet"]
      Resource = local.used
    },
    {
      Sid      = "LaunchTagged"
      Effect   = "Allow"
      Action   = ["ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateLaunchTemplate"]
      Resource = local.created
      Condition = {
        StringEquals = {
          "aws:RequestTag/${local.owned}"       = "owned"
          "aws:RequestTag/eks:eks-cluster-name" = var.cluster_name
        }
        StringLike = { "aws:RequestTag/karpenter.sh/nodepool" = "*" }
      }
    },
    {
      Sid      = "TagAtLaunch"
      Effect   = "Allow"
      Action   = "ec2:CreateTags"
      Resource = local.created
      Condition = {
        StringEquals = {
          "aws:RequestTag/${local.owned}"       = "owned"
          "aws:RequestTag/eks:eks-cluster-name" = var.cluster_name
          "ec2:CreateAction"                    = ["RunInstances", "CreateFleet", "CreateLaunchTemplate"]
        }
        StringLike = { "aws:RequestTag/karpenter.sh/nodepool" = "*" }
      }
    },
    {
      Sid      = "TagLater"
      Effect   = "Allow"
      Action   = "ec2:CreateTags"
      Resource = "${local.ec2}:*:instance/*"
      Condition = {
        StringEquals                = { "aws:ResourceTag/${local.owned}" = "owned" }
        StringLike                  = { "aws:ResourceTag/karpenter.sh/nodepool" = "*" }
        StringEqualsIfExists        = { "aws:RequestTag/eks:eks-cluster-name" = var.cluster_name }
        "ForAllValues:StringEquals" = { "aws:TagKeys" = ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"] }
      }
    },
    {
      Sid      = "DeleteOwn"
      Effect   = "Allow"
      Action   = ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"]
      Resource = ["${local.ec2}:*:instance/*", "${local.ec2}:*:launch-template/*"]
      Condition = {
        StringEquals = { "aws:ResourceTag/${local.owned}" = "owned" }
        StringLike   = { "aws:ResourceTag/karpenter.sh/nodepool" = "*" }
      }
    },
    {
      Sid    = "Read"
      Effect = "Allow"
      Action = [
        "ec2:DescribeAvailabilityZones", "ec2:DescribeCapacityReservations", "ec2:DescribeImages", "ec2:DescribeInstances",
        "ec2:DescribeInstanceStatus", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstanceTypes",
        "ec2:DescribeLaunchTemplates", "ec2:DescribePlacementGroups", "ec2:DescribeSecurityGroups",
        "ec2:DescribeSpotPriceHistory", "ec2:DescribeSubnets",
      ]
      Resource  = "*" # EC2 has no resource level for reads
      Condition = { StringEquals = { "aws:RequestedRegion" = local.region } }
    },
    {
      Sid      = "ReadImageAliases"
      Effect   = "Allow"
      Action   = "ssm:GetParameter"
      Resource = "arn:${local.partition}:ssm:${local.region}::parameter/aws/service/*"
    },
    {
      Sid      = "ReadPrices"
      Effect   = "Allow"
      Action   = "pricing:GetProducts"
      Resource = "*"
    },
    {
      Sid      = "ReadProfiles"
      Effect   = "Allow"
      Action   = ["iam:GetInstanceProfile", "iam:ListInstanceProfiles"]
      Resource = "arn:${local.partition}:iam::${local.account}:instance-profile/*"
    },
    {
      Sid       = "PassNodeRole"
      Effect    = "Allow"
      Action    = "iam:PassRole"
      Resource  = "arn:${local.partition}:iam::${local.account}:role/${local.node_role}"
      Condition = { StringEquals = { "iam:PassedToService" = ["ec2.amazonaws.com"] } }
    },
    {
      Sid      = "ReadQueue"
      Effect   = "Allow"
      Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
      Resource = local.queue_arn
    },
    {
      Sid      = "ReadCluster"
      Effect   = "Allow"
      Action   = "eks:DescribeCluster"
      Resource = "arn:${local.partition}:eks:${local.region}:${local.account}:cluster/${var.cluster_name}"
    },
  ]
}
