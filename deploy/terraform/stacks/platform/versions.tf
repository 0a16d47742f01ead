terraform {
  required_version = ">= 1.11"

  required_providers {
    helm = {
      source  = "hashicorp/helm"
      version = "3.1.1"
    }
  }
}

provider "helm" {
  kubernetes = {
    host                   = var.infrastructure.cluster_endpoint
    cluster_ca_certificate = base64decode(var.infrastructure.cluster_certificate_authority)
    # A token for each call: one in a variable would end in the middle of a long apply.
    exec = {
      api_version = "client.authentication.k8s.io/v1beta1"
      command     = "aws"
      args        = ["eks", "get-token", "--region", var.region, "--cluster-name", var.infrastructure.cluster_name]
    }
  }
}
