# SPDX-License-Identifier: Apache-2.0
# What EKS itself keeps in a cluster. Versions: what var.addon_versions says, else the one that is EKS's default for this
# Kubernetes; deploy/up records those that it found, so that they change when somebody wants it.

locals {
  addons = {
    vpc-cni                = { enableNetworkPolicy = "true" } # without it network.yaml is only paper
    kube-proxy             = null
    eks-pod-identity-agent = null
    coredns                = null
    metrics-server         = null
    # By this tag deploy/down finds volumes that stayed behind.
    aws-ebs-csi-driver = { controller = { extraVolumeTags = { "millrace:cluster" = var.name } } }
    aws-efs-csi-driver = null
  }
  before_nodes = ["vpc-cni", "kube-proxy", "eks-pod-identity-agent"] # nodes are not ready without
}

data "aws_eks_addon_version" "this" {
  for_each = setsubtract(keys(local.addons), keys(var.addon_versions))

  addon_name         = each.key
  kubernetes_version = var.kubernetes_version
}

locals {
  addon_versions = {
    for name in keys(local.addons) :
    name => contains(keys(var.addon_versions), name) ? var.addon_versions[name] : data.aws_eks_addon_version.this[name].version
  }
}

resource "aws_eks_addon" "before_nodes" {
  for_each = toset(local.before_nodes)

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = local.addon_versions[each.key]
  configuration_values        = local.addons[each.key] == null ? null : jsonencode(local.addons[each.key])
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"
}

resource "aws_eks_addon" "on_nodes" {
  for_each = setsubtract(keys(local.addons), local.before_nodes)

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = local.addon_versions[each.key]
  configuration_values        = local.addons[each.key] == null ? null : jsonencode(local.addons[each.key])
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  depends_on = [aws_eks_node_group.system, aws_eks_pod_identity_association.this]
}
