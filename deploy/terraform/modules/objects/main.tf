# Kubernetes objects of any kind, as a Helm release. kubernetes_manifest would ask the cluster for every kind's
# schema at plan time, when neither the cluster nor the custom resource exists.
resource "helm_release" "this" {
  name      = var.name
  namespace = var.namespace
  chart     = "${path.module}/../../charts/objects"
  values    = [yamlencode({ objects = var.objects })]
  wait      = true
  timeout   = 300
}
