variable "crd_chart" {
  description = "Karpenter's custom resources."
  type        = object({ repository = string, name = string, version = string })
}

variable "controller_chart" {
  description = "Karpenter."
  type        = object({ repository = string, name = string, version = string })
}

variable "cluster_name" {
  description = "The cluster."
  type        = string
}

variable "cluster_endpoint" {
  description = "URL of its API server."
  type        = string
}

variable "interruption_queue" {
  description = "Queue of interruption notices."
  type        = string
}
