variable "name" {
  description = "Name of the cluster."
  type        = string
}

variable "kubernetes_version" {
  description = "Kubernetes minor version."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets of the control plane's network interfaces, in two or more zones."
  type        = list(string)
}

variable "public_access_cidrs" {
  description = "Addresses that reach the API server from outside the VPC; none closes the public endpoint."
  type        = list(string)
}

variable "admin_principal_arns" {
  description = "IAM roles or users that administer the cluster."
  type        = list(string)
}

variable "deletion_protection" {
  description = "Refuse to delete the cluster until this is switched off."
  type        = bool
}

variable "log_retention_days" {
  description = "Days that control plane logs are kept."
  type        = number
}
