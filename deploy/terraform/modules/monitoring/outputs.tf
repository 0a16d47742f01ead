output "namespace" {
  description = "Namespace of Prometheus and Grafana."
  value       = helm_release.this.namespace
}

output "prometheus_url" {
  description = "Prometheus, inside the cluster."
  value       = "http://${helm_release.this.name}-prometheus.${helm_release.this.namespace}:9090"
}

output "grafana_service" {
  description = "Service of Grafana."
  value       = "${helm_release.this.name}-grafana"
}
