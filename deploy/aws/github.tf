# SPDX-License-Identifier: Apache-2.0
# What workflows of one repository may do, by a token that GitHub signs for each run; no key is stored anywhere. deploy: those
# that run in one environment, which is where approvals are asked for. look: those of pull requests, which may read.

locals {
  has_github = var.github_repository != null
  github     = "token.actions.githubusercontent.com"
  github_subjects = local.has_github ? {
    deploy = "repo:${var.github_repository}:environment:${var.github_environment}"
    look   = "repo:${var.github_repository}:pull_request"
  } : {}
  # in the cluster
  github_access = {
    deploy = "AmazonEKSClusterAdminPolicy" # the manifests hold classes, rights and an admission policy
    look   = "AmazonEKSViewPolicy"         # no secrets
  }
  github_reads  = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer"]
  github_writes = ["ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"]
}

resource "aws_iam_openid_connect_provider" "github" {
  count = local.has_github && !var.github_provider_exists ? 1 : 0

  url            = "https://${local.github}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_openid_connect_provider" "github" {
  count = local.has_github && var.github_provider_exists ? 1 : 0

  url = "https://${local.github}"
}

resource "aws_iam_role" "github" {
  for_each = local.github_subjects

  name_prefix = "${var.name}-github-${each.key}-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = one(concat(aws_iam_openid_connect_provider.github[*].arn, data.aws_iam_openid_connect_provider.github[*].arn)) }
      Condition = { StringEquals = { "${local.github}:aud" = "sts.amazonaws.com", "${local.github}:sub" = each.value } }
    }]
  })
}

resource "aws_iam_role_policy" "github" {
  for_each = local.github_subjects

  role = aws_iam_role.github[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["eks:DescribeCluster"], Resource = [aws_eks_cluster.this.arn] },
      { Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] }, # it has no resource
      {
        Effect   = "Allow"
        Action   = concat(local.github_reads, each.key == "deploy" ? local.github_writes : [])
        Resource = [for one in aws_ecr_repository.this : one.arn]
      },
    ]
  })
}

resource "aws_eks_access_entry" "github" {
  for_each = local.github_subjects

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_iam_role.github[each.key].arn
}

resource "aws_eks_access_policy_association" "github" {
  for_each = local.github_subjects

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.github[each.key].principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/${local.github_access[each.key]}"

  access_scope {
    type = "cluster"
  }
}
