output "name" {
  description = "The budget, or null."
  value       = one(aws_budgets_budget.this[*].name)
}
