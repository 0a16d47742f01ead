variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket."
  type        = string
}

variable "cluster_name" {
  description = "The cluster whose pods read the bucket."
  type        = string
}

variable "namespace" {
  description = "Namespace of the fleet."
  type        = string
}

variable "reader_service_account" {
  description = "Service account of the serving pods: reads."
  type        = string
}

variable "writer_service_account" {
  description = "Service account of the job that copies weights: reads and writes under models/."
  type        = string
}

variable "repository_directory" {
  description = "Local folder of the rendered model repository; every file is kept in step with the bucket."
  type        = string
}
