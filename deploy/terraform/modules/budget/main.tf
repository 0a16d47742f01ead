# An alarm on the month's bill. It counts the whole account unless a cost allocation tag is given: such a tag has
# to be activated in the billing console first, and until then a budget on it reads zero and never warns.

locals {
  notifications = {
    half     = { type = "ACTUAL", percent = 50 }
    most     = { type = "ACTUAL", percent = 80 }
    spent    = { type = "ACTUAL", percent = 100 }
    forecast = { type = "FORECASTED", percent = 100 }
  }
  tag = split("=", var.cost_allocation_tag)
}

resource "aws_budgets_budget" "this" {
  count = var.monthly_usd > 0 ? 1 : 0

  name         = "${var.name}-monthly"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "cost_filter" {
    for_each = var.cost_allocation_tag == "" ? [] : [local.tag]
    content {
      name   = "TagKeyValue"
      values = [format("user:%s$%s", cost_filter.value...)] # AWS joins key and value by a dollar sign
    }
  }

  dynamic "notification" {
    for_each = local.notifications
    content {
      comparison_operator        = "GREATER_THAN"
      notification_type          = notification.value.type
      threshold                  = notification.value.percent
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.emails
    }
  }
}
