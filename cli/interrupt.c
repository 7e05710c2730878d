/* SPDX-License-Identifier: Apache-2.0 */
/* interrupt.c - see the header. The one place with state of the whole process: a handler gets no context. */
#include "cli/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PATIENT_SIGNALS 2

static volatile sig_atomic_t count;
static int                   event = -1;

static void on_signal(int number)
{
    const unsigned long long one = 1;
    int                      saved = errno;

    if (++count > PATIENT_SIGNALS) {
        signal(number, SIG_DFL);
        raise(number);
    }
    if (write(event, &one, sizeof one) < 0) { /* it is readable already */
    }
    errno = saved;
}

void interrupt_init(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal}, before;

    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event < 0)
        abort(); /* no descriptor at the very start */
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int interrupt_count(void) { return count; }
int interrupt_fd(void) { return event; }
