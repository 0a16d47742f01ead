output "release" {
  description = "The Helm release."
  value       = helm_release.fleet.name
}

output "namespace" {
  description = "Namespace of the fleet."
  value       = helm_release.fleet.namespace
}

output "endpoint_command" {
  description = "Run this for the load balancer's name."
  value       = "kubectl -n ${helm_release.fleet.namespace} get gateways.gateway.networking.k8s.io -o jsonpath='{.items[0].status.addresses[0].value}'"
}

output "status_command" {
  description = "Run this to see pods, autoscalers and nodes."
  value       = "kubectl -n ${helm_release.fleet.namespace} get pods,hpa,scaledobjects; kubectl get nodeclaims -o wide"
}
