# SPDX-License-Identifier: Apache-2.0
# What differs from fleet to fleet. ./up REGION NAME gives the first two and the key; the rest is for terraform.tfvars in
# the fleet's folder, which ./up names.

variable "region" {
  description = "where"
  type        = string
}

variable "name" {
  description = "of the fleet; all that is made has it in its name or its tags"
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "A name has 2 to 31 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "ssh_public_key" {
  description = "of the key that ./up made, outside of the repository"
  type        = string
}

variable "admin_ranges" {
  description = "networks that may reach servers and gateways by ssh"
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for range in var.admin_ranges : can(cidrhost(range, 0))])
    error_message = "A network is written as 192.0.2.0/24."
  }
  validation {
    condition     = alltrue([for range in var.admin_ranges : !endswith(range, "/0")])
    error_message = "Administration is not for the whole internet."
  }
}

variable "client_ranges" {
  description = "networks that may reach the gateways; without one nobody does"
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for range in var.client_ranges : can(cidrhost(range, 0))])
    error_message = "A network is written as 192.0.2.0/24."
  }
}

variable "network" {
  description = "addresses of the fleet, a /16 of its own"
  type        = string
  default     = "10.64.0.0/16"

  validation {
    condition     = can(cidrhost(var.network, 0)) && endswith(var.network, "/16")
    error_message = "The network is a /16."
  }
  validation {
    condition     = !startswith(var.network, "10.42.") && !startswith(var.network, "10.43.")
    error_message = "10.42.0.0/16 and 10.43.0.0/16 are the addresses of pods and Services."
  }
}

variable "ami" {
  description = "an image of Debian 12 for x86-64; empty: the newest of ami_owners"
  type        = string
  default     = ""
}

variable "ami_owners" {
  description = "accounts whose images of Debian 12 are taken; the default is Debian's own in the partition aws"
  type        = list(string)
  default     = ["136693071363"]
}

variable "server_instance_type" {
  description = "of the three servers: control plane, brokers, store, autoscalers"
  type        = string
  default     = "m7i.xlarge"
}

variable "gateway_instance_type" {
  description = "of the two gateways; in an upgrade two gateways of one CPU each run on it for a while"
  type        = string
  default     = "c7i.xlarge"
}

variable "worker_instance_types" {
  description = "all of 4 CPUs and 16 GiB (hpa/nodes.yaml), the preferred first; more than one is for Spot"
  type        = list(string)
  default     = ["m7i.xlarge", "m6i.xlarge", "m7a.xlarge", "m6a.xlarge"]

  validation {
    condition     = length(var.worker_instance_types) > 0
    error_message = "Name one type at least."
  }
}

variable "worker_max" {
  description = "workers there may be; the sum of the maxima in hpa/scaledobjects.yaml"
  type        = number
  default     = 144

  validation {
    condition     = var.worker_max >= 1 && var.worker_max <= 1000
    error_message = "From 1 to 1000 workers."
  }
}

variable "spot" {
  description = "workers are Spot instances"
  type        = bool
  default     = false
}

variable "disk_gib" {
  description = "of each server's data volume: etcd, brokers, store, and on the first one blobs"
  type        = number
  default     = 200
}

variable "worker_disk_gib" {
  description = "of a worker: system, images, its cache of blobs"
  type        = number
  default     = 60
}

variable "k3s_version" {
  description = "a release of k3s; its minor version is that of the Cluster Autoscaler in k8s/overlays/ec2"
  type        = string
  default     = "v1.34.9+k3s1"

  validation {
    condition     = can(regex("^v1\\.[0-9]+\\.[0-9]+\\+k3s[0-9]+$", var.k3s_version))
    error_message = "A version of k3s is written as v1.34.9+k3s1."
  }
}
