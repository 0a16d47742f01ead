variable "name" {
  description = "Prefix of every secret's name."
  type        = string
}

variable "versions" {
  description = "Secrets by name, with a number that is raised to write a new value."
  type        = map(number)
}

variable "values" {
  description = "Values by name. Ephemeral: in no state, plan or log."
  type        = map(string)
  ephemeral   = true
  sensitive   = true
}

variable "recovery_window_days" {
  description = "Days that a deleted secret can be brought back; its name is taken until then."
  type        = number
}

variable "cluster_name" {
  description = "The cluster whose External Secrets Operator reads them."
  type        = string
}

variable "namespace" {
  description = "Namespace of the External Secrets Operator."
  type        = string
}

variable "service_account" {
  description = "Service account of the External Secrets Operator."
  type        = string
}
