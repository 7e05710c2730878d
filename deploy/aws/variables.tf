# SPDX-License-Identifier: Apache-2.0
# What differs between clusters. Accounts, zones and images of nodes are looked up.

variable "region" {
  description = "where, such as eu-central-1"
  type        = string
}

variable "name" {
  description = "of the cluster, and the beginning of the name of whatever belongs to it"
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "name: 2 to 20 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "source_ranges" {
  description = "networks that may reach the gateways; nobody is the default of none, so it has to be said"
  type        = list(string)

  validation {
    condition     = length(var.source_ranges) > 0 && alltrue([for range in var.source_ranges : can(cidrnetmask(range))])
    error_message = "source_ranges: IPv4 networks, such as 203.0.113.0/24."
  }
}

variable "api_ranges" {
  description = "networks that may reach the cluster's API, which asks for an identity besides; null: those of source_ranges"
  type        = list(string)
  default     = null

  validation {
    condition     = var.api_ranges == null ? true : length(var.api_ranges) > 0
    error_message = "api_ranges: at least one network, or null."
  }
}

variable "admins" {
  description = "ARNs of IAM roles and users that may do everything in the cluster, besides who made it"
  type        = set(string)
  default     = []
}

variable "kubernetes_version" {
  description = "minor version; the Cluster Autoscaler's follows it"
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.(3[1-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "kubernetes_version: 1.31 or later, without a patch level."
  }
}

variable "addon_versions" {
  description = "add-on -> version, as deploy/up records them when it makes the cluster; those not named get the default of kubernetes_version"
  type        = map(string)
  default     = {}
}

variable "spot" {
  description = "workers on Spot: cheaper, and any of them may be taken away at two minutes' notice"
  type        = bool
  default     = false
}

variable "instance_types" {
  description = "equal in CPUs (4) and memory (16 GiB), the preferred one first; a zone gets those that it has. Only on Spot are several in use at once"
  type        = list(string)
  default     = ["m7i.xlarge", "m6i.xlarge", "m7a.xlarge", "m6a.xlarge", "m5.xlarge", "m5a.xlarge"]
}

variable "max_workers" {
  description = "nodes for workers; null: what hpa/nodes.yaml says. The Cluster Autoscaler keeps to it, each zone's group could hold as many"
  type        = number
  default     = null

  validation {
    condition     = var.max_workers == null ? true : var.max_workers >= 1
    error_message = "max_workers: at least 1."
  }
}

variable "network" {
  description = "of the VPC, a /16 of private addresses; another one where networks are to be joined"
  type        = string
  default     = "10.64.0.0/16"

  validation {
    condition     = can(regex("^(10\\.[0-9]{1,3}|172\\.(1[6-9]|2[0-9]|3[01])|192\\.168)\\.0\\.0/16$", var.network)) && can(cidrnetmask(var.network))
    error_message = "network: a private IPv4 /16; the network policies know no other."
  }
}

variable "nat_per_zone" {
  description = "a NAT gateway in each zone; otherwise one, and a lost zone may take the way out along for all"
  type        = bool
  default     = false
}

variable "log_days" {
  description = "how long logs are kept, of jobs and of the control plane"
  type        = number
  default     = 14

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_days)
    error_message = "log_days: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365, which is what CloudWatch has."
  }
}

variable "github_repository" {
  description = "OWNER/NAME whose workflows may deploy and look; null: none"
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null ? true : can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository: OWNER/NAME; no wildcards."
  }
}

variable "github_environment" {
  description = "of that repository; a workflow may deploy from no other"
  type        = string
  default     = "production"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+$", var.github_environment))
    error_message = "github_environment: a name; no wildcards."
  }
}

variable "github_provider_exists" {
  description = "the account has GitHub's identity provider already (there can be one only)"
  type        = bool
  default     = false
}
