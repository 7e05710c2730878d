# SPDX-License-Identifier: Apache-2.0
# What pods may do in the account, by EKS Pod Identity: a role for each service account that needs one, which nobody
# else can take. No issuer of tokens is named, so nothing of it has to be found out first.

locals {
  pods = {
    autoscaler = { namespace = "kube-system", service_account = "cluster-autoscaler" }
    ebs        = { namespace = "kube-system", service_account = "ebs-csi-controller-sa" }
    efs        = { namespace = "kube-system", service_account = "efs-csi-controller-sa" }
    logs       = { namespace = local.charts["loki"], service_account = "loki" }
  }
  # chart -> its namespace, of the list that deploy/up installs from
  charts = {
    for line in split("\n", file("${path.module}/../charts/versions")) :
    split(" ", line)[0] => split(" ", line)[4] if length(split(" ", line)) == 5 && !startswith(line, "#")
  }
  own_policies = {
    autoscaler = [
      { # it looks at all: none of these can be narrowed down
        Effect = "Allow"
        Action = [
          "autoscaling:DescribeAutoScalingGroups",
          "autoscaling:DescribeAutoScalingInstances",
          "autoscaling:DescribeLaunchConfigurations",
          "autoscaling:DescribeScalingActivities",
          "autoscaling:DescribeTags",
          "ec2:DescribeImages",
          "ec2:DescribeInstanceTypes",
          "ec2:DescribeLaunchTemplateVersions",
          "ec2:GetInstanceTypesFromInstanceRequirements",
          "eks:DescribeNodegroup",
        ]
        Resource  = "*"
        Condition = {}
      },
      { # and moves its own
        Effect    = "Allow"
        Action    = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
        Resource  = "arn:${local.partition}:autoscaling:${var.region}:${local.account}:autoScalingGroup:*"
        Condition = { StringEquals = { "aws:ResourceTag/k8s.io/cluster-autoscaler/${var.name}" = "owned" } }
      },
    ]
    logs = [
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = aws_s3_bucket.logs.arn, Condition = {} },
      {
        Effect    = "Allow"
        Action    = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource  = "${aws_s3_bucket.logs.arn}/*"
        Condition = {}
      },
    ]
  }
  managed_policies = { # both touch what the driver has tagged and nothing else
    ebs = "${local.policies}/service-role/AmazonEBSCSIDriverPolicy"
    efs = "${local.policies}/service-role/AmazonEFSCSIDriverPolicy"
  }
}

resource "aws_iam_role" "pod" {
  for_each = local.pods

  name_prefix = "${var.name}-${each.key}-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
      # EKS names the pod when it asks for the role.
      Condition = {
        StringEquals = {
          "aws:RequestTag/eks-cluster-arn"            = "arn:${local.partition}:eks:${var.region}:${local.account}:cluster/${var.name}"
          "aws:RequestTag/kubernetes-namespace"       = each.value.namespace
          "aws:RequestTag/kubernetes-service-account" = each.value.service_account
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "pod" {
  for_each = local.own_policies

  role   = aws_iam_role.pod[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value })
}

resource "aws_iam_role_policy_attachment" "pod" {
  for_each = local.managed_policies

  role       = aws_iam_role.pod[each.key].name
  policy_arn = each.value
}

resource "aws_eks_pod_identity_association" "this" {
  for_each = local.pods

  cluster_name    = aws_eks_cluster.this.name
  namespace       = each.value.namespace
  service_account = each.value.service_account
  role_arn        = aws_iam_role.pod[each.key].arn

  depends_on = [aws_iam_role_policy.pod, aws_iam_role_policy_attachment.pod]
}
