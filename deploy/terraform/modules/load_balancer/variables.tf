variable "cluster_name" {
  description = "The cluster."
  type        = string
}

variable "namespace" {
  description = "Namespace of the AWS Load Balancer Controller."
  type        = string
}

variable "service_account" {
  description = "Service account of the controller."
  type        = string
}
