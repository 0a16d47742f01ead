# Rights of the AWS Load Balancer Controller, cut to what Network Load Balancers need: no WAF, Shield or Cognito.
# It changes and deletes only what carries this cluster's tag.

data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  elb         = "arn:${data.aws_partition.this.partition}:elasticloadbalancing:${data.aws_region.this.region}:*"
  ec2         = "arn:${data.aws_partition.this.partition}:ec2:${data.aws_region.this.region}:*"
  tag         = "elbv2.k8s.aws/cluster"
  ours        = { StringEquals = { "aws:ResourceTag/${local.tag}" = var.cluster_name } }
  made_ours   = { StringEquals = { "aws:RequestTag/${local.tag}" = var.cluster_name } }
  balancers   = ["${local.elb}:loadbalancer/net/*/*", "${local.elb}:targetgroup/*/*"]
  listeners   = ["${local.elb}:listener/net/*/*/*", "${local.elb}:listener-rule/net/*/*/*"]
  any_network = concat(local.balancers, local.listeners)
}

module "controller" {
  source = "../pod_identity"

  name            = "${var.cluster_name}-load-balancer"
  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  policy_statements = [
    {
      Sid       = "FirstBalancerOfTheAccount"
      Effect    = "Allow"
      Action    = "iam:CreateServiceLinkedRole"
      Resource  = "*"
      Condition = { StringEquals = { "iam:AWSServiceName" = "elasticloadbalancing.amazonaws.com" } }
    },
    {
      Sid    = "Read"
      Effect = "Allow"
      Action = [
        "acm:DescribeCertificate", "acm:ListCertificates",
        "ec2:DescribeAccountAttributes", "ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones",
        "ec2:DescribeInstances", "ec2:DescribeInternetGateways", "ec2:DescribeIpamPools",
        "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets", "ec2:DescribeTags", "ec2:DescribeVpcPeeringConnections", "ec2:DescribeVpcs",
        "ec2:GetSecurityGroupsForVpc",
        "elasticloadbalancing:DescribeCapacityReservation", "elasticloadbalancing:DescribeListenerAttributes",
        "elasticloadbalancing:DescribeListenerCertificates", "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeLoadBalancerAttributes", "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeSSLPolicies",
        "elasticloadbalancing:DescribeTags", "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:DescribeTrustStores",
      ]
      Resource = "*" # no resource level for reads
    },
    {
      Sid      = "SecurityGroupInVpc"
      Effect   = "Allow"
      Action   = "ec2:CreateSecurityGroup"
      Resource = "${local.ec2}:vpc/*"
    },
    {
      Sid       = "SecurityGroupCreate"
      Effect    = "Allow"
      Action    = "ec2:CreateSecurityGroup"
      Resource  = "${local.ec2}:security-group/*"
      Condition = local.made_ours
    },
    {
      Sid      = "SecurityGroupTagAtCreate"
      Effect   = "Allow"
      Action   = "ec2:CreateTags"
      Resource = "${local.ec2}:security-group/*"
      Condition = {
        StringEquals = { "ec2:CreateAction" = "CreateSecurityGroup", "aws:RequestTag/${local.tag}" = var.cluster_name }
      }
    },
    {
      Sid       = "SecurityGroupTag"
      Effect    = "Allow"
      Action    = ["ec2:CreateTags", "ec2:DeleteTags"]
      Resource  = "${local.ec2}:security-group/*"
      Condition = local.ours
    },
    {
      Sid      = "SecurityGroupRules"
      Effect   = "Allow"
      Action   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
      Resource = ["${local.ec2}:security-group/*", "${local.ec2}:security-group-rule/*"]
      # The nodes' group belongs to EKS and carries its tag, not the controller's.
      Condition = { StringEquals = { "aws:ResourceTag/kubernetes.io/cluster/${var.cluster_name}" = "owned" } }
    },
    {
      Sid       = "OwnSecurityGroups"
      Effect    = "Allow"
      Action    = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress", "ec2:DeleteSecurityGroup"]
      Resource  = "${local.ec2}:security-group/*"
      Condition = local.ours
    },
    {
      Sid       = "Create"
      Effect    = "Allow"
      Action    = ["elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"]
      Resource  = local.balancers
      Condition = local.made_ours
    },
    {
      Sid       = "CreateListener"
      Effect    = "Allow"
      Action    = ["elasticloadbalancing:CreateListener", "elasticloadbalancing:CreateRule"]
      Resource  = local.any_network
      Condition = local.ours
    },
    {
      Sid      = "TagAtCreate"
      Effect   = "Allow"
      Action   = "elasticloadbalancing:AddTags"
      Resource = local.any_network
      Condition = {
        StringEquals = {
          "aws:RequestTag/${local.tag}"       = var.cluster_name
          "elasticloadbalancing:CreateAction" = ["CreateLoadBalancer", "CreateTargetGroup", "CreateListener", "CreateRule"]
        }
      }
    },
    {
      Sid    = "Change"
      Effect = "Allow"
      Action = [
        "elasticloadbalancing:AddTags", "elasticloadbalancing:RemoveTags",
        "elasticloadbalancing:AddListenerCertificates", "elasticloadbalancing:RemoveListenerCertificates",
        "elasticloadbalancing:DeleteListener", "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:DeleteRule", "elasticloadbalancing:DeleteTargetGroup",
        "elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets",
        "elasticloadbalancing:ModifyCapacityReservation", "elasticloadbalancing:ModifyIpPools",
        "elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyListenerAttributes",
        "elasticloadbalancing:ModifyLoadBalancerAttributes", "elasticloadbalancing:ModifyRule",
        "elasticloadbalancing:ModifyTargetGroup", "elasticloadbalancing:ModifyTargetGroupAttributes",
        "elasticloadbalancing:SetIpAddressType", "elasticloadbalancing:SetRulePriorities",
        "elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets",
      ]
      Resource  = local.any_network
      Condition = local.ours
    },
  ]
}
