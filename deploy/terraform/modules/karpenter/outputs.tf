output "queue_name" {
  description = "Queue of interruption notices."
  value       = aws_sqs_queue.this.name
}

output "node_instance_profile" {
  description = "Instance profile of Karpenter's nodes."
  value       = aws_iam_instance_profile.node.name
}
