/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h - a small port for those who watch a worker.
 *
 *   GET /healthz   200 as long as the loop turns
 *   GET /readyz    200 while the worker is served, else 503
 *   GET /metrics   Prometheus text
 *
 * Without keys, and without anything that changes the worker. libmicrohttpd is
 * loaded when the port is opened: most workers have none, and it costs 3 MB.
 */
#ifndef MILLRACE_WORKER_PROBE_H
#define MILLRACE_WORKER_PROBE_H

#include <stdbool.h>
#include <uv.h>

#include "common/buf.h"
#include "common/err.h"

struct probe;

struct probe_config {
    const char *listen; /* an IP address; borrowed until probe_open returns */
    int         port;
    bool (*is_ready)(void *ctx);
    void (*write_metrics)(void *ctx, struct buf *out); /* appends */
    void *ctx;
};

/* Listens on the loop. ERR_CONFIG where that cannot be: no such address, port taken, no libmicrohttpd. */
enum err probe_open(uv_loop_t *loop, const struct probe_config *config, struct probe **out,
                    struct fault *why) MUST_CHECK;

/* Now and then: cuts connections that say nothing. Accepts NULL. */
void probe_tick(struct probe *p);

/* Takes p; its memory goes with the next round of the loop. Accepts NULL. */
void probe_close(struct probe *p);

#endif
