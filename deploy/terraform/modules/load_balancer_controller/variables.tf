variable "chart" {
  description = "AWS Load Balancer Controller."
  type        = object({ repository = string, name = string, version = string })
}

variable "cluster_name" {
  description = "The cluster."
  type        = string
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the load balancers."
  type        = string
}

variable "tags" {
  description = "Tags of every load balancer and target group."
  type        = map(string)
}
