# The fleet's release, from a rendered folder.

mock_provider "helm" {}

variables {
  region      = "us-west-2"
  chart       = "../../../helm/tritonfleet"
  values_file = "tests/rendered/values.yaml"
  infrastructure = {
    cluster_name                  = "tritonfleet"
    cluster_endpoint              = "https://mock.eks.amazonaws.com"
    cluster_certificate_authority = "bW9jaw=="
    model_bucket                  = "tritonfleet-models-111122223333-us-west-2"
    model_repository_url          = "s3://tritonfleet-models-111122223333-us-west-2/model_repository"
    weights_url                   = "s3://tritonfleet-models-111122223333-us-west-2/models"
    secret_names                  = { grafana-admin = "tritonfleet/grafana-admin" }
  }
  platform = {
    secret_store   = "tritonfleet"
    prometheus_url = "http://kube-prometheus-stack-prometheus.monitoring:9090"
    autoscaler     = "keda"
    front          = "nginx-gateway-fabric"
  }
}

run "release" {
  command = apply

  variables {
    dashboards_directory = "tests/rendered/dashboards"
  }

  assert {
    condition     = yamldecode(helm_release.fleet.values[0]).pools.llama2.models == ["llama2"]
    error_message = "the rendered values come first"
  }
  assert {
    condition     = yamldecode(helm_release.fleet.values[1]).aws.modelBucket == "tritonfleet-models-111122223333-us-west-2"
    error_message = "the chart gets the bucket"
  }
  assert {
    condition     = helm_release.fleet.timeout == 2700
    error_message = "new GPU nodes and weights take longer than Helm's five minutes"
  }
  assert {
    condition     = output.namespace == "tritonfleet"
    error_message = "the fleet has a namespace of its own"
  }
}

run "missing_values" {
  command = plan
  variables { values_file = "tests/rendered/nothing.yaml" }
  expect_failures = [var.values_file]
}

run "system_namespace" {
  command = plan
  variables { namespace = "kube-system" }
  expect_failures = [var.namespace]
}

run "short_timeout" {
  command = plan
  variables { timeout_minutes = 1 }
  expect_failures = [var.timeout_minutes]
}
