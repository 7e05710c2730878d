# SPDX-License-Identifier: Apache-2.0
# What the root plans, without an account. Every run is a plan of everything, so there are few.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["xx-test-1a", "xx-test-1b", "xx-test-1c", "xx-test-1d"] }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws-test", dns_suffix = "test.example" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_ami" {
    defaults = { id = "ami-0debian" }
  }
}

variables {
  region         = "xx-test-1"
  name           = "mill"
  ssh_public_key = "ssh-ed25519 AAAA test"
  client_ranges  = ["192.0.2.0/24", "198.51.100.0/24"]
  admin_ranges   = ["203.0.113.7/32"]
}

run "as_it_comes" {
  command = plan

  # five instances in three zones
  assert {
    condition     = length(aws_instance.server) == 3 && length(distinct(aws_subnet.public[*].availability_zone)) == 3
    error_message = "The servers are not in three zones."
  }
  assert {
    condition     = length(aws_instance.gateway) == 2 && length(aws_eip.gateway) == 2
    error_message = "There are not exactly two gateways with an address each."
  }
  assert {
    condition     = aws_instance.gateway[0].private_ip != aws_instance.gateway[1].private_ip && cidrsubnet("${aws_instance.gateway[0].private_ip}/24", 0, 0) != cidrsubnet("${aws_instance.gateway[1].private_ip}/24", 0, 0)
    error_message = "Both gateways are in one zone."
  }
  assert {
    condition     = alltrue([for i in range(3) : aws_ebs_volume.server[i].availability_zone == aws_subnet.public[i].availability_zone])
    error_message = "A data volume is not where its server is."
  }
  assert {
    condition     = output.blob_server == aws_instance.server[0].private_ip
    error_message = "Blobs are not on the first server."
  }

  # nothing is open that nobody asked for
  assert {
    condition = toset([
      for rule in aws_vpc_security_group_ingress_rule.outside : "${rule.cidr_ipv4} ${rule.from_port}-${rule.to_port}"
    ]) == toset(["192.0.2.0/24 30080-30080", "198.51.100.0/24 30080-30080", "203.0.113.7/32 22-22"])
    error_message = "Others than the named networks get in, or those to more than they should."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.inside : rule.cidr_ipv4 == null && rule.from_port == rule.to_port])
    error_message = "A rule among the roles names addresses or a range of ports."
  }
  assert {
    condition = toset([for key in keys(aws_vpc_security_group_ingress_rule.inside) : key if endswith(key, "-2049")]) == toset(
      ["gateway-server-tcp-2049"]
    )
    error_message = "Others than gateways reach the blobs."
  }
  assert {
    condition     = !anytrue([for key in keys(aws_vpc_security_group_ingress_rule.inside) : endswith(key, "-6450") && !startswith(key, "worker-server")])
    error_message = "Others than workers are let to the usher."
  }
  assert {
    condition     = aws_vpc_security_group_egress_rule.role["worker"].cidr_ipv4 == var.network
    error_message = "Workers may speak to the internet."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.map_public_ip_on_launch != true]) && length(aws_route_table.private.route) == 0
    error_message = "Workers have a way out of the network."
  }

  # a role only where it is used
  assert {
    condition     = alltrue([for one in aws_instance.server : one.iam_instance_profile == "mill-xx-test-1-server"])
    error_message = "A server lacks its role."
  }
  assert {
    condition     = length(aws_launch_template.worker.iam_instance_profile) == 0
    error_message = "A worker has a role."
  }
  assert {
    condition = alltrue([
      for options in concat([for one in concat(aws_instance.server, aws_instance.gateway) : one.metadata_options[0]], aws_launch_template.worker.metadata_options) :
      options.http_tokens == "required" && options.http_put_response_hop_limit == 1
    ])
    error_message = "A pod could ask for the role of its instance."
  }
  assert {
    condition = toset(data.aws_iam_policy_document.server.statement[1].actions) == toset([
      "autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup",
    ])
    error_message = "Servers may change more than the size of the group."
  }
  assert {
    condition     = one(data.aws_iam_policy_document.server.statement[1].resources) == "arn:aws-test:autoscaling:xx-test-1:123456789012:autoScalingGroup:*:autoScalingGroupName/mill-worker"
    error_message = "Servers may change other groups."
  }
  assert {
    condition = alltrue([
      for action in data.aws_iam_policy_document.server.statement[0].actions :
      startswith(split(":", action)[1], "Describe") || startswith(split(":", action)[1], "Get")
    ])
    error_message = "What is allowed everywhere does more than look."
  }
  assert {
    condition     = one(one(data.aws_iam_policy_document.instances.statement[0].principals).identifiers) == "ec2.test.example"
    error_message = "The partition is written down somewhere."
  }

  # workers grow from zero, by what the autoscaler knows
  assert {
    condition     = aws_autoscaling_group.worker.min_size == 0 && aws_autoscaling_group.worker.max_size == 144
    error_message = "The group does not go from 0 to 144."
  }
  assert {
    condition = alltrue([
      for key, value in {
        "k8s.io/cluster-autoscaler/enabled"                             = "true"
        "k8s.io/cluster-autoscaler/mill"                                = "owned"
        "k8s.io/cluster-autoscaler/node-template/label/millrace/worker" = "true"
        "k8s.io/cluster-autoscaler/node-template/taint/millrace/worker" = "true:NoSchedule"
      } : contains([for tag in aws_autoscaling_group.worker.tag : "${tag.key}=${tag.value}"], "${key}=${value}")
    ])
    error_message = "The autoscaler would not find the group, or not know its nodes."
  }
  assert {
    condition     = contains(aws_autoscaling_group.worker.suspended_processes, "AZRebalance")
    error_message = "Busy instances are ended to balance zones."
  }
  assert {
    condition     = one(one(aws_autoscaling_group.worker.mixed_instances_policy).instances_distribution).on_demand_percentage_above_base_capacity == 100
    error_message = "Workers are Spot instances though nobody said so."
  }

  # all disks are encrypted
  assert {
    condition = alltrue(concat(
      [for one in aws_ebs_volume.server : one.encrypted],
      [for one in concat(aws_instance.server, aws_instance.gateway) : one.root_block_device[0].encrypted],
      [aws_launch_template.worker.block_device_mappings[0].ebs[0].encrypted == "true"],
    ))
    error_message = "A disk is not encrypted."
  }
}

