# ---- where and what

variable "name" {
  description = "Name of the deployment: the EKS cluster and the prefix of everything else."
  type        = string
  default     = "tritonfleet"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 characters of a-z, 0-9 and '-', start with a letter and not end with '-' (IAM and S3 names are built from it)."
  }
}

variable "region" {
  description = "AWS region, such as us-west-2."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must look like us-west-2; 'aws account list-regions' lists the ones that your account may use."
  }
}

variable "account_id" {
  description = "Refuse to work in any other AWS account; null accepts the one of the credentials."
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null || can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be the 12 digits that 'aws sts get-caller-identity' shows."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}

# ---- network

variable "vpc_cidr" {
  description = "Address range of the VPC."
  type        = string
  default     = "10.1.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && contains(["16", "17", "18"], try(split("/", var.vpc_cidr)[1], ""))
    error_message = "vpc_cidr must be an IPv4 range of /16 to /18, such as 10.1.0.0/16: every pod takes an address of it."
  }
}

variable "zones" {
  description = "Availability zones. GPU capacity differs from zone to zone: more zones, fewer waits."
  type        = list(string)

  validation {
    condition     = length(distinct(var.zones)) == length(var.zones) && length(var.zones) >= 2 && length(var.zones) <= 6
    error_message = "zones must name two to six different availability zones: EKS refuses one, and one zone is one failure."
  }

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "every zone must lie in region ${var.region}; 'aws ec2 describe-availability-zones' lists them."
  }
}

variable "nat_per_zone" {
  description = "One NAT gateway per zone instead of one for all."
  type        = bool
  default     = false
}

variable "interface_endpoints" {
  description = "AWS services reached inside the VPC. Each costs about as much an hour as a small instance, per zone."
  type        = list(string)
  default     = ["ecr.api", "ecr.dkr", "sts", "secretsmanager"]
}

variable "extra_readable_bucket_arns" {
  description = "Other buckets of this region that pods may reach, by exact ARN; the S3 endpoint blocks the rest."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.extra_readable_bucket_arns : can(regex("^arn:aws[a-z-]*:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", arn))])
    error_message = "extra_readable_bucket_arns takes exact bucket ARNs such as arn:aws:s3:::my-bucket: no '*', no path."
  }
}

# ---- cluster

variable "kubernetes_version" {
  description = "Kubernetes minor version."
  type        = string
  default     = "1.36"

  validation {
    condition     = contains(["1.35", "1.36"], var.kubernetes_version)
    error_message = "kubernetes_version must be 1.35 or 1.36: the charts pinned here were chosen for these."
  }
}

variable "endpoint_public_access_cidrs" {
  description = "Addresses that reach the API server from outside the VPC. Empty: only from inside (VPN, bastion)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.endpoint_public_access_cidrs : can(cidrhost(cidr, 0)) && try(tonumber(split("/", cidr)[1]), 0) >= 16])
    error_message = "endpoint_public_access_cidrs takes ranges of /16 or smaller, such as 203.0.113.7/32: the API server is not for the whole internet."
  }
}

