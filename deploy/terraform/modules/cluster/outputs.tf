output "name" {
  description = "The cluster, once its administrators can enter it."
  value       = aws_eks_cluster.this.name
  depends_on  = [aws_eks_access_policy_association.admin]
}

output "endpoint" {
  description = "URL of the API server."
  value       = aws_eks_cluster.this.endpoint
}

output "certificate_authority" {
  description = "The API server's CA, base64."
  value       = aws_eks_cluster.this.certificate_authority[0].data
}

output "security_group_id" {
  description = "Group of the control plane and of every node."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "public_access_cidrs" {
  description = "Addresses that reach the API server from outside; null where none do."
  value       = aws_eks_cluster.this.vpc_config[0].endpoint_public_access ? aws_eks_cluster.this.vpc_config[0].public_access_cidrs : null
}
