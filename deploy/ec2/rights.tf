# SPDX-License-Identifier: Apache-2.0
# What the instances may do at AWS. Servers alone may do anything: two programs run there that need it, on the host's
# network, for no pod of another network gets at the role (one hop). Gateways and workers have no role at all.

data "aws_partition" "here" {}

data "aws_caller_identity" "me" {}

resource "aws_key_pair" "admin" {
  key_name   = var.name
  public_key = var.ssh_public_key
}

data "aws_iam_policy_document" "instances" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.${data.aws_partition.here.dns_suffix}"]
    }
  }
}

data "aws_iam_policy_document" "server" {
  # The cloud controller: is there still an instance behind this node, in which zone, of which type.
  statement {
    sid = "See"
    actions = [
      "ec2:DescribeAvailabilityZones",
      "ec2:DescribeImages",
      "ec2:DescribeInstanceTopology",
      "ec2:DescribeInstanceTypes",
      "ec2:DescribeInstances",
      "ec2:DescribeLaunchTemplateVersions",
      "ec2:DescribeRegions",
      "ec2:GetInstanceTypesFromInstanceRequirements",
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeAutoScalingInstances",
      "autoscaling:DescribeLaunchConfigurations",
      "autoscaling:DescribeScalingActivities",
      "autoscaling:DescribeTags",
    ]
    resources = ["*"]
  }

  # The Cluster Autoscaler: this group of workers, and no other of the account.
  statement {
    sid = "Scale"
    actions = [
      "autoscaling:SetDesiredCapacity",
      "autoscaling:TerminateInstanceInAutoScalingGroup",
    ]
    resources = [join(":", [
      "arn:${data.aws_partition.here.partition}:autoscaling:${var.region}",
      data.aws_caller_identity.me.account_id, "autoScalingGroup", "*", "autoScalingGroupName/${var.name}-worker"
    ])]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/k8s.io/cluster-autoscaler/${var.name}"
      values   = ["owned"]
    }
  }
}

resource "aws_iam_role" "server" {
  name               = "${var.name}-${var.region}-server" # roles are of the account, not of the region
  assume_role_policy = data.aws_iam_policy_document.instances.json
}

resource "aws_iam_role_policy" "server" {
  name   = "nodes"
  role   = aws_iam_role.server.id
  policy = data.aws_iam_policy_document.server.json
}

resource "aws_iam_instance_profile" "server" {
  name = aws_iam_role.server.name
  role = aws_iam_role.server.name
}
