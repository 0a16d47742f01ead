output "store_name" {
  description = "The ClusterSecretStore, once it exists."
  value       = var.store_name
  depends_on  = [module.store]
}
