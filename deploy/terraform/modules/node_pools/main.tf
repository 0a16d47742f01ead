# What Karpenter may launch: a NodeClass for each kind of machine, a NodePool for each accelerator family.

locals {
  neuron_families = ["inf2", "trn1", "trn1n", "trn2"]

  kinds = {
    nvidia = {
      resource = "nvidia.com/gpu"
      families = [for family in var.accelerator_families : family if !contains(local.neuron_families, family)]
      # Default tolerations of NVIDIA's charts ask for this value; their affinity asks for the label.
      taint  = { key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }
      labels = { "nvidia.com/gpu.present" = "true" }
    }
    neuron = {
      resource = "aws.amazon.com/neuron"
      families = [for family in var.accelerator_families : family if contains(local.neuron_families, family)]
      taint    = { key = "aws.amazon.com/neuron", value = "present", effect = "NoSchedule" }
      labels   = {}
    }
  }

  accelerator_pools = merge([
    for kind, spec in local.kinds : { for family in spec.families : family => merge(spec, { kind = kind }) }
  ]...)

  # soci-snapshotter pulls and unpacks a 10 GB image in parallel; with an ordinary pull the image is most of a cold start.
  fast_image_pull = yamlencode({
    apiVersion = "node.eks.aws/v1alpha1"
    kind       = "NodeConfig"
    spec       = { featureGates = { FastImagePull = true } }
  })

  node_class = {
    amiSelectorTerms           = [{ alias = var.node_image }]
    instanceProfile            = var.instance_profile
    subnetSelectorTerms        = [for id in var.subnet_ids : { id = id }]
    securityGroupSelectorTerms = [{ id = var.security_group_id }]
    tags                       = var.tags
    metadataOptions = {
      httpEndpoint            = "enabled"
      httpTokens              = "required"
      httpPutResponseHopLimit = 1 # pods must not reach the node's credentials
    }
  }

  accelerator_class = merge(local.node_class, {
    userData            = local.fast_image_pull
    instanceStorePolicy = "RAID0" # kubelet, containerd and emptyDir on the instance's NVMe
    blockDeviceMappings = [{
      deviceName = "/dev/xvda"
      ebs = {
        volumeSize          = "${var.node_volume_gib}Gi"
        volumeType          = "gp3"
        throughput          = 1000 # MiB/s, the most that gp3 gives
        iops                = 16000
        encrypted           = true
        deleteOnTermination = true
      }
    }]
  })

  general_class = merge(local.node_class, {
    blockDeviceMappings = [{
      deviceName = "/dev/xvda"
      ebs        = { volumeSize = "60Gi", volumeType = "gp3", encrypted = true, deleteOnTermination = true }
    }]
  })

  requirement = {
    amd64 = { key = "kubernetes.io/arch", operator = "In", values = ["amd64"] }
    linux = { key = "kubernetes.io/os", operator = "In", values = ["linux"] }
  }
}

module "classes" {
  source = "../objects"

  name = "node-classes"
  objects = concat(
    [{
      apiVersion = "karpenter.k8s.aws/v1"
      kind       = "EC2NodeClass"
      metadata   = { name = "general" }
      spec       = local.general_class
    }],
    [for kind, spec in local.kinds : {
      apiVersion = "karpenter.k8s.aws/v1"
      kind       = "EC2NodeClass"
      metadata   = { name = kind }
      spec       = local.accelerator_class
    } if length(spec.families) > 0],
  )
}

module "pools" {
  source = "../objects"

  name = "node-pools"
  objects = concat(
    [{
      apiVersion = "karpenter.sh/v1"
      kind       = "NodePool"
      metadata   = { name = "general" }
      spec = {
        template = {
          metadata = { labels = { "tritonfleet.io/pool" = "general" } }
          spec = {
            nodeClassRef           = { group = "karpenter.k8s.aws", kind = "EC2NodeClass", name = "general" }
            expireAfter            = var.expire_after
            terminationGracePeriod = "1h"
            requirements = [
              local.requirement.amd64,
              local.requirement.linux,
              { key = "karpenter.sh/capacity-type", operator = "In", values = ["on-demand"] },
              { key = "karpenter.k8s.aws/instance-category", operator = "In", values = ["c", "m", "r"] },
              { key = "karpenter.k8s.aws/instance-generation", operator = "Gt", values = ["5"] },
            ]
          }
        }
        limits = { cpu = tostring(var.cpu_limit) }
        disruption = {
          consolidationPolicy = "WhenEmptyOrUnderutilized"
          consolidateAfter    = "5m"
          budgets             = [{ nodes = "1" }]
        }
      }
    }],
    [for family, spec in local.accelerator_pools : {
      apiVersion = "karpenter.sh/v1"
      kind       = "NodePool"
      metadata   = { name = family }
      spec = {
        template = {
          metadata = {
            labels = merge({ "tritonfleet.io/pool" = family, "tritonfleet.io/accelerator" = spec.kind }, spec.labels)
          }
          spec = {
            nodeClassRef           = { group = "karpenter.k8s.aws", kind = "EC2NodeClass", name = spec.kind }
            expireAfter            = var.expire_after
            terminationGracePeriod = "1h" # do-not-disrupt pods hold a node no longer than this
            taints                 = [spec.taint]
            requirements = [
              local.requirement.amd64,
              local.requirement.linux,
              { key = "karpenter.sh/capacity-type", operator = "In", values = var.capacity_types },
              { key = "karpenter.k8s.aws/instance-family", operator = "In", values = [family] },
            ]
          }
        }
        limits = { (spec.resource) = tostring(var.accelerator_limit) }
        # A model takes minutes to load: only an empty node goes, one at a time.
        disruption = {
          consolidationPolicy = "WhenEmpty"
          consolidateAfter    = "10m"
          budgets             = [{ nodes = "1" }]
        }
      }
    }],
  )

  depends_on = [module.classes]
}
