variable "chart" {
  description = "External Secrets Operator."
  type        = object({ repository = string, name = string, version = string })
}

variable "region" {
  description = "AWS region of Secrets Manager."
  type        = string
}

variable "store_name" {
  description = "Name of the ClusterSecretStore."
  type        = string
}

variable "allowed_namespaces" {
  description = "Namespaces that may use the store."
  type        = list(string)
}
