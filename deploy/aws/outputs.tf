# SPDX-License-Identifier: Apache-2.0
# What deploy/up and workflows go on with.

output "cluster" {
  value = aws_eks_cluster.this.name
}

output "region" {
  value = var.region
}

output "kubernetes_version" {
  value = var.kubernetes_version
}

output "file_system" {
  value = aws_efs_file_system.blobs.id
}

output "source_ranges" {
  description = "comma separated, as k8s/overlays/eks/eks.env has them"
  value       = join(",", var.source_ranges)
}

output "registry" {
  description = "host, and the beginning of the repositories' names"
  value       = trimsuffix(aws_ecr_repository.this["millrace-api"].repository_url, "/millrace-api")
}

output "log_bucket" {
  value = aws_s3_bucket.logs.bucket
}

output "log_days" {
  value = var.log_days
}

output "nodes_max" {
  description = "of all groups together, for the Cluster Autoscaler"
  value       = local.max_workers + local.system.max
}

output "spot" {
  value = var.spot
}

output "addon_versions" {
  value = local.addon_versions
}

output "deploy_role" {
  description = "ARN for the variable of the GitHub environment; null without a repository"
  value       = local.has_github ? aws_iam_role.github["deploy"].arn : null
}

output "look_role" {
  value = local.has_github ? aws_iam_role.github["look"].arn : null
}

# For the estimate of deploy/up.
output "priced" {
  description = "what runs all the time, and what a worker is"
  value       = "system=${aws_eks_node_group.system.instance_types[0]} systems=${local.system.min} worker=${var.spot ? "spot" : "on-demand"} type=${local.offered[local.zones[0]][0]} nats=${length(local.nat_zones)} workers=${local.max_workers}"
}
