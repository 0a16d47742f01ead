# Prometheus, Alertmanager and Grafana. Every ServiceMonitor, PodMonitor, rule and dashboard of the cluster is taken.

locals {
  namespace = "monitoring"
}

# Encrypted gp3 for everything that asks for a volume.
module "base" {
  source = "../objects"

  name = "monitoring-base"
  objects = [
    {
      apiVersion = "v1"
      kind       = "Namespace"
      # node-exporter reads the host, so this namespace cannot be restricted.
      metadata = { name = local.namespace, labels = { "pod-security.kubernetes.io/enforce" = "privileged" } }
    },
    {
      apiVersion           = "storage.k8s.io/v1"
      kind                 = "StorageClass"
      metadata             = { name = "gp3", annotations = { "storageclass.kubernetes.io/is-default-class" = "true" } }
      provisioner          = "ebs.csi.aws.com"
      parameters           = { type = "gp3", encrypted = "true" }
      reclaimPolicy        = "Delete"
      volumeBindingMode    = "WaitForFirstConsumer"
      allowVolumeExpansion = true
    },
    {
      apiVersion = "external-secrets.io/v1"
      kind       = "ExternalSecret"
      metadata   = { name = "grafana-admin", namespace = local.namespace }
      spec = {
        refreshInterval = "1h"
        secretStoreRef  = { kind = "ClusterSecretStore", name = var.secret_store }
        target          = { name = "grafana-admin" }
        dataFrom        = [{ extract = { key = var.grafana_secret } }]
      }
    },
  ]
}

resource "helm_release" "this" {
  name       = "kube-prometheus-stack"
  namespace  = local.namespace
  repository = var.chart.repository
  chart      = var.chart.name
  version    = var.chart.version
  atomic     = true
  timeout    = 900
  values = [yamlencode({
    # EKS runs these where nobody can scrape them; their alerts would always fire.
    kubeControllerManager = { enabled = false }
    kubeEtcd              = { enabled = false }
    kubeScheduler         = { enabled = false }
    kubeProxy             = { enabled = false }
    grafana = {
      admin   = { existingSecret = "grafana-admin", userKey = "admin-user", passwordKey = "admin-password" }
      sidecar = { dashboards = { enabled = true, label = "grafana_dashboard", labelValue = "1", searchNamespace = "ALL" } }
    }
    prometheus = {
      prometheusSpec = {
        retention                               = "${var.retention_days}d"
        retentionSize                           = "${floor(var.volume_gib * 0.85)}GiB"
        podMonitorSelectorNilUsesHelmValues     = false
        probeSelectorNilUsesHelmValues          = false
        ruleSelectorNilUsesHelmValues           = false
        scrapeConfigSelectorNilUsesHelmValues   = false
        serviceMonitorSelectorNilUsesHelmValues = false
        storageSpec = {
          volumeClaimTemplate = {
            spec = {
              storageClassName = "gp3"
              accessModes      = ["ReadWriteOnce"]
              resources        = { requests = { storage = "${var.volume_gib}Gi" } }
            }
          }
        }
      }
    }
  })]

  depends_on = [module.base]
}
