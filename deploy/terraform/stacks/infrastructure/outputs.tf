output "configure_kubectl" {
  description = "Run this to point kubectl at the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${module.cluster.name}"
}

output "cluster_name" {
  description = "The EKS cluster."
  value       = module.cluster.name
}

output "region" {
  description = "The AWS region."
  value       = var.region
}

output "cluster_endpoint" {
  description = "URL of the API server."
  value       = module.cluster.endpoint
}

output "grafana_secret_name" {
  description = "Secrets Manager entry with Grafana's user and password."
  value       = module.secrets.names["grafana-admin"]
}

output "model_bucket" {
  description = "Bucket of the model repository and of the weights."
  value       = module.model_bucket.bucket
}

output "model_repository_url" {
  description = "Where the model repository lies."
  value       = module.model_bucket.repository_url
}

output "secret_versions" {
  description = "Numbers of the secrets that were written; install.sh repeats them."
  value       = module.secrets.versions
}

output "platform" {
  description = "What the platform stack takes from this one."
  value = {
    cluster_name                  = module.cluster.name
    cluster_endpoint              = module.cluster.endpoint
    cluster_certificate_authority = module.cluster.certificate_authority
    cluster_security_group_id     = module.cluster.security_group_id
    vpc_id                        = module.network.vpc_id
    private_subnet_ids            = module.network.private_subnet_ids
    node_instance_profile         = module.karpenter.node_instance_profile
    interruption_queue            = module.karpenter.queue_name
    secret_names                  = module.secrets.names
  }
}

output "fleet" {
  description = "What the fleet stack takes from this one."
  value = {
    cluster_name                  = module.cluster.name
    cluster_endpoint              = module.cluster.endpoint
    cluster_certificate_authority = module.cluster.certificate_authority
    model_bucket                  = module.model_bucket.bucket
    model_repository_url          = module.model_bucket.repository_url
    weights_url                   = module.model_bucket.weights_url
    secret_names                  = module.secrets.names
  }
}
