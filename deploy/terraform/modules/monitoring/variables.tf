variable "chart" {
  description = "kube-prometheus-stack."
  type        = object({ repository = string, name = string, version = string })
}

variable "secret_store" {
  description = "ClusterSecretStore with Grafana's password."
  type        = string
}

variable "grafana_secret" {
  description = "Secrets Manager entry with admin-user and admin-password."
  type        = string
}

variable "retention_days" {
  description = "Days that Prometheus keeps series."
  type        = number
}

variable "volume_gib" {
  description = "Size of Prometheus's volume in GiB."
  type        = number
}
