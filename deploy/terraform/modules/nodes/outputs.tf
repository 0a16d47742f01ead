output "node_group_name" {
  description = "The managed node group."
  value       = aws_eks_node_group.this.node_group_name
}
