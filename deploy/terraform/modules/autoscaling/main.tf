# What turns engine metrics into replicas. KEDA is the default: it scales to zero and says when a metric is missing.

locals {
  prometheus = regex("^(?P<url>http://[^:]+):(?P<port>[0-9]+)$", var.prometheus_url)
}

resource "helm_release" "keda" {
  count = var.autoscaler == "keda" ? 1 : 0

  name             = "keda"
  namespace        = "keda"
  create_namespace = true
  repository       = var.keda_chart.repository
  chart            = var.keda_chart.name
  version          = var.keda_chart.version
  atomic           = true
  timeout          = 600
  values           = [yamlencode({ operator = { replicaCount = 2 } })]
}

resource "helm_release" "adapter" {
  count = var.autoscaler == "prometheus-adapter" ? 1 : 0

  name       = "prometheus-adapter"
  namespace  = "monitoring"
  repository = var.adapter_chart.repository
  chart      = var.adapter_chart.name
  version    = var.adapter_chart.version
  atomic     = true
  timeout    = 600
  values = [yamlencode({
    prometheus = { url = local.prometheus.url, port = tonumber(local.prometheus.port) }
    rules = {
      default = false
      # A ':' is no part of a metric's name in the Kubernetes API: vllm:num_requests_waiting is vllm_num_requests_waiting.
      custom = [{
        seriesQuery  = "{__name__=~\"^vllm:(num_requests_(running|waiting)|kv_cache_usage_perc)$\",namespace!=\"\",pod!=\"\"}"
        resources    = { overrides = { namespace = { resource = "namespace" }, pod = { resource = "pod" } } }
        name         = { matches = "^vllm:(.*)$", as = "vllm_$1" }
        metricsQuery = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)"
      }]
    }
  })]
}

resource "helm_release" "lws" {
  count = var.leader_worker_set ? 1 : 0

  name             = "lws"
  namespace        = "lws-system"
  create_namespace = true
  repository       = var.lws_chart.repository
  chart            = var.lws_chart.name
  version          = var.lws_chart.version
  atomic           = true
  timeout          = 600
}
