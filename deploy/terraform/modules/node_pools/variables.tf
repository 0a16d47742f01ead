variable "cluster_name" {
  description = "The cluster."
  type        = string
}

variable "tags" {
  description = "Tags of every instance and volume."
  type        = map(string)
}

variable "node_image" {
  description = "Pinned AMI alias, such as al2023@v20260714."
  type        = string
}

variable "instance_profile" {
  description = "Instance profile of the nodes."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two or more zones."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the nodes."
  type        = string
}

variable "accelerator_families" {
  description = "Instance families with GPUs or Neuron devices; one node pool each."
  type        = list(string)
}

variable "accelerator_limit" {
  description = "GPUs or Neuron devices that one pool may hold."
  type        = number
}

variable "capacity_types" {
  description = "on-demand, spot, reserved: what accelerator nodes may be."
  type        = list(string)
}

variable "cpu_limit" {
  description = "vCPUs that the general pool may hold."
  type        = number
}

variable "node_volume_gib" {
  description = "Root volume of accelerator nodes in GiB: images, and weights where the instance has no NVMe."
  type        = number
}

variable "expire_after" {
  description = "Age at which a node is replaced."
  type        = string
}
