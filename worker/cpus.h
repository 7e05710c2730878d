/* SPDX-License-Identifier: Apache-2.0 */
/* cpus.h - how many CPUs this process may really use.
 *
 * The machine's count misleads in a container: what counts is the affinity
 * mask and the CPU quota of the own control group and all groups above it.
 */
#ifndef MILLRACE_CPUS_H
#define MILLRACE_CPUS_H

/* Whole CPUs within both the affinity mask and the quota, rounded down (half a
 * CPU more would only be throttled), at least 1. root is put before every path
 * that is read: "" in life, a made-up tree in tests. */
int cpus_usable(const char *root);

/* CPUs in the affinity mask, at least 1. */
int cpus_by_affinity(void);

/* The quota in thousandths of a CPU, the smallest on the way from the own
 * group to the top, of cgroup v1 or v2; -1 when there is none. */
long cpus_by_quota(const char *root);

#endif
