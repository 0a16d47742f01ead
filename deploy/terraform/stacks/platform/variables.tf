variable "name" {
  description = "Name of the deployment."
  type        = string
  default     = "tritonfleet"
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "tags" {
  description = "Tags of every node, volume and load balancer."
  type        = map(string)
  default     = {}
}

variable "infrastructure" {
  description = "The infrastructure stack's output 'platform'."
  type = object({
    cluster_name                  = string
    cluster_endpoint              = string
    cluster_certificate_authority = string
    cluster_security_group_id     = string
    vpc_id                        = string
    private_subnet_ids            = list(string)
    node_instance_profile         = string
    interruption_queue            = string
    secret_names                  = map(string)
  })

  validation {
    condition     = length(var.infrastructure.private_subnet_ids) >= 2
    error_message = "infrastructure.private_subnet_ids needs two or more subnets: take the infrastructure stack's output 'platform' as it is."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the fleet; it may use the secret store."
  type        = string
  default     = "tritonfleet"
}

variable "accelerator_families" {
  description = "Instance families that models may run on; one node pool each."
  type        = list(string)
  default     = ["g6"]

  validation {
    condition = length(setsubtract(var.accelerator_families, [
      "g5", "g6", "g6e", "p4d", "p4de", "p5", "p5e", "p5en", "inf2", "trn1", "trn1n", "trn2",
    ])) == 0
    error_message = "accelerator_families may hold g5, g6, g6e, p4d, p4de, p5, p5e, p5en (NVIDIA) and inf2, trn1, trn1n, trn2 (Neuron)."
  }
}

variable "accelerator_limit" {
  description = "GPUs or Neuron devices that one node pool may hold: the ceiling of the bill."
  type        = number
  default     = 8

  validation {
    condition     = var.accelerator_limit >= 1 && floor(var.accelerator_limit) == var.accelerator_limit
    error_message = "accelerator_limit must be a whole number of 1 or more. An instance with more devices than that is never launched (p4d and p5 have 8)."
  }
}

variable "capacity_types" {
  description = "What accelerator nodes may be: on-demand, spot, reserved."
  type        = list(string)
  default     = ["on-demand"]

  validation {
    condition     = length(var.capacity_types) > 0 && length(setsubtract(var.capacity_types, ["on-demand", "spot", "reserved"])) == 0
    error_message = "capacity_types may hold on-demand, spot and reserved, and needs one of them."
  }
}

variable "general_cpu_limit" {
  description = "vCPUs that the pool of ordinary nodes may hold."
  type        = number
  default     = 64
}

variable "node_image" {
  description = "AMI alias of Karpenter's nodes, by release."
  type        = string
  default     = "al2023@v20260714"

  validation {
    condition     = can(regex("^al2023@v[0-9]{8}$", var.node_image))
    error_message = "node_image must be an exact release such as al2023@v20260714; @latest would replace every GPU node on the day of a release."
  }
}

variable "node_volume_gib" {
  description = "Root volume of accelerator nodes in GiB."
  type        = number
  default     = 200

  validation {
    condition     = var.node_volume_gib >= 100 && var.node_volume_gib <= 16384
    error_message = "node_volume_gib must be 100 to 16384: the serving image alone takes about 25 GiB unpacked."
  }
}

variable "node_expire_after" {
  description = "Age at which a node is replaced by a fresh one."
  type        = string
  default     = "720h"
}

variable "autoscaler" {
  description = "keda, or prometheus-adapter for plain HorizontalPodAutoscalers."
  type        = string
  default     = "keda"

  validation {
    condition     = contains(["keda", "prometheus-adapter"], var.autoscaler)
    error_message = "autoscaler must be keda or prometheus-adapter."
  }
}

variable "front" {
  description = "Proxy behind the load balancer: nginx-gateway-fabric, ingress-nginx (retired upstream) or none."
  type        = string
  default     = "nginx-gateway-fabric"

  validation {
    condition     = contains(["nginx-gateway-fabric", "ingress-nginx", "none"], var.front)
    error_message = "front must be nginx-gateway-fabric, ingress-nginx or none."
  }
}

variable "leader_worker_set" {
  description = "Install LeaderWorkerSet, for models larger than a node."
  type        = bool
  default     = false
}

variable "cloudwatch_observability" {
  description = "As in the infrastructure stack: CloudWatch's agents then own the devices and the exporters here stay away."
  type        = bool
  default     = false
}

variable "prometheus_retention_days" {
  description = "Days that Prometheus keeps series."
  type        = number
  default     = 15

  validation {
    condition     = var.prometheus_retention_days >= 1
    error_message = "prometheus_retention_days must be 1 or more."
  }
}

variable "prometheus_volume_gib" {
  description = "Prometheus's volume in GiB."
  type        = number
  default     = 50

  validation {
    condition     = var.prometheus_volume_gib >= 10
    error_message = "prometheus_volume_gib must be 10 or more."
  }
}
