output "grafana" {
  description = "Run this, then open http://127.0.0.1:3000."
  value       = "kubectl -n ${module.monitoring.namespace} port-forward service/${module.monitoring.grafana_service} 3000:80"
}

output "prometheus" {
  description = "Run this, then open http://127.0.0.1:9090."
  value       = "kubectl -n ${module.monitoring.namespace} port-forward service/kube-prometheus-stack-prometheus 9090:9090"
}

output "prometheus_url" {
  description = "Prometheus, inside the cluster."
  value       = module.monitoring.prometheus_url
}

output "node_pools" {
  description = "Node pools by name, with the kind of machine."
  value       = module.node_pools.pools
}

output "fleet" {
  description = "What the fleet stack takes from this one."
  value = {
    secret_store   = local.secret_store
    prometheus_url = module.monitoring.prometheus_url
    autoscaler     = var.autoscaler
    front          = var.front
  }
}
