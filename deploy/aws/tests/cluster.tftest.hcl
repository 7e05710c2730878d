# SPDX-License-Identifier: Apache-2.0
# What must hold whatever is changed: nodes as the manifests want them, nobody let in who was not named, roles for one
# holder each. Planned with a provider that makes up its answers.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["zone-a", "zone-b", "zone-c", "zone-d"] }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com", reverse_dns_prefix = "com.amazonaws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  # zone-a lacks all of them; zone-b the newest.
  mock_data "aws_ec2_instance_type_offerings" {
    defaults = {
      instance_types = ["m6i.xlarge", "m5.xlarge", "m7i.xlarge", "m6i.xlarge", "m5.xlarge", "m7i.xlarge", "m6i.xlarge"]
      locations      = ["zone-b", "zone-b", "zone-c", "zone-c", "zone-c", "zone-d", "zone-d"]
    }
  }
  mock_data "aws_eks_addon_version" {
    defaults = { version = "v1.2.3-eksbuild.4" }
  }
}

variables {
  region        = "eu-central-1"
  name          = "mill"
  source_ranges = ["203.0.113.0/24"]
}

run "workers_are_nodes_of_their_own_in_each_zone" {
  command = plan

  assert {
    condition     = toset(keys(aws_eks_node_group.worker)) == toset(["zone-b", "zone-c", "zone-d"])
    error_message = "a group in each zone that has such nodes, and in no other"
  }
  assert {
    condition = alltrue([
      for group in aws_eks_node_group.worker : [for taint in group.taint : "${taint.key}=${taint.value}:${taint.effect}"] == ["millrace/worker=true:NO_SCHEDULE"]
    ])
    error_message = "nothing but workers may be put on them"
  }
  assert {
    condition     = alltrue([for group in aws_eks_node_group.worker : group.labels["millrace/worker"] == "true"])
    error_message = "workers look for this label"
  }
  assert {
    condition     = alltrue([for group in aws_eks_node_group.worker : group.labels["node.kubernetes.io/exclude-from-external-load-balancers"] == "true"])
    error_message = "a balancer that counts on workers drops connections when they go"
  }
  assert {
    condition     = alltrue([for group in aws_eks_node_group.worker : group.scaling_config[0].min_size == 0 && group.scaling_config[0].max_size == 144])
    error_message = "from zero, to what hpa/nodes.yaml says"
  }
  assert {
    condition     = alltrue([for group in aws_eks_node_group.worker : group.capacity_type == "ON_DEMAND" && length(group.instance_types) == 1])
    error_message = "on demand, of one type: the first would be taken anyway"
  }
  assert {
    condition     = aws_eks_node_group.worker["zone-b"].instance_types == tolist(["m6i.xlarge"]) && aws_eks_node_group.worker["zone-c"].instance_types == tolist(["m7i.xlarge"])
    error_message = "the preferred type that the zone has"
  }
}

run "an_empty_group_says_what_its_nodes_would_be_like" {
  command = plan

  assert {
    condition     = length(aws_autoscaling_group_tag.worker) == 3 * 3
    error_message = "two labels and a taint for each of three groups"
  }
  assert {
    condition = alltrue([
      for zone in ["zone-b", "zone-c", "zone-d"] :
      aws_autoscaling_group_tag.worker["${zone} k8s.io/cluster-autoscaler/node-template/taint/millrace/worker"].tag[0].value == "true:NoSchedule" &&
      aws_autoscaling_group_tag.worker["${zone} k8s.io/cluster-autoscaler/node-template/label/millrace/worker"].tag[0].value == "true"
    ])
    error_message = "without these no node is ordered for a group that is empty"
  }
  assert {
    condition     = alltrue([for one in aws_autoscaling_group_tag.worker : one.tag[0].propagate_at_launch == false])
    error_message = "they are the group's, not the instances'"
  }
}

run "the_system_stands_on_three_nodes_that_nobody_takes_back" {
  command = plan

  variables {
    spot = true
  }

  assert {
    condition     = aws_eks_node_group.system.capacity_type == "ON_DEMAND" && length(aws_eks_node_group.system.taint) == 0
    error_message = "gateways and brokers are never on Spot"
  }
  assert {
    condition     = aws_eks_node_group.system.scaling_config[0].min_size == 3
    error_message = "a broker each"
  }
  assert {
    condition     = aws_eks_node_group.system.instance_types == tolist(["m6i.xlarge"])
    error_message = "a type that every zone has"
  }
  assert {
    condition     = alltrue([for group in aws_eks_node_group.worker : group.capacity_type == "SPOT"])
    error_message = "workers are"
  }
  assert {
    condition     = aws_eks_node_group.worker["zone-c"].instance_types == tolist(["m7i.xlarge", "m6i.xlarge", "m5.xlarge"])
    error_message = "of as many equal types as the zone has: the more pools, the fewer reclaims"
  }
}