variable "admin_principal_arns" {
  description = "IAM roles or users that administer the cluster; the one that runs Terraform among them."
  type        = list(string)

  validation {
    condition     = length(var.admin_principal_arns) > 0 && alltrue([for arn in var.admin_principal_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.+$", arn))])
    error_message = "admin_principal_arns needs one or more ARNs of IAM roles or users (arn:aws:iam::111122223333:role/admin). For an assumed role, give the role, not the sts session."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the cluster; cleanup.sh switches it off first."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that control plane logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days must be one of CloudWatch's steps: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}

variable "system_instance_types" {
  description = "Instance types of the nodes that carry the controllers and Prometheus."
  type        = list(string)
  default     = ["m6i.xlarge", "m7i.xlarge"]
}

variable "system_nodes" {
  description = "System nodes: least, first, most."
  type        = object({ minimum = number, desired = number, maximum = number })
  default     = { minimum = 2, desired = 2, maximum = 4 }

  validation {
    condition     = var.system_nodes.minimum >= 2 && var.system_nodes.minimum <= var.system_nodes.desired && var.system_nodes.desired <= var.system_nodes.maximum
    error_message = "system_nodes needs 2 <= minimum <= desired <= maximum: the controllers spread over two nodes."
  }
}

# ---- pins that AWS alone knows; install.sh resolves them once and keeps them in pins.tfvars.json

variable "addon_versions" {
  description = "Exact version of each EKS add-on (aws eks describe-addon-versions)."
  type        = map(string)

  validation {
    condition     = alltrue([for version in values(var.addon_versions) : can(regex("^v[0-9]+\\.[0-9]+\\.[0-9]+-eksbuild\\.[0-9]+$", version))])
    error_message = "addon_versions takes exact versions such as v1.20.4-eksbuild.2, one for every add-on."
  }

  validation {
    condition = length(setsubtract(
      concat(
        ["vpc-cni", "kube-proxy", "coredns", "eks-pod-identity-agent", "aws-ebs-csi-driver", "metrics-server"],
        var.cloudwatch_observability ? ["amazon-cloudwatch-observability"] : [],
    ), keys(var.addon_versions))) == 0
    error_message = "addon_versions misses an add-on: it needs vpc-cni, kube-proxy, coredns, eks-pod-identity-agent, aws-ebs-csi-driver, metrics-server, and amazon-cloudwatch-observability where cloudwatch_observability is on."
  }
}

variable "system_node_release_version" {
  description = "AMI release of the system nodes (SSM .../recommended/release_version)."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+-[0-9]{8}$", var.system_node_release_version)) && startswith(var.system_node_release_version, "${var.kubernetes_version}.")
    error_message = "system_node_release_version must be an exact release of Kubernetes ${var.kubernetes_version}, such as ${var.kubernetes_version}.2-20260714."
  }
}

# ---- fleet

variable "namespace" {
  description = "Kubernetes namespace of the fleet."
  type        = string
  default     = "tritonfleet"
}

variable "service_account" {
  description = "Service account of the serving pods; it may read the model bucket."
  type        = string
  default     = "tritonfleet"
}

variable "copy_service_account" {
  description = "Service account of the job that copies weights into the model bucket."
  type        = string
  default     = "tritonfleet-model-copy"
}

variable "model_repository_directory" {
  description = "Folder of the rendered model repository, kept in step with the bucket; empty uploads nothing."
  type        = string
  default     = ""
}

# ---- secrets

variable "secret_versions" {
  description = "Secrets by name with a number each; a raised number writes the new value."
  type        = map(number)
  default     = { grafana-admin = 1 }

  validation {
    condition     = contains(keys(var.secret_versions), "grafana-admin")
    error_message = "secret_versions must hold grafana-admin: Grafana starts with it."
  }
}

variable "secret_values" {
  description = "Values by name, for those written in this run. Give them by the environment (TF_VAR_secret_values)."
  type        = map(string)
  default     = {}
  ephemeral   = true
  sensitive   = true
}

variable "secret_recovery_days" {
  description = "Days that a deleted secret can be brought back. 0 frees the name at once, so that install.sh can follow cleanup.sh."
  type        = number
  default     = 0

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "secret_recovery_days must be 0 or 7 to 30, as Secrets Manager wants."
  }
}

# ---- watch

variable "cloudwatch_observability" {
  description = "CloudWatch Container Insights with GPU and Neuron metrics. Its agents then own DCGM: Prometheus gets no GPU series."
  type        = bool
  default     = false
}

variable "monthly_budget_usd" {
  description = "Monthly limit in US dollars that warns by mail; 0 makes no budget."
  type        = number
  default     = 0

  validation {
    condition     = var.monthly_budget_usd >= 0
    error_message = "monthly_budget_usd must not be negative."
  }
}

variable "budget_emails" {
  description = "Who is told."
  type        = list(string)
  default     = []

  validation {
    condition     = var.monthly_budget_usd == 0 || (length(var.budget_emails) > 0 && length(var.budget_emails) <= 10)
    error_message = "budget_emails needs one to ten addresses when monthly_budget_usd is set: an alarm that nobody hears is none."
  }

  validation {
    condition     = alltrue([for email in var.budget_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", email))])
    error_message = "budget_emails takes mail addresses such as ops@example.com."
  }
}

variable "budget_cost_allocation_tag" {
  description = "Count only what carries this activated tag, as KEY=VALUE; empty counts the whole account."
  type        = string
  default     = ""

  validation {
    condition     = var.budget_cost_allocation_tag == "" || can(regex("^[^=]+=[^=]+$", var.budget_cost_allocation_tag))
    error_message = "budget_cost_allocation_tag must be KEY=VALUE, such as tritonfleet.io/fleet=prod."
  }
}
