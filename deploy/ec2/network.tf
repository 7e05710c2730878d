# SPDX-License-Identifier: Apache-2.0
# A network of its own. Servers and gateways are in public subnets, since they fetch packages and images; workers are in
# private ones without any way out: what they need they have from the servers. So there is no NAT to pay or to lose.

data "aws_availability_zones" "here" {
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  zones   = slice(data.aws_availability_zones.here.names, 0, min(3, length(data.aws_availability_zones.here.names)))
  port    = 30080 # the node port of k8s/overlays/ec2/service.yaml
  cluster = "kubernetes.io/cluster/${var.name}"

  # Addresses that are known before anything runs, and that a replaced instance has again.
  servers  = [for i in range(3) : cidrhost(local.public[i % length(local.zones)], 10 + i)]
  gateways = [for i in range(2) : cidrhost(local.public[i % length(local.zones)], 20 + i)]
  public   = [for i in range(length(local.zones)) : cidrsubnet(var.network, 8, i)]
  private  = [for i in range(length(local.zones)) : cidrsubnet(var.network, 4, i + 1)]
}

resource "aws_vpc" "fleet" {
  cidr_block           = var.network
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.fleet.id
}

resource "aws_internet_gateway" "fleet" {
  vpc_id = aws_vpc.fleet.id
  tags   = { Name = var.name }
}

resource "aws_subnet" "public" {
  count                   = length(local.zones)
  vpc_id                  = aws_vpc.fleet.id
  availability_zone       = local.zones[count.index]
  cidr_block              = local.public[count.index]
  map_public_ip_on_launch = true
  tags                    = { Name = "${var.name}-public-${count.index + 1}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.fleet.id
  tags   = { Name = "${var.name}-public" }

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.fleet.id
  }
}

resource "aws_route_table_association" "public" {
  count          = length(local.zones)
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

# The network itself, and nothing beyond.
resource "aws_route_table" "private" {
  vpc_id = aws_vpc.fleet.id
  route  = []
  tags   = { Name = "${var.name}-private" }
}

resource "aws_subnet" "private" {
  count             = length(local.zones)
  vpc_id            = aws_vpc.fleet.id
  availability_zone = local.zones[count.index]
  cidr_block        = local.private[count.index]
  tags              = { Name = "${var.name}-workers-${count.index + 1}" }
}

resource "aws_route_table_association" "private" {
  count          = length(local.zones)
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

# ---- who may speak to whom -----------------------------------------------------------------------------------------

locals {
  roles = toset(["server", "gateway", "worker"])

  # From roles to roles. 6443: the cluster's API, on agents the images that a node shares; 5001: who has which image;
  # 8472: pods of different nodes; 10250: logs, metrics; 9100: node-exporter, where there is one; 2379: etcd;
  # 2049: blobs; 6450: the token for a worker that is not yet a node; 22: by way of a server.
  inside = flatten([
    for rule in [
      { from = local.roles, to = local.roles, protocol = "tcp", port = 6443 },
      { from = local.roles, to = local.roles, protocol = "tcp", port = 5001 },
      { from = local.roles, to = local.roles, protocol = "udp", port = 8472 },
      { from = ["server"], to = local.roles, protocol = "tcp", port = 10250 },
      { from = ["server"], to = local.roles, protocol = "tcp", port = 9100 },
      { from = ["server"], to = ["server"], protocol = "tcp", port = 2379 },
      { from = ["server"], to = ["server"], protocol = "tcp", port = 2380 },
      { from = ["gateway"], to = ["server"], protocol = "tcp", port = 2049 },
      { from = ["worker"], to = ["server"], protocol = "tcp", port = 6450 },
      { from = ["server"], to = ["worker"], protocol = "tcp", port = 22 },
      ] : [
      for pair in setproduct(rule.from, rule.to) :
      { from = pair[0], to = pair[1], protocol = rule.protocol, port = rule.port }
    ]
  ])

  outside = concat(
    [for range in var.client_ranges : { range = range, to = "gateway", port = local.port }],
    [for pair in setproduct(var.admin_ranges, ["server", "gateway"]) : { range = pair[0], to = pair[1], port = 22 }],
  )
}

resource "aws_security_group" "role" {
  for_each    = local.roles
  name        = "${var.name}-${each.key}"
  description = "Millrace ${each.key}"
  vpc_id      = aws_vpc.fleet.id
  tags        = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "inside" {
  for_each = {
    for rule in local.inside : "${rule.from}-${rule.to}-${rule.protocol}-${rule.port}" => rule
  }
  security_group_id            = aws_security_group.role[each.value.to].id
  referenced_security_group_id = aws_security_group.role[each.value.from].id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "outside" {
  for_each = {
    for rule in local.outside : "${rule.range}-${rule.to}-${rule.port}" => rule
  }
  security_group_id = aws_security_group.role[each.value.to].id
  cidr_ipv4         = each.value.range
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "role" {
  for_each          = local.roles
  security_group_id = aws_security_group.role[each.key].id
  cidr_ipv4         = each.key == "worker" ? var.network : "0.0.0.0/0"
  ip_protocol       = "-1"
}
