# SPDX-License-Identifier: Apache-2.0
"""A cluster on paper: what KEDA, the HPA, the scheduler and the Cluster Autoscaler do with a trace of jobs."""
