/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - see the header. */
#include "cli/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/interrupt.h"

#define SHOWN_FROM_BYTES (8u << 20)
#define SHOWN_EACH_MS 200

uint64_t file_bytes(const char *file)
{
    struct stat st;

    return !stat(file, &st) && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

enum outcome fetch_shown(struct http *h, struct transfer *t, const char *what, const uint64_t *done, uint64_t total)
{
    if (total < SHOWN_FROM_BYTES || !isatty(STDERR_FILENO))
        return http_do(h, t);
    http_start(h, t);
    while (t->exchange && !interrupt_count()) {
        http_run(h, SHOWN_EACH_MS);
        fprintf(stderr, "\r%s %3.0f %%", what, 100.0 * (double)*done / (double)total);
    }
    fputs("\r\033[K", stderr);
    http_abort(h, t);
    return t->outcome;
}

static enum outcome local_fault(struct transfer *t, const char *file)
{
    snprintf(t->reason, sizeof t->reason, "%s: %s", file, strerror(errno));
    return t->outcome = EXIT_LOCAL;
}

static enum outcome into_open(struct http *h, struct transfer *t, const char *file)
{
    t->into_fd = open(file, O_WRONLY | O_CLOEXEC);
    if (t->into_fd < 0)
        return local_fault(t, file);
    http_do(h, t);
    if (close(t->into_fd) && t->outcome == EXIT_OK)
        local_fault(t, file);
    return t->outcome;
}

/* The name behind a link, so that the rename replaces what it leads to; owned by the caller. */
static char *place_of(const char *file)
{
    char *real = realpath(file, NULL);

    return real ? real : xstrdup(file);
}

static enum outcome into_place(struct http *h, struct transfer *t, const char *file)
{
    char      *place = place_of(file), *part;
    struct buf name = {0};

    buf_printf(&name, "%s.part-%d", place, (int)getpid());
    part = buf_detach(&name);
    t->into = part;
    if (http_do(h, t) == EXIT_OK && rename(part, place)) {
        local_fault(t, file);
        unlink(part);
    }
    t->into = NULL;
    free(part);
    free(place);
    return t->outcome;
}

enum outcome fetch_into(struct http *h, struct transfer *t, const char *file)
{
    struct stat st;

    if (file) {
        if (!stat(file, &st) && !S_ISREG(st.st_mode))
            return into_open(h, t, file);
        return into_place(h, t, file);
    }
    fflush(stdout);
    t->into_fd = STDOUT_FILENO;
    return http_do(h, t);
}
