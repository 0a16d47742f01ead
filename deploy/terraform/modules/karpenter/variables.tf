variable "cluster_name" {
  description = "The cluster."
  type        = string
}

variable "namespace" {
  description = "Namespace of the Karpenter controller."
  type        = string
}
