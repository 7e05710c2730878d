# SPDX-License-Identifier: Apache-2.0
# What ./up reads.

output "servers" {
  description = "addresses of the servers for ssh"
  value       = join(" ", aws_instance.server[*].public_ip)
}

output "gateways" {
  description = "the two addresses"
  value       = join(" ", aws_eip.gateway[*].public_ip)
}

output "urls" {
  description = "MILLRACE_URL"
  value       = join(",", [for address in aws_eip.gateway[*].public_ip : "http://${address}:${local.port}"])
}

output "blob_server" {
  description = "the server whose disk has the blobs"
  value       = local.servers[0]
}

output "workers_max" {
  description = "all nodes there may be"
  value       = var.worker_max + 5
}
