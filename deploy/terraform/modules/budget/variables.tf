variable "name" {
  description = "Prefix of the budget's name."
  type        = string
}

variable "monthly_usd" {
  description = "Monthly limit in US dollars; 0 makes no budget."
  type        = number
}

variable "emails" {
  description = "Who is told at 50, 80 and 100 % spent and at 100 % forecast."
  type        = list(string)
}

variable "cost_allocation_tag" {
  description = "Count only what carries this tag, as KEY=VALUE; empty counts the whole account."
  type        = string
}
