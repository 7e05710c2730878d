# SPDX-License-Identifier: Apache-2.0
# A cluster for Millrace in any account and region: network.tf, cluster.tf, nodes.tf, addons.tf, identity.tf, storage.tf,
# github.tf. docs/aws.md says what each is for and what it costs; deploy/up and deploy/down do the rest.

data "aws_partition" "here" {}

data "aws_caller_identity" "here" {}

# No local zones: they lack most of what follows.
data "aws_availability_zones" "here" {
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

data "aws_ec2_instance_type_offerings" "here" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = var.instance_types
  }
}

locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition
  policies  = "arn:${local.partition}:iam::aws:policy"

  # zone -> the types it has, in the order of var.instance_types
  offered = {
    for zone in data.aws_availability_zones.here.names : zone => [
      for type in var.instance_types : type if contains([
        for index, location in data.aws_ec2_instance_type_offerings.here.locations :
        data.aws_ec2_instance_type_offerings.here.instance_types[index] if location == zone
      ], type)
    ]
  }
  usable = sort([for zone, types in local.offered : zone if length(types) > 0])
  zones  = slice(local.usable, 0, min(3, length(local.usable)))

  # One place says how nodes are: the tests hold the pods' requests against it, the simulator computes with it.
  groups      = { for group in yamldecode(file("${path.module}/../../hpa/nodes.yaml")).groups : group.name => group }
  workers     = local.groups["millrace-worker"]
  system      = local.groups["system"]
  max_workers = var.max_workers == null ? local.workers.max : var.max_workers
}

check "zones" {
  assert {
    condition     = length(local.zones) == 3
    error_message = "${var.region} has ${length(local.zones)} zones with nodes of these types; brokers and gateways are made for three."
  }
}
