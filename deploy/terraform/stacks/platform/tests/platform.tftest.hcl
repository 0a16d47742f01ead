# The whole stack applied against mocks: what each switch installs, and what every input refuses.

mock_provider "helm" {}

variables {
  region = "us-west-2"
  infrastructure = {
    cluster_name                  = "tritonfleet"
    cluster_endpoint              = "https://mock.eks.amazonaws.com"
    cluster_certificate_authority = "bW9jaw=="
    cluster_security_group_id     = "sg-0123"
    vpc_id                        = "vpc-0123"
    private_subnet_ids            = ["subnet-a", "subnet-b"]
    node_instance_profile         = "tritonfleet-karpenter-node"
    interruption_queue            = "tritonfleet-interruptions"
    secret_names                  = { grafana-admin = "tritonfleet/grafana-admin" }
  }
}

run "defaults" {
  command = apply

  assert {
    condition     = output.node_pools == { general = "cpu", g6 = "nvidia" }
    error_message = "the default pools are general and g6"
  }
  assert {
    condition     = output.prometheus_url == "http://kube-prometheus-stack-prometheus.monitoring:9090"
    error_message = "KEDA and the fleet find Prometheus by this URL"
  }
  assert {
    condition     = output.grafana == "kubectl -n monitoring port-forward service/kube-prometheus-stack-grafana 3000:80"
    error_message = "the guide's command for Grafana"
  }
  assert {
    condition     = output.fleet.front == "nginx-gateway-fabric"
    error_message = "the Gateway API is the default front"
  }
}

run "neuron_pools" {
  command = apply

  variables {
    accelerator_families = ["inf2", "trn1"]
  }

  assert {
    condition     = output.node_pools == { general = "cpu", inf2 = "neuron", trn1 = "neuron" }
    error_message = "Inferentia and Trainium pools"
  }
}

run "unknown_family" {
  command = plan
  variables { accelerator_families = ["g4dn"] }
  expect_failures = [var.accelerator_families]
}

run "no_limit" {
  command = plan
  variables { accelerator_limit = 0 }
  expect_failures = [var.accelerator_limit]
}

run "unknown_capacity" {
  command = plan
  variables { capacity_types = ["free"] }
  expect_failures = [var.capacity_types]
}

run "floating_image" {
  command = plan
  variables { node_image = "al2023@latest" }
  expect_failures = [var.node_image]
}

run "small_volume" {
  command = plan
  variables { node_volume_gib = 20 }
  expect_failures = [var.node_volume_gib]
}

run "unknown_autoscaler" {
  command = plan
  variables { autoscaler = "cron" }
  expect_failures = [var.autoscaler]
}

run "unknown_front" {
  command = plan
  variables { front = "envoy" }
  expect_failures = [var.front]
}

run "no_retention" {
  command = plan
  variables { prometheus_retention_days = 0 }
  expect_failures = [var.prometheus_retention_days]
}

run "tiny_prometheus" {
  command = plan
  variables { prometheus_volume_gib = 1 }
  expect_failures = [var.prometheus_volume_gib]
}

run "one_subnet" {
  command = plan
  variables {
    infrastructure = {
      cluster_name                  = "tritonfleet"
      cluster_endpoint              = "https://mock.eks.amazonaws.com"
      cluster_certificate_authority = "bW9jaw=="
      cluster_security_group_id     = "sg-0123"
      vpc_id                        = "vpc-0123"
      private_subnet_ids            = ["subnet-a"]
      node_instance_profile         = "tritonfleet-karpenter-node"
      interruption_queue            = "tritonfleet-interruptions"
      secret_names                  = { grafana-admin = "tritonfleet/grafana-admin" }
    }
  }
  expect_failures = [var.infrastructure]
}
