variable "name" {
  description = "Name of the IAM role."
  type        = string
}

variable "cluster_name" {
  description = "The EKS cluster whose pods may take the role."
  type        = string
}

variable "namespace" {
  description = "Kubernetes namespace of the service account."
  type        = string
}

variable "service_account" {
  description = "The one service account that may take the role."
  type        = string
}

variable "policy_statements" {
  description = "IAM statements of the role's own policy; empty for managed policies alone."
  type        = any
  default     = []
}

variable "managed_policy_arns" {
  description = "AWS managed policies, by a short name."
  type        = map(string)
  default     = {}
}

variable "associate" {
  description = "False where an EKS add-on makes the association itself."
  type        = bool
  default     = true
}
