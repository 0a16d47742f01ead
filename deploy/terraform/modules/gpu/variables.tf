variable "device_plugin_chart" {
  description = "NVIDIA device plugin."
  type        = object({ repository = string, name = string, version = string })
}

variable "dcgm_chart" {
  description = "DCGM exporter."
  type        = object({ repository = string, name = string, version = string })
}

variable "neuron_chart" {
  description = "AWS Neuron device plugin."
  type        = object({ repository = string, name = string, version = string })
}

variable "neuron_monitor_image" {
  description = "Image of neuron-monitor."
  type        = string
}

variable "nvidia" {
  description = "There are NVIDIA node pools."
  type        = bool
}

variable "neuron" {
  description = "There are Inferentia or Trainium node pools."
  type        = bool
}

variable "own_exporters" {
  description = "Export device metrics to Prometheus; off where CloudWatch's agents own the devices."
  type        = bool
}