run "max_workers_is_what_the_autoscaler_is_held_to" {
  command = plan

  variables {
    max_workers = 6
  }

  assert {
    condition     = output.nodes_max == 6 + 3 && alltrue([for group in aws_eks_node_group.worker : group.scaling_config[0].max_size == 6])
    error_message = "workers and the system"
  }
}

run "nobody_is_let_in_who_was_not_named" {
  command = plan

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"]) && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "the cluster's API"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.blobs.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.blobs.from_port == 2049
    error_message = "the file system is for the cluster's nodes, not for a network"
  }
  assert {
    condition     = alltrue([for subnet in concat(values(aws_subnet.private), values(aws_subnet.public)) : subnet.map_public_ip_on_launch != true])
    error_message = "nothing gets a public address by itself"
  }
  assert {
    condition     = length([for route in [for one in aws_route.nat : one] : route if route.gateway_id != null]) == 0
    error_message = "private networks have no way in from outside"
  }
  assert {
    condition     = aws_launch_template.node.metadata_options[0].http_tokens == "required" && aws_launch_template.node.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "a pod must not take the role of its node"
  }
  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API"
    error_message = "access entries, and nothing beside them"
  }
}

run "the_api_can_be_opened_further_than_the_gateways" {
  command = plan

  variables {
    api_ranges = ["198.51.100.0/24"]
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["198.51.100.0/24"]) && output.source_ranges == "203.0.113.0/24"
    error_message = "two lists"
  }
}

run "each_pod_has_a_role_that_no_other_can_take" {
  command = plan

  override_resource {
    target          = aws_s3_bucket.logs
    values          = { arn = "arn:aws:s3:::mill-logs-1" }
    override_during = plan
  }

  assert {
    condition = alltrue([
      for name, pod in local.pods :
      jsondecode(aws_iam_role.pod[name].assume_role_policy).Statement[0].Principal.Service == "pods.eks.amazonaws.com" &&
      jsondecode(aws_iam_role.pod[name].assume_role_policy).Statement[0].Condition.StringEquals == {
        "aws:RequestTag/eks-cluster-arn"            = "arn:aws:eks:eu-central-1:123456789012:cluster/mill"
        "aws:RequestTag/kubernetes-namespace"       = aws_eks_pod_identity_association.this[name].namespace
        "aws:RequestTag/kubernetes-service-account" = aws_eks_pod_identity_association.this[name].service_account
      }
    ])
    error_message = "a role and its association are for the same service account of this cluster"
  }
  assert {
    condition     = aws_eks_pod_identity_association.this["autoscaler"].namespace == "kube-system" && aws_eks_pod_identity_association.this["autoscaler"].service_account == "cluster-autoscaler"
    error_message = "as k8s/cluster-autoscaler has it"
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.pod["autoscaler"].policy).Statement :
      statement.Condition == { StringEquals = { "aws:ResourceTag/k8s.io/cluster-autoscaler/mill" = "owned" } } ||
      alltrue([for action in statement.Action : can(regex(":(Describe|Get)", action))])
    ])
    error_message = "what changes something is for this cluster's groups alone"
  }
  assert {
    condition = alltrue([
      for statement in flatten([for one in aws_iam_role_policy.pod : jsondecode(one.policy).Statement]) :
      alltrue([for action in statement.Action : !strcontains(action, "*")])
    ])
    error_message = "no action is a wildcard"
  }
  assert {
    condition     = [for one in jsondecode(aws_iam_role_policy.pod["logs"].policy).Statement : one.Resource] == ["arn:aws:s3:::mill-logs-1", "arn:aws:s3:::mill-logs-1/*"]
    error_message = "Loki's bucket and no other"
  }
}

