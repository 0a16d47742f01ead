variable "name" {
  description = "Name of the Helm release."
  type        = string
}

variable "namespace" {
  description = "Namespace of the release's own record, which must exist."
  type        = string
  default     = "kube-system"
}

variable "objects" {
  description = "Complete Kubernetes objects."
  type        = any
}
