output "names" {
  description = "Full secret names by short name."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.name }
}

output "versions" {
  description = "Version numbers that were written; a later run without new values repeats them."
  value       = var.versions
}