run "logs_and_images_are_kept_as_they_should" {
  command = plan

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.logs.block_public_acls, aws_s3_bucket_public_access_block.logs.block_public_policy,
      aws_s3_bucket_public_access_block.logs.ignore_public_acls, aws_s3_bucket_public_access_block.logs.restrict_public_buckets,
    ])
    error_message = "logs are nobody else's"
  }
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.logs.rule[0].expiration[0].days > output.log_days
    error_message = "Loki deletes first, the bucket what it forgot"
  }
  assert {
    condition     = alltrue([for one in aws_ecr_repository.this : one.image_tag_mutability == "IMMUTABLE" && one.image_scanning_configuration[0].scan_on_push])
    error_message = "a tag stays what it was"
  }
  assert {
    condition     = aws_efs_file_system.blobs.encrypted && length(aws_efs_mount_target.blobs) == 3
    error_message = "from every zone"
  }
  assert {
    condition     = toset(aws_eks_cluster.this.enabled_cluster_log_types) == toset(["api", "audit", "authenticator", "controllerManager", "scheduler"])
    error_message = "who did what"
  }
}

run "addons_are_those_that_the_manifests_need_and_stay_as_recorded" {
  command = plan

  variables {
    addon_versions = { coredns = "v9.9.9-eksbuild.9" }
  }

  assert {
    condition = toset(concat(keys(aws_eks_addon.before_nodes), keys(aws_eks_addon.on_nodes))) == toset([
      "vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns", "metrics-server", "aws-ebs-csi-driver", "aws-efs-csi-driver",
    ])
    error_message = "seven of them"
  }
  assert {
    condition     = jsondecode(aws_eks_addon.before_nodes["vpc-cni"].configuration_values).enableNetworkPolicy == "true"
    error_message = "network policies are enforced"
  }
  assert {
    condition     = aws_eks_addon.on_nodes["coredns"].addon_version == "v9.9.9-eksbuild.9" && aws_eks_addon.on_nodes["metrics-server"].addon_version == "v1.2.3-eksbuild.4"
    error_message = "recorded, else the default"
  }
}

run "without_a_repository_no_workflow_has_a_role" {
  command = plan

  assert {
    condition     = length(aws_iam_role.github) == 0 && length(aws_iam_openid_connect_provider.github) == 0 && output.deploy_role == null
    error_message = "nothing of GitHub unless it is asked for"
  }
}

run "a_workflow_deploys_from_its_environment_and_pull_requests_look" {
  command = plan

  variables {
    github_repository = "someone/mill"
  }

  override_resource {
    target          = aws_iam_openid_connect_provider.github
    values          = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
    override_during = plan
  }

  assert {
    condition = jsondecode(aws_iam_role.github["deploy"].assume_role_policy).Statement[0].Condition == {
      StringEquals = {
        "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
        "token.actions.githubusercontent.com:sub" = "repo:someone/mill:environment:production"
      }
    }
    error_message = "that environment of that repository, letter by letter"
  }
  assert {
    condition     = jsondecode(aws_iam_role.github["look"].assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == "repo:someone/mill:pull_request"
    error_message = "pull requests of that repository"
  }
  assert {
    condition     = length(setintersection(local.github_reads, local.github_writes)) == 0 && alltrue([for one in local.github_reads : can(regex("^ecr:(Batch(Check|Get)|Describe|Get)", one))])
    error_message = "who may look may not write"
  }
  assert {
    condition     = endswith(aws_eks_access_policy_association.github["look"].policy_arn, "/AmazonEKSViewPolicy")
    error_message = "nor see secrets"
  }
}

run "an_account_that_knows_github_is_not_taught_again" {
  command = plan

  variables {
    github_repository      = "someone/mill"
    github_provider_exists = true
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0 && length(aws_iam_role.github) == 2
    error_message = "there can be one only"
  }
}

run "one_way_out_or_one_for_each_zone" {
  command = plan

  variables {
    nat_per_zone = true
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_route.nat) == 3
    error_message = "a zone that is lost takes nobody else's way out along"
  }
}

run "wildcards_in_a_repository_are_refused" {
  command = plan

  variables {
    github_repository = "someone/*"
  }

  expect_failures = [var.github_repository]
}

run "a_list_of_nobody_is_refused" {
  command = plan

  variables {
    source_ranges = []
  }

  expect_failures = [var.source_ranges]
}

run "fewer_than_three_zones_are_told" {
  command = plan

  override_data {
    target = data.aws_ec2_instance_type_offerings.here
    values = { instance_types = ["m6i.xlarge", "m6i.xlarge"], locations = ["zone-a", "zone-b"] }
  }

  expect_failures = [check.zones]
}
