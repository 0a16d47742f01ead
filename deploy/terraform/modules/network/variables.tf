variable "name" {
  description = "Prefix of every name, and the value of the cluster tag."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC, /16 to /18."
  type        = string
}

variable "zones" {
  description = "Availability zones; one private and one public subnet in each."
  type        = list(string)
}

variable "nat_per_zone" {
  description = "One NAT gateway per zone instead of one for all: no shared failure, a higher bill."
  type        = bool
}

variable "interface_endpoints" {
  description = "AWS services reached without NAT, such as ecr.api."
  type        = list(string)
}

variable "readable_bucket_arns" {
  description = "Buckets, beside AWS's own image layers, that the S3 endpoint lets through."
  type        = list(string)
}
