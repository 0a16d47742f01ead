variable "gateway_chart" {
  description = "NGINX Gateway Fabric."
  type        = object({ repository = string, name = string, version = string })
}

variable "ingress_chart" {
  description = "ingress-nginx."
  type        = object({ repository = string, name = string, version = string })
}

variable "front" {
  description = "nginx-gateway-fabric, ingress-nginx or none."
  type        = string
}
