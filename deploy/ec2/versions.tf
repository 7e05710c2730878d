# SPDX-License-Identifier: Apache-2.0
# Millrace on instances of EC2 and nothing else of AWS: no EKS, ECR, S3, EFS, load balancer, NAT gateway or parameter
# store. docs/ec2.md has the reasons; ./up and ./down do the work. OpenTofu (1.8 or later) takes it as Terraform does.
terraform {
  required_version = ">= 1.7.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60, < 7.0"
    }
  }

  # Where the file is, ./up says. For a state that several people share, an override file names another backend.
  backend "local" {}
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      "millrace/fleet" = var.name
    }
  }
}
