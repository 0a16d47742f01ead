output "role_arn" {
  description = "The role."
  value       = aws_iam_role.this.arn

  # A pod that starts before its policies are attached fails and backs off.
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.managed]
}
