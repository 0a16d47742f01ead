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

output "nat_routes" {
  description = "The way out of each zone's private subnet."
  value       = { for zone, route in aws_route.nat : zone => { nat_gateway_id = route.nat_gateway_id } }
}
