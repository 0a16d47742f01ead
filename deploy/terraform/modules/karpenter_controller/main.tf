# Karpenter. Its custom resources have a chart of their own: Helm never upgrades what lies in a chart's crds folder.
resource "helm_release" "crds" {
  name       = "karpenter-crd"
  namespace  = "kube-system"
  repository = var.crd_chart.repository
  chart      = var.crd_chart.name
  version    = var.crd_chart.version
  timeout    = 300
}

resource "helm_release" "this" {
  name       = "karpenter"
  namespace  = "kube-system"
  repository = var.controller_chart.repository
  chart      = var.controller_chart.name
  version    = var.controller_chart.version
  skip_crds  = true
  atomic     = true
  timeout    = 600
  values = [yamlencode({
    replicas          = 2
    priorityClassName = "system-cluster-critical"
    serviceAccount    = { name = "karpenter" }
    serviceMonitor    = { enabled = true }
    settings = {
      clusterName       = var.cluster_name
      clusterEndpoint   = var.cluster_endpoint
      interruptionQueue = var.interruption_queue
    }
  })]

  depends_on = [helm_release.crds]
}
