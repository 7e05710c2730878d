# SPDX-License-Identifier: Apache-2.0
# Nodes, as hpa/nodes.yaml wants them: a group for the system over all zones, and a group of workers in each zone. A group
# that spans zones is kept even by EC2, which ends busy nodes for it (AZRebalance); one that does not has nothing to even.

# Of nodes, not of pods: those cannot reach it (hop limit below) and have roles of their own.
resource "aws_iam_role" "node" {
  name_prefix = "${var.name}-node-"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.${data.aws_partition.here.dns_suffix}" } }]
  })
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset(["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryPullOnly"])

  role       = aws_iam_role.node.name
  policy_arn = "${local.policies}/${each.key}"
}

resource "aws_launch_template" "node" {
  name_prefix            = "${var.name}-"
  update_default_version = true

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # the node itself; pods are a hop further
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type = "gp3"
      volume_size = 40
      encrypted   = true
    }
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume"]
    content {
      resource_type = tag_specifications.value
      tags          = { Name = var.name, "millrace:cluster" = var.name }
    }
  }
}

resource "aws_eks_node_group" "system" {
  cluster_name           = aws_eks_cluster.this.name
  version                = aws_eks_cluster.this.version
  node_group_name_prefix = "system-"
  node_role_arn          = aws_iam_role.node.arn
  subnet_ids             = [for zone in local.zones : aws_subnet.private[zone].id]
  ami_type               = "AL2023_x86_64_STANDARD"
  capacity_type          = "ON_DEMAND"
  instance_types         = [[for type in var.instance_types : type if alltrue([for zone in local.zones : contains(local.offered[zone], type)])][0]]
  labels                 = local.system.labels

  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }

  scaling_config {
    min_size     = local.system.min
    max_size     = local.system.max
    desired_size = local.system.min
  }

  update_config {
    max_unavailable = 1
  }

  dynamic "taint" {
    for_each = local.system.taints
    content {
      key    = taint.value.key
      value  = taint.value.value
      effect = local.effects[taint.value.effect]
    }
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [aws_iam_role_policy_attachment.node, aws_eks_addon.before_nodes, aws_route.nat, aws_route_table_association.private]
}

locals {
  effects = { NoSchedule = "NO_SCHEDULE", NoExecute = "NO_EXECUTE", PreferNoSchedule = "PREFER_NO_SCHEDULE" }
}

resource "aws_eks_node_group" "worker" {
  for_each = toset(local.zones)

  cluster_name           = aws_eks_cluster.this.name
  version                = aws_eks_cluster.this.version
  node_group_name_prefix = "worker-${each.key}-"
  node_role_arn          = aws_iam_role.node.arn
  subnet_ids             = [aws_subnet.private[each.key].id]
  ami_type               = "AL2023_x86_64_STANDARD"
  capacity_type          = var.spot ? "SPOT" : "ON_DEMAND"
  # On Spot EC2 takes of several the pool that it is least likely to need back, which is what EKS asks of it.
  instance_types = var.spot ? local.offered[each.key] : slice(local.offered[each.key], 0, 1)
  labels         = local.workers.labels

  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }

  scaling_config {
    min_size     = local.workers.min
    max_size     = local.max_workers
    desired_size = local.workers.min
  }

  update_config {
    max_unavailable_percentage = 33
  }

  dynamic "taint" {
    for_each = local.workers.taints
    content {
      key    = taint.value.key
      value  = taint.value.value
      effect = local.effects[taint.value.effect]
    }
  }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [scaling_config[0].desired_size] # the Cluster Autoscaler's
  }

  depends_on = [aws_iam_role_policy_attachment.node, aws_eks_addon.before_nodes, aws_route.nat, aws_route_table_association.private]
}

# What a node of an empty group would be like, for who decides whether one would help. The tags that let the group be found,
# k8s.io/cluster-autoscaler/enabled and .../NAME = owned, are EKS's own doing.
locals {
  template = "k8s.io/cluster-autoscaler/node-template"
  template_tags = merge(
    { for key, value in local.workers.labels : "${local.template}/label/${key}" => value },
    { for taint in local.workers.taints : "${local.template}/taint/${taint.key}" => "${taint.value}:${taint.effect}" },
  )
  group_tags = {
    for pair in setproduct(local.zones, keys(local.template_tags)) :
    "${pair[0]} ${pair[1]}" => { zone = pair[0], key = pair[1], value = local.template_tags[pair[1]] }
  }
}

resource "aws_autoscaling_group_tag" "worker" {
  for_each = local.group_tags

  autoscaling_group_name = aws_eks_node_group.worker[each.value.zone].resources[0].autoscaling_groups[0].name

  tag {
    key                 = each.value.key
    value               = each.value.value
    propagate_at_launch = false
  }
}
