variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "cluster_name" {
  description = "The cluster that the nodes join."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two or more zones."
  type        = list(string)
}

variable "kubernetes_version" {
  description = "Kubernetes minor version."
  type        = string
}

variable "release_version" {
  description = "Pinned AMI release, such as 1.36.2-20260714."
  type        = string
}

variable "instance_types" {
  description = "Instance types of the system nodes."
  type        = list(string)
}

variable "size" {
  description = "Nodes at least, at first and at most."
  type        = object({ minimum = number, desired = number, maximum = number })
}
