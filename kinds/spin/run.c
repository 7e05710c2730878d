/* SPDX-License-Identifier: Apache-2.0 */
/* spin: an integer mix that nothing can shorten, and a look at the clock every
 * few microseconds. */
#include <stdio.h>

#include "common/clock.h"
#include "common/numtext.h"
#include "kinds/spin/spin.h"
#include "kinds/task.h"

#define MIXES_PER_LOOK 2048 /* some 4 us */

/* Each step needs the one before (an xorshift generator), so it takes its time. */
static uint64_t mix(uint64_t x)
{
    for (int i = 0; i < MIXES_PER_LOOK; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    __asm__ volatile("" : "+r"(x)); /* the value is wanted, says this */
    return x;
}

enum err spin_run(struct task *task)
{
    double   seconds = task->args->real[SPIN_SECONDS];
    double   duration_us = seconds * 1e6;
    int64_t  started = mono_us();
    int64_t  spent;
    uint64_t iterations = 0, x = 1;
    char     number[NUMTEXT_BYTES];

    if (task->output_max < SPIN_RESULT_BYTES)
        return fault_set(&task->why, ERR_INTERNAL, "no room for the result");
    while ((double)(spent = mono_us() - started) < duration_us) {
        atomic_store_explicit(task->progress, (double)spent / duration_us, memory_order_relaxed);
        x = mix(x);
        iterations += MIXES_PER_LOOK;
    }
    task->output_len = (size_t)snprintf(task->output, SPIN_RESULT_BYTES, "{\"seconds\":%.*s,\"iterations\":%llu}",
                                        (int)numtext_print(seconds, number), number, (unsigned long long)iterations);
    return ERR_OK;
}
