# What makes accelerators schedulable and visible. The EKS images bring the drivers.

locals {
  nvidia_nodes = { "tritonfleet.io/accelerator" = "nvidia" }
  neuron_nodes = { "tritonfleet.io/accelerator" = "neuron" }
  neuron_taint = [{ key = "aws.amazon.com/neuron", operator = "Exists", effect = "NoSchedule" }]
  monitor      = { "app.kubernetes.io/name" = "neuron-monitor" }
}

resource "helm_release" "device_plugin" {
  count = var.nvidia ? 1 : 0

  name             = "nvidia-device-plugin"
  namespace        = "nvidia"
  create_namespace = true
  repository       = var.device_plugin_chart.repository
  chart            = var.device_plugin_chart.name
  version          = var.device_plugin_chart.version
  atomic           = true
  timeout          = 600
  values           = [yamlencode({ gfd = { enabled = true }, nodeSelector = local.nvidia_nodes })]
}

resource "helm_release" "dcgm" {
  count = var.nvidia && var.own_exporters ? 1 : 0

  name             = "dcgm-exporter"
  namespace        = "nvidia"
  create_namespace = true
  repository       = var.dcgm_chart.repository
  chart            = var.dcgm_chart.name
  version          = var.dcgm_chart.version
  atomic           = true
  timeout          = 600
  values = [yamlencode({
    nodeSelector   = local.nvidia_nodes
    tolerations    = [{ key = "nvidia.com/gpu", operator = "Exists", effect = "NoSchedule" }]
    serviceMonitor = { enabled = true, interval = "15s" }
  })]

  depends_on = [helm_release.device_plugin]
}

resource "helm_release" "neuron" {
  count = var.neuron ? 1 : 0

  name       = "neuron"
  namespace  = "kube-system"
  repository = var.neuron_chart.repository
  chart      = var.neuron_chart.name
  version    = var.neuron_chart.version
  atomic     = true
  timeout    = 600
  # The scheduler extension is for pods with several devices out of one instance's ring; we place whole instances.
  values = [yamlencode({ npd = { enabled = false }, scheduler = { enabled = false } })]
}

module "neuron_monitor" {
  source = "../objects"
  count  = var.neuron && var.own_exporters ? 1 : 0

  name = "neuron-monitor"
  objects = [
    {
      apiVersion = "apps/v1"
      kind       = "DaemonSet"
      metadata   = { name = "neuron-monitor", namespace = "kube-system", labels = local.monitor }
      spec = {
        selector = { matchLabels = local.monitor }
        template = {
          metadata = { labels = local.monitor }
          spec = {
            automountServiceAccountToken = false
            nodeSelector                 = local.neuron_nodes
            tolerations                  = local.neuron_taint
            containers = [{
              name            = "neuron-monitor"
              image           = var.neuron_monitor_image
              command         = ["/bin/sh", "-c", "neuron-monitor | neuron-monitor-prometheus.py --port 8000"]
              ports           = [{ name = "metrics", containerPort = 8000 }]
              securityContext = { privileged = true } # it reads the devices themselves
              resources       = { requests = { cpu = "100m", memory = "128Mi" }, limits = { memory = "256Mi" } }
            }]
          }
        }
      }
    },
    {
      apiVersion = "monitoring.coreos.com/v1"
      kind       = "PodMonitor"
      metadata   = { name = "neuron-monitor", namespace = "kube-system" }
      spec = {
        selector            = { matchLabels = local.monitor }
        podMetricsEndpoints = [{ port = "metrics", interval = "15s" }]
      }
    },
  ]
}
