# SPDX-License-Identifier: Apache-2.0
# Where things lie: blobs on a file system that all nodes share, images in ECR, logs in S3. Disks of brokers and store are
# the cluster's own doing (k8s/overlays/eks/storage.yaml).

resource "aws_efs_file_system" "blobs" {
  creation_token  = "${var.name}-blobs"
  encrypted       = true
  throughput_mode = "elastic" # pays by what is moved; bursting starves a small file system of many workers

  tags = { Name = "${var.name}-blobs" }
}

resource "aws_security_group" "blobs" {
  name_prefix = "${var.name}-blobs-"
  description = "the file system of blobs, for the nodes of ${var.name}"
  vpc_id      = aws_vpc.this.id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "blobs" {
  security_group_id            = aws_security_group.blobs.id
  description                  = "NFS"
  referenced_security_group_id = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

resource "aws_efs_mount_target" "blobs" {
  for_each = aws_subnet.private

  file_system_id  = aws_efs_file_system.blobs.id
  subnet_id       = each.value.id
  security_groups = [aws_security_group.blobs.id]
}

resource "aws_ecr_repository" "this" {
  for_each = toset(["millrace-api", "millrace-worker", "millrace-worker-image"])

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true # what is in it can be built again

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "the last thirty, to go back to"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 30 }
      action       = { type = "expire" }
    }]
  })
}

# Its name is random, so that one that was left behind is in nobody's way.
resource "aws_s3_bucket" "logs" {
  bucket_prefix = "${var.name}-logs-"
  force_destroy = true # deploy/down decides whether it goes
}

resource "aws_s3_bucket_public_access_block" "logs" {
  bucket                  = aws_s3_bucket.logs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id

  rule {
    id     = "expire"
    status = "Enabled"
    filter {}
    expiration {
      days = var.log_days + 7 # after Loki's own deletion, for what it forgot
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EncryptedConnectionsOnly"
      Effect    = "Deny"
      Action    = "s3:*"
      Principal = "*"
      Resource  = [aws_s3_bucket.logs.arn, "${aws_s3_bucket.logs.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
  depends_on = [aws_s3_bucket_public_access_block.logs]
}
