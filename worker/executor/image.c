/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-exec-image - computes images for the worker that started it: serve.h has how.
 *
 * A program of its own because of libvips, which takes memory and time to load, and threads that come and go. */
#include "kinds/image/prepare.h"
#include "worker/executor/jail.h"
#include "worker/executor/serve.h"

#define NAME "millrace-exec-image"

static const char help[] = "It reads no settings, and takes no arguments but --help and --version.\n";

task_run *const task_runs[KIND_COUNT] = {[KIND_ID_image] = image_run};

int main(int argc, char **argv)
{
    struct server x;
    struct fault  why;

    serve_arguments(argc, argv, NAME, help);
    serve_greet(&x, NAME);
    if (image_prepare(&why) || image_warm_up(x.hello.memory_max, &why))
        serve_die(NAME, "warm-up", why.detail);
    if (jail_enter(EXECUTOR_FD, x.hello.memory_max, JAIL_MAKES_THREADS, &why))
        serve_die(NAME, "jail", why.detail);
    serve_jobs(&x, "");
}
