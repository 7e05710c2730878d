# SPDX-License-Identifier: Apache-2.0
# The five instances that are always there: three servers, each with a data volume that outlives it, and two gateways,
# each with an address that outlives it. What an instance does when it starts is in node/; nothing there is a secret.

data "aws_ami" "debian" {
  count       = var.ami == "" ? 1 : 0
  owners      = var.ami_owners
  most_recent = true

  filter {
    name   = "name"
    values = ["debian-12-amd64-*"]
  }
}

locals {
  ami = var.ami != "" ? var.ami : data.aws_ami.debian[0].id

  # What node/ reads about this fleet: common lines, then those of a role.
  facts = {
    NAME        = var.name
    SERVERS     = join(" ", local.servers)
    GATEWAYS    = join(" ", local.gateways)
    K3S_VERSION = var.k3s_version
  }
  facts_of = {
    server  = { ROLE = "server", MODE = "server", WORKERS = join(" ", local.private) }
    gateway = { ROLE = "gateway", MODE = "agent" }
    worker  = { ROLE = "worker", MODE = "agent", IS_SPOT = var.spot ? "1" : "" }
  }

  files = {
    "/usr/local/sbin/millrace-node"               = { content = file("${path.module}/node/millrace-node"), permissions = "0755" }
    "/usr/local/sbin/millrace-usher"              = { content = file("${path.module}/node/millrace-usher"), permissions = "0755" }
    "/usr/local/sbin/millrace-spot"               = { content = file("${path.module}/node/millrace-spot"), permissions = "0755" }
    "/etc/systemd/system/millrace-node.service"   = { content = file("${path.module}/node/millrace-node.service"), permissions = "0644" }
    "/etc/systemd/system/millrace-usher.socket"   = { content = file("${path.module}/node/millrace-usher.socket"), permissions = "0644" }
    "/etc/systemd/system/millrace-usher@.service" = { content = file("${path.module}/node/millrace-usher@.service"), permissions = "0644" }
    "/etc/systemd/system/millrace-spot.service"   = { content = file("${path.module}/node/millrace-spot.service"), permissions = "0644" }
    "/etc/systemd/system/k3s.service"             = { content = file("${path.module}/node/k3s.service"), permissions = "0644" }
  }
  files_of = {
    server  = [for path in keys(local.files) : path if !strcontains(path, "spot")]
    gateway = [for path in keys(local.files) : path if !strcontains(path, "spot") && !strcontains(path, "usher")]
    worker  = [for path in keys(local.files) : path if !strcontains(path, "usher")]
  }

  # The user data of a role, but for /etc/millrace/node.env.
  start = {
    for role in local.roles : role => [
      for path in local.files_of[role] : merge({ path = path }, local.files[path])
    ]
  }
}

resource "aws_ebs_volume" "server" {
  count             = 3
  availability_zone = local.zones[count.index % length(local.zones)]
  size              = var.disk_gib
  type              = "gp3"
  encrypted         = true
  tags              = { Name = "${var.name}-server-${count.index + 1}" }
}

resource "aws_instance" "server" {
  count                  = 3
  ami                    = local.ami
  instance_type          = var.server_instance_type
  subnet_id              = aws_subnet.public[count.index % length(local.zones)].id
  private_ip             = local.servers[count.index]
  vpc_security_group_ids = [aws_security_group.role["server"].id]
  iam_instance_profile   = aws_iam_instance_profile.server.name
  key_name               = aws_key_pair.admin.key_name
  tags                   = { Name = "${var.name}-server-${count.index + 1}", (local.cluster) = "owned" }

  user_data_base64 = base64encode(join("\n", ["#cloud-config", yamlencode({
    write_files = concat(local.start["server"], [{
      path        = "/etc/millrace/node.env"
      permissions = "0644"
      content = join("", [for key, value in merge(local.facts, local.facts_of["server"], {
        NODE_NAME   = "${var.name}-server-${count.index + 1}"
        DATA_VOLUME = aws_ebs_volume.server[count.index].id
        IS_STORE    = count.index == 0 ? "1" : ""
      }) : "${key}=\"${value}\"\n"])
    }])
    runcmd = [["systemctl", "enable", "--now", "--no-block", "millrace-node.service"]]
  })]))

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 20
    encrypted   = true
  }

  # A newer image or another start is no reason to replace it: that is done one at a time, and on purpose.
  lifecycle {
    ignore_changes = [ami, user_data_base64]
  }
}

resource "aws_volume_attachment" "server" {
  count       = 3
  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.server[count.index].id
  instance_id = aws_instance.server[count.index].id
  # With the instance goes what writes to it.
  stop_instance_before_detaching = true
}

resource "aws_instance" "gateway" {
  count                  = 2
  ami                    = local.ami
  instance_type          = var.gateway_instance_type
  subnet_id              = aws_subnet.public[count.index % length(local.zones)].id
  private_ip             = local.gateways[count.index]
  vpc_security_group_ids = [aws_security_group.role["gateway"].id]
  key_name               = aws_key_pair.admin.key_name
  tags                   = { Name = "${var.name}-gateway-${count.index + 1}", (local.cluster) = "owned" }

  user_data_base64 = base64encode(join("\n", ["#cloud-config", yamlencode({
    write_files = concat(local.start["gateway"], [{
      path        = "/etc/millrace/node.env"
      permissions = "0644"
      content = join("", [for key, value in merge(local.facts, local.facts_of["gateway"]) :
      "${key}=\"${value}\"\n"])
    }])
    runcmd = [["systemctl", "enable", "--now", "--no-block", "millrace-node.service"]]
  })]))

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 40
    encrypted   = true
  }

  lifecycle {
    ignore_changes = [ami, user_data_base64]
  }
}

resource "aws_eip" "gateway" {
  count  = 2
  domain = "vpc"
  tags   = { Name = "${var.name}-gateway-${count.index + 1}" }
}

resource "aws_eip_association" "gateway" {
  count         = 2
  allocation_id = aws_eip.gateway[count.index].id
  instance_id   = aws_instance.gateway[count.index].id
}
