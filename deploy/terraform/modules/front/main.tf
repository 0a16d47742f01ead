# The proxy behind the load balancer. The fleet's chart makes the Gateway, or the Ingress, and with it the balancer.

resource "helm_release" "gateway" {
  count = var.front == "nginx-gateway-fabric" ? 1 : 0

  name             = "nginx-gateway-fabric"
  namespace        = "nginx-gateway"
  create_namespace = true
  repository       = var.gateway_chart.repository
  chart            = var.gateway_chart.name
  version          = var.gateway_chart.version
  atomic           = true
  timeout          = 600
  values = [yamlencode({
    nginxGateway = {
      productTelemetry = { enable = false }
      # The fleet's chart sets gRPC's timeouts by a SnippetsPolicy: no policy of its own has them.
      snippets = { enable = true }
    }
  })]
}

# Retired upstream in March 2026: here for those who have to keep Ingress for a while.
resource "helm_release" "ingress" {
  count = var.front == "ingress-nginx" ? 1 : 0

  name             = "ingress-nginx"
  namespace        = "ingress-nginx"
  create_namespace = true
  repository       = var.ingress_chart.repository
  chart            = var.ingress_chart.name
  version          = var.ingress_chart.version
  atomic           = true
  timeout          = 600
  values = [yamlencode({
    controller = {
      # A gRPC stream is one long body; no annotation has this. As front.timeout of the fleet's chart.
      config = { client-body-timeout = "3600" }
      service = {
        annotations = {
          "service.beta.kubernetes.io/aws-load-balancer-type"            = "external"
          "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type" = "ip"
          "service.beta.kubernetes.io/aws-load-balancer-scheme"          = "internal"
        }
      }
    }
  })]
}
