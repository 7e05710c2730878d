/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-exec-sample - computes what the tests ask for: spec.c has the parameters. */
#include <stdlib.h>

#include "common/clock.h"
#include "kinds/raw.h"
#include "worker/executor/jail.h"
#include "worker/executor/serve.h"

#define NAME "millrace-exec-sample"

enum { ARG_BYTES, ARG_TYPE, ARG_WAIT };

static void work(struct task *task)
{
    double  duration_us = task->args->real[ARG_WAIT] * 1e6;
    int64_t started = mono_us();

    while ((double)(mono_us() - started) < duration_us)
        atomic_store_explicit(task->progress, (double)(mono_us() - started) / duration_us, memory_order_relaxed);
}

static enum err repeat(struct outlet *o, const struct filemap *input, uint64_t bytes)
{
    enum err e = ERR_OK;

    while (!e && o->len < bytes) {
        uint64_t left = bytes - o->len;

        e = outlet_write(o, input->bytes, left < input->len ? (size_t)left : input->len);
    }
    return e;
}

enum err sample_run(struct task *task)
{
    const char    *type = args_text(task->args, ARG_TYPE);
    bool           has_bytes = task->args->real[ARG_BYTES] >= 0; /* not when it is absent: NAN */
    struct outlet  o;
    struct filemap input;
    enum err       e = raw_input(task, &input);

    if (e)
        return e;
    work(task);
    outlet_open(&o, task);
    e = repeat(&o, &input, has_bytes ? (uint64_t)task->args->integer[ARG_BYTES] : input.len);
    if (e)
        outlet_drop(&o);
    else
        outlet_close(&o, type ? type : "");
    filemap_close(&input);
    return e;
}

task_run *const task_runs[KIND_COUNT] = {[KIND_ID_sample] = sample_run};

int main(int argc, char **argv)
{
    struct server x;
    struct fault  why;

    serve_arguments(argc, argv, NAME, "");
    serve_greet(&x, NAME);
    if (jail_enter(EXECUTOR_FD, x.hello.memory_max, JAIL_HAS_THREADS, &why))
        serve_die(NAME, "jail", why.detail);
    serve_jobs(&x, "");
}
