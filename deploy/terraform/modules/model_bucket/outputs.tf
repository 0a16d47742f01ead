output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "repository_url" {
  description = "Where the model repository lies."
  value       = "s3://${var.bucket}/${local.repository}"
}

output "weights_url" {
  description = "Where weights are kept."
  value       = "s3://${var.bucket}/${local.weights}"
}

output "repository_files" {
  description = "Files of the repository in the bucket."
  value       = length(local.files)
}
