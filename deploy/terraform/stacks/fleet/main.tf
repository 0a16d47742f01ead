# The fleet: its namespace, dashboards and chart. Destroying this stack takes the load balancer and the pods, while
# the controllers that clean up after them still run.

locals {
  dashboards = var.dashboards_directory == "" ? toset([]) : fileset(var.dashboards_directory, "*.json")
  rules      = var.dashboards_directory == "" ? toset([]) : fileset(var.dashboards_directory, "*.yaml")
  labels     = { "app.kubernetes.io/part-of" = "tritonfleet", "app.kubernetes.io/instance" = var.name }
}

module "namespace" {
  source = "../../modules/objects"

  name = "${var.name}-namespace"
  objects = [{
    apiVersion = "v1"
    kind       = "Namespace"
    metadata = {
      name   = var.namespace
      labels = merge(local.labels, { for mode in ["enforce", "audit", "warn"] : "pod-security.kubernetes.io/${mode}" => "restricted" })
    }
  }]
}

module "dashboards" {
  source = "../../modules/objects"

  name      = "${var.name}-dashboards"
  namespace = "monitoring"
  objects = concat(
    [for file in sort(local.dashboards) : {
      apiVersion = "v1"
      kind       = "ConfigMap"
      metadata = {
        name      = "${var.name}-${trimsuffix(file, ".json")}"
        namespace = "monitoring"
        labels    = merge(local.labels, { grafana_dashboard = "1" })
      }
      data = { (file) = file("${var.dashboards_directory}/${file}") }
    }],
    [for file in sort(local.rules) : {
      apiVersion = "monitoring.coreos.com/v1"
      kind       = "PrometheusRule"
      metadata   = { name = "${var.name}-${trimsuffix(file, ".yaml")}", namespace = "monitoring", labels = local.labels }
      spec       = yamldecode(file("${var.dashboards_directory}/${file}"))
    }],
  )
}

resource "helm_release" "fleet" {
  name      = var.name
  namespace = var.namespace
  chart     = var.chart
  wait      = true
  timeout   = var.timeout_minutes * 60
  # Not atomic: a model that fails to load must stay to be looked at, and the others keep serving.
  atomic = false
  values = [
    file(var.values_file),
    # What only the deployment knows. The chart's schema takes this section.
    yamlencode({
      aws = {
        region             = var.region
        modelBucket        = var.infrastructure.model_bucket
        modelRepositoryUrl = var.infrastructure.model_repository_url
        weightsUrl         = var.infrastructure.weights_url
        secretStore        = var.platform.secret_store
        secrets            = var.infrastructure.secret_names
        prometheusUrl      = var.platform.prometheus_url
        autoscaler         = var.platform.autoscaler
        front              = var.platform.front
      }
    }),
  ]

  depends_on = [module.namespace, module.dashboards]
}
