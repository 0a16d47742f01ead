output "node_group_name" {
  description = "The managed node group."
  value       = aws_eks_node_group.this.node_group_name
}

output "cluster_name" {
  description = "The cluster, once it has nodes."
  value       = var.cluster_name
  depends_on  = [aws_eks_node_group.this]
}
