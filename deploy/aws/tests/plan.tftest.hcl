# SPDX-License-Identifier: Apache-2.0
# The plan without an account: what AWS would answer is made up here. deploy/up --dry-run shows this one to whoever has no
# credentials.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["zone-a", "zone-b", "zone-c"] }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com", reverse_dns_prefix = "com.amazonaws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_ec2_instance_type_offerings" {
    defaults = {
      instance_types = ["m7i.xlarge", "m6i.xlarge", "m7i.xlarge", "m6i.xlarge", "m7i.xlarge", "m6i.xlarge"]
      locations      = ["zone-a", "zone-a", "zone-b", "zone-b", "zone-c", "zone-c"]
    }
  }
  mock_data "aws_eks_addon_version" {
    defaults = { version = "v1.2.3-eksbuild.4" }
  }
}

run "plan" {
  command = plan
}
