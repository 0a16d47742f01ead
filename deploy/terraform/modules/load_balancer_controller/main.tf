# Makes a Network Load Balancer of a Service. Region and VPC are given: pods cannot ask the instance metadata.
resource "helm_release" "this" {
  name       = "aws-load-balancer-controller"
  namespace  = "kube-system"
  repository = var.chart.repository
  chart      = var.chart.name
  version    = var.chart.version
  atomic     = true
  timeout    = 600
  values = [yamlencode({
    clusterName                 = var.cluster_name
    region                      = var.region
    vpcId                       = var.vpc_id
    replicaCount                = 2
    serviceAccount              = { create = true, name = "aws-load-balancer-controller" }
    defaultTargetType           = "ip"
    defaultTags                 = var.tags
    enableServiceMutatorWebhook = false # a Service says itself which controller makes its balancer
    enableShield                = false
    enableWaf                   = false
    enableWafv2                 = false
  })]
}
