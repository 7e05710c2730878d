# SPDX-License-Identifier: Apache-2.0
# What ./up reads.

output "servers" {
  description = "ID@ADDRESS of each server, for ssh"
  value       = join(" ", [for one in aws_instance.server : "${one.id}@${one.public_ip}"])
}

output "gateways" {
  description = "ID@ADDRESS of each gateway, for ssh"
  value       = join(" ", [for i in range(2) : "${aws_instance.gateway[i].id}@${aws_eip.gateway[i].public_ip}"])
}

output "urls" {
  description = "MILLRACE_URL"
  value       = join(",", [for address in aws_eip.gateway[*].public_ip : "http://${address}:${local.port}"])
}

output "blob_server" {
  description = "the server whose disk has the blobs"
  value       = local.servers[0]
}
