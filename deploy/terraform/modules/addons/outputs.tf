output "names" {
  description = "Add-ons that are active."
  value       = [for addon in aws_eks_addon.this : addon.addon_name]
}

output "cluster_name" {
  description = "The cluster, once the add-ons are active."
  value       = var.cluster_name
  depends_on  = [aws_eks_addon.this]
}
