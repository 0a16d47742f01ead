variable "keda_chart" {
  description = "KEDA."
  type        = object({ repository = string, name = string, version = string })
}

variable "adapter_chart" {
  description = "prometheus-adapter."
  type        = object({ repository = string, name = string, version = string })
}

variable "lws_chart" {
  description = "LeaderWorkerSet."
  type        = object({ repository = string, name = string, version = string })
}

variable "autoscaler" {
  description = "keda or prometheus-adapter."
  type        = string
}

variable "leader_worker_set" {
  description = "Install LeaderWorkerSet, for models larger than a node."
  type        = bool
}

variable "prometheus_url" {
  description = "Prometheus, inside the cluster."
  type        = string
}
