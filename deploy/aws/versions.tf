# SPDX-License-Identifier: Apache-2.0
# Terraform 1.7 or later, or OpenTofu 1.8 or later. Where the state lies is not said here: beside, in state/, unless
# backend.hcl says otherwise (backend.hcl.example).

terraform {
  required_version = ">= 1.7"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { "millrace:cluster" = var.name }
  }
}
