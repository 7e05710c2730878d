# SPDX-License-Identifier: Apache-2.0
# The workers: a group that the Cluster Autoscaler grows from zero and shrinks. The tags below the group's name are what
# it knows of a node before there is one.

resource "aws_launch_template" "worker" {
  name                   = "${var.name}-worker"
  image_id               = local.ami
  key_name               = aws_key_pair.admin.key_name
  vpc_security_group_ids = [aws_security_group.role["worker"].id]
  update_default_version = true

  # One that switched itself off, when its Spot capacity was called back, is not to be kept.
  instance_initiated_shutdown_behavior = "terminate"

  user_data = base64encode(join("\n", ["#cloud-config", yamlencode({
    write_files = concat(local.start["worker"], [{
      path        = "/etc/millrace/node.env"
      permissions = "0644"
      content = join("", [for key, value in merge(local.facts, local.facts_of["worker"]) :
      "${key}=\"${value}\"\n"])
    }])
    runcmd = [["systemctl", "enable", "--now", "--no-block", "millrace-node.service"]]
  })]))

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda" # Debian's root
    ebs {
      volume_type           = "gp3"
      volume_size           = var.worker_disk_gib
      encrypted             = true
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = { Name = "${var.name}-worker" }
  }
}

resource "aws_autoscaling_group" "worker" {
  name                      = "${var.name}-worker"
  min_size                  = 0
  max_size                  = var.worker_max
  vpc_zone_identifier       = aws_subnet.private[*].id
  health_check_type         = "EC2"
  wait_for_capacity_timeout = "0"
  force_delete              = true
  suspended_processes       = ["AZRebalance"] # it ends busy instances

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = 0
      on_demand_percentage_above_base_capacity = var.spot ? 0 : 100
      on_demand_allocation_strategy            = "prioritized"
      spot_allocation_strategy                 = "capacity-optimized"
    }
    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.worker.id
        version            = aws_launch_template.worker.latest_version
      }
      dynamic "override" {
        for_each = var.worker_instance_types
        content {
          instance_type = override.value
        }
      }
    }
  }

  dynamic "tag" {
    for_each = {
      "Name"                                                          = "${var.name}-worker"
      (local.cluster)                                                 = "owned"
      "millrace/fleet"                                                = var.name
      "k8s.io/cluster-autoscaler/enabled"                             = "true"
      "k8s.io/cluster-autoscaler/${var.name}"                         = "owned"
      "k8s.io/cluster-autoscaler/node-template/label/millrace/worker" = "true"
      "k8s.io/cluster-autoscaler/node-template/taint/millrace/worker" = "true:NoSchedule"
    }
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = !startswith(tag.key, "k8s.io/")
    }
  }

  # How many there are is the autoscaler's business.
  lifecycle {
    ignore_changes = [desired_capacity]
  }
}
