output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "One per zone, in the order of the zones."
  value       = [for zone in var.zones : aws_subnet.private[zone].id]

  # Nodes that start before the routes exist cannot pull their first image.
  depends_on = [aws_route.nat, aws_route_table_association.private]
}
