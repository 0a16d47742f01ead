# What runs in the cluster before the fleet: controllers, node pools, monitoring. Only the Kubernetes API is used.

locals {
  secret_store = "tritonfleet"
  tags         = merge(var.tags, { "tritonfleet.io/fleet" = var.name })
  neuron       = ["inf2", "trn1", "trn1n", "trn2"]
  has_neuron   = length(setintersection(var.accelerator_families, local.neuron)) > 0
  has_nvidia   = length(setsubtract(var.accelerator_families, local.neuron)) > 0
}

module "external_secrets" {
  source = "../../modules/external_secrets"

  chart              = local.charts.external_secrets
  region             = var.region
  store_name         = local.secret_store
  allowed_namespaces = ["monitoring", var.namespace]
}

# Before the rest: they bring ServiceMonitors.
module "monitoring" {
  source = "../../modules/monitoring"

  chart          = local.charts.prometheus
  secret_store   = module.external_secrets.store_name
  grafana_secret = var.infrastructure.secret_names["grafana-admin"]
  retention_days = var.prometheus_retention_days
  volume_gib     = var.prometheus_volume_gib
}

module "load_balancer_controller" {
  source = "../../modules/load_balancer_controller"

  chart        = local.charts.load_balancer_controller
  cluster_name = var.infrastructure.cluster_name
  region       = var.region
  vpc_id       = var.infrastructure.vpc_id
  tags         = local.tags
}

module "karpenter" {
  source = "../../modules/karpenter_controller"

  crd_chart          = local.charts.karpenter_crds
  controller_chart   = local.charts.karpenter
  cluster_name       = var.infrastructure.cluster_name
  cluster_endpoint   = var.infrastructure.cluster_endpoint
  interruption_queue = var.infrastructure.interruption_queue

  depends_on = [module.monitoring]
}

module "node_pools" {
  source = "../../modules/node_pools"

  cluster_name         = var.infrastructure.cluster_name
  tags                 = local.tags
  node_image           = var.node_image
  instance_profile     = var.infrastructure.node_instance_profile
  subnet_ids           = var.infrastructure.private_subnet_ids
  security_group_id    = var.infrastructure.cluster_security_group_id
  accelerator_families = var.accelerator_families
  accelerator_limit    = var.accelerator_limit
  capacity_types       = var.capacity_types
  cpu_limit            = var.general_cpu_limit
  node_volume_gib      = var.node_volume_gib
  expire_after         = var.node_expire_after

  depends_on = [module.karpenter]
}

module "gpu" {
  source = "../../modules/gpu"

  device_plugin_chart  = local.charts.nvidia_device_plugin
  dcgm_chart           = local.charts.dcgm_exporter
  neuron_chart         = local.charts.neuron
  neuron_monitor_image = local.neuron_monitor_image
  nvidia               = local.has_nvidia
  neuron               = local.has_neuron
  own_exporters        = !var.cloudwatch_observability

  depends_on = [module.monitoring]
}

module "autoscaling" {
  source = "../../modules/autoscaling"

  keda_chart        = local.charts.keda
  adapter_chart     = local.charts.prometheus_adapter
  lws_chart         = local.charts.leader_worker_set
  autoscaler        = var.autoscaler
  leader_worker_set = var.leader_worker_set
  prometheus_url    = module.monitoring.prometheus_url
}

module "front" {
  source = "../../modules/front"

  gateway_chart = local.charts.nginx_gateway_fabric
  ingress_chart = local.charts.ingress_nginx
  front         = var.front

  depends_on = [module.load_balancer_controller]
}
