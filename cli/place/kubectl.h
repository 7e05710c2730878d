/* SPDX-License-Identifier: Apache-2.0 */
/* kubectl.h - kubectl of the PATH, which knows the cluster, its address and its keys; this program does not. */
#ifndef MILLRACE_CLI_PLACE_KUBECTL_H
#define MILLRACE_CLI_PLACE_KUBECTL_H

#include "common/buf.h"

/* Runs it with these words ("kubectl" first, NULL last), input (NULL: none) on its stdin; what it prints is appended to
 * out (NULL: goes where this program's output goes), what it complains about goes to stderr. ERR_IO with a sentence:
 * it cannot be run, did not end with 0, or printed more than a cluster has to say. */
enum err kubectl_run(const char *const words[], const struct buf *input, struct buf *out, struct fault *why) MUST_CHECK;

#endif