run "spot_when_asked_for" {
  command = plan
  variables { spot = true }

  assert {
    condition     = one(one(aws_autoscaling_group.worker.mixed_instances_policy).instances_distribution).on_demand_percentage_above_base_capacity == 0
    error_message = "Workers are no Spot instances."
  }
  assert {
    condition     = strcontains(base64decode(aws_launch_template.worker.user_data), "IS_SPOT=\"1\"")
    error_message = "Workers do not listen for the notice."
  }
}

run "two_zones_an_own_image_and_nobody_let_in" {
  command = plan
  variables {
    ami           = "ami-0own"
    client_ranges = []
    admin_ranges  = []
  }
  override_data {
    target = data.aws_availability_zones.here
    values = { names = ["yy-test-1a", "yy-test-1b"] }
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.outside) == 0
    error_message = "Somebody gets in."
  }
  assert {
    condition     = length(aws_subnet.public) == 2 && length(aws_instance.server) == 3 && length(distinct(aws_instance.server[*].private_ip)) == 3
    error_message = "Three servers do not find room in two zones."
  }
  assert {
    condition     = aws_instance.server[0].ami == "ami-0own" && aws_launch_template.worker.image_id == "ami-0own" && length(data.aws_ami.debian) == 0
    error_message = "The image is not the one that was named."
  }
}

run "no_name_that_aws_refuses" {
  command = plan
  variables { name = "Mill_1" }
  expect_failures = [var.name]
}

run "no_network_that_pods_have" {
  command = plan
  variables { network = "10.42.0.0/16" }
  expect_failures = [var.network]
}

run "ssh_is_not_for_everybody" {
  command = plan
  variables { admin_ranges = ["0.0.0.0/0"] }
  expect_failures = [var.admin_ranges]
}

# What the three servers are told, which has the ids of their volumes. The last: it leaves a state behind.
run "each_server_knows_its_volume_and_the_first_is_the_store" {
  command = apply

  assert {
    condition = alltrue([for i in range(3) : alltrue([
      for line in ["ROLE=\"server\"", "NODE_NAME=\"mill-server-${i + 1}\"", "DATA_VOLUME=\"${aws_ebs_volume.server[i].id}\"", "IS_STORE=\"${i == 0 ? 1 : ""}\""] :
      contains(split("\n", one([
        for file in yamldecode(base64decode(aws_instance.server[i].user_data_base64)).write_files : file.content
        if file.path == "/etc/millrace/node.env"
      ])), line)
    ])])
    error_message = "A server is told something else."
  }
  assert {
    condition     = alltrue([for one in aws_instance.server : length(base64decode(one.user_data_base64)) < 16384])
    error_message = "The user data of a server is larger than EC2 takes."
  }
}
