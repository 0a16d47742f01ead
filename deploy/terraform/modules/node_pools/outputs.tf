output "pools" {
  description = "Node pools by name, with the kind of machine."
  value       = merge({ general = "cpu" }, { for family, spec in local.accelerator_pools : family => spec.kind })
}
