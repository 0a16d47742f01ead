output "names" {
  description = "Add-ons that are active."
  value       = [for addon in aws_eks_addon.this : addon.addon_name]
}
