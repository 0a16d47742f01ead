# Secrets Manager to Kubernetes Secrets. The operator's own Pod Identity is the only credential.
resource "helm_release" "this" {
  name             = "external-secrets"
  namespace        = "external-secrets"
  create_namespace = true
  repository       = var.chart.repository
  chart            = var.chart.name
  version          = var.chart.version
  atomic           = true
  timeout          = 600
  values           = [yamlencode({ installCRDs = true, serviceAccount = { name = "external-secrets" } })]
}

module "store" {
  source = "../objects"

  name      = "secret-store"
  namespace = helm_release.this.namespace
  objects = [{
    apiVersion = "external-secrets.io/v1"
    kind       = "ClusterSecretStore"
    metadata   = { name = var.store_name }
    spec = {
      conditions = [{ namespaces = var.allowed_namespaces }]
      provider   = { aws = { service = "SecretsManager", region = var.region } }
    }
  }]
}
