# Every chart and image of the platform, by exact version.

locals {
  charts = {
    karpenter_crds = {
      repository = "oci://public.ecr.aws/karpenter"
      name       = "karpenter-crd"
      version    = "1.14.1"
    }
    karpenter = {
      repository = "oci://public.ecr.aws/karpenter"
      name       = "karpenter"
      version    = "1.14.1"
    }
    load_balancer_controller = {
      repository = "https://aws.github.io/eks-charts"
      name       = "aws-load-balancer-controller"
      version    = "3.5.0"
    }
    external_secrets = {
      repository = "https://charts.external-secrets.io"
      name       = "external-secrets"
      version    = "2.9.0"
    }
    nvidia_device_plugin = {
      repository = "https://nvidia.github.io/k8s-device-plugin"
      name       = "nvidia-device-plugin"
      version    = "0.20.0"
    }
    dcgm_exporter = {
      repository = "https://nvidia.github.io/dcgm-exporter/helm-charts"
      name       = "dcgm-exporter"
      version    = "4.8.2"
    }
    neuron = {
      repository = "oci://public.ecr.aws/neuron"
      name       = "neuron-helm-chart"
      version    = "1.10.0"
    }
    prometheus = {
      repository = "https://prometheus-community.github.io/helm-charts"
      name       = "kube-prometheus-stack"
      version    = "88.5.3"
    }
    prometheus_adapter = {
      repository = "https://prometheus-community.github.io/helm-charts"
      name       = "prometheus-adapter"
      version    = "5.3.0"
    }
    keda = {
      repository = "https://kedacore.github.io/charts"
      name       = "keda"
      version    = "2.20.2"
    }
    leader_worker_set = {
      repository = "oci://registry.k8s.io/lws/charts"
      name       = "lws"
      version    = "0.10.0"
    }
    nginx_gateway_fabric = {
      repository = "oci://ghcr.io/nginx/charts"
      name       = "nginx-gateway-fabric"
      version    = "2.6.7"
    }
    ingress_nginx = {
      repository = "https://kubernetes.github.io/ingress-nginx"
      name       = "ingress-nginx"
      version    = "4.15.1"
    }
  }

  neuron_monitor_image = "public.ecr.aws/neuron/neuron-monitor:1.11.0"
}
