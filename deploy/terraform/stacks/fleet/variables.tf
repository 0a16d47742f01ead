variable "name" {
  description = "Name of the Helm release, and prefix of its objects."
  type        = string
  default     = "tritonfleet"
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "namespace" {
  description = "Kubernetes namespace of the fleet."
  type        = string
  default     = "tritonfleet"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace)) && !contains(["default", "kube-system", "kube-public", "kube-node-lease"], var.namespace)
    error_message = "namespace must be a Kubernetes name of its own, not default or kube-*: it is created and deleted with the fleet."
  }
}

variable "infrastructure" {
  description = "The infrastructure stack's output 'fleet'."
  type = object({
    cluster_name                  = string
    cluster_endpoint              = string
    cluster_certificate_authority = string
    model_bucket                  = string
    model_repository_url          = string
    weights_url                   = string
    secret_names                  = map(string)
  })
}

variable "platform" {
  description = "The platform stack's output 'fleet'."
  type = object({
    secret_store   = string
    prometheus_url = string
    autoscaler     = string
    front          = string
  })
}

variable "chart" {
  description = "Folder of the fleet's Helm chart."
  type        = string
}

variable "values_file" {
  description = "values.yaml that 'tritonfleet deploy render' wrote."
  type        = string

  validation {
    condition     = fileexists(var.values_file)
    error_message = "values_file ${var.values_file} does not exist: run 'tritonfleet deploy render FLEET -o DIRECTORY' first."
  }
}

variable "dashboards_directory" {
  description = "Folder of Grafana dashboards (*.json) and Prometheus rules (*.yaml) that 'tritonfleet deploy render' wrote; empty for none."
  type        = string
  default     = ""
}

variable "timeout_minutes" {
  description = "How long the fleet may take to become ready: new GPU nodes, image and weights included."
  type        = number
  default     = 45

  validation {
    condition     = var.timeout_minutes >= 5 && var.timeout_minutes <= 180
    error_message = "timeout_minutes must be 5 to 180."
  }
}
