/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-exec - computes products, digests and the like for the worker that started it: serve.h has how. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/crew.h"
#include "kinds/matrix/kernel.h"
#include "worker/executor/jail.h"
#include "worker/executor/serve.h"

#define NAME "millrace-exec"

static const char help[] = "It reads no settings, and takes no arguments but --help, --version, and --kernel: says\n"
                           "which kernel the matrix library took for this CPU, and how fast it is.\n";

/* One line of JSON. */
static void print_kernel(void)
{
    struct kernel k = kernel_name();

    printf("{\"library\":\"%s\",\"core\":\"%s\",\"threads\":1,\"gflops\":%.1f}\n", k.library, k.core, kernel_measure());
}

/* A small product, so that OpenBLAS has its threads and buffers before the
 * door is locked, and the first job finds its code in memory. */
static void warm_up(const struct server *x)
{
    enum { SIDE = 128 }; /* large enough that no shortcut for small products is taken */
    static const double operands[2 * SIDE * SIDE] __attribute__((aligned(64)));
    static char         output[SIDE * SIDE * sizeof(double) + FRAME_PAGE] __attribute__((aligned(64)));
    char               *names[INPUT_BLOBS_MAX];
    struct args         args;
    struct task         task;

    args_init(&args);
    task = serve_task(x, &args);
    for (int i = 0; i < 3; i++) {
        args.integer[i] = SIDE;
        args.real[i] = SIDE;
    }
    task.input = operands;
    task.input_len = sizeof(operands);
    task.output = output;
    task.output_max = sizeof(output);
    input_blobs("{}", names); /* the reader of JSON draws a random number once, from a file */
    kernel_prepare();
    if (matrix_run(&task))
        serve_die(NAME, "warm-up", task.why.detail);
}

int main(int argc, char **argv)
{
    struct server x;
    struct kernel kernel;
    struct fault  why;
    char          name[64];

    if (argc == 2 && strcmp(argv[1], "--kernel") == 0) {
        print_kernel();
        return EXIT_SUCCESS;
    }
    serve_arguments(argc, argv, NAME, help);
    serve_greet(&x, NAME);
    x.crew = crew_new((int)x.hello.threads); /* here: the jail makes no threads */
    warm_up(&x);
    if (jail_enter(EXECUTOR_FD, x.hello.memory_max, JAIL_HAS_THREADS, &why))
        serve_die(NAME, "jail", why.detail);
    kernel = kernel_name();
    snprintf(name, sizeof(name), "%s %s", kernel.library, kernel.core);
    serve_jobs(&x, name);
}
