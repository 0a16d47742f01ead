variable "cluster_name" {
  description = "The cluster."
  type        = string
}

variable "versions" {
  description = "Exact version of every add-on; see the stack's addon_versions."
  type        = map(string)
}

variable "addons" {
  description = "Add-ons by name: configuration as JSON, and the role of a service account where it needs AWS."
  type = map(object({
    configuration   = optional(string)
    service_account = optional(string)
    role_arn        = optional(string)
  }))
}
