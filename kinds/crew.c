/* SPDX-License-Identifier: Apache-2.0 */
/* crew.c - a semaphore for each thread that lets it go, and one that counts who is done. */
#include "kinds/crew.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

struct hand {
    struct crew *crew;
    int          part;
    pthread_t    thread;
    sem_t        go;
};

struct crew {
    int         parts;
    crew_fn    *fn; /* NULL: go home */
    void       *ctx;
    sem_t       done;
    struct hand hands[]; /* parts - 1, for part 1 and on */
};

static void wait_for(sem_t *s)
{
    while (sem_wait(s)) { /* only a signal ends it early */
    }
}

static void *work(void *arg)
{
    struct hand *h = arg;
    struct crew *c = h->crew;

    for (;;) {
        wait_for(&h->go);
        if (!c->fn)
            return NULL;
        c->fn(c->ctx, h->part, c->parts);
        sem_post(&c->done);
    }
}

struct crew *crew_new(int threads)
{
    struct crew *c;
    int          wanted = threads < CREW_MAX ? threads : CREW_MAX;

    if (wanted < 2)
        return NULL;
    c = calloc(1, sizeof *c + (size_t)(wanted - 1) * sizeof *c->hands);
    if (!c)
        return NULL;
    sem_init(&c->done, 0, 0);
    for (c->parts = 1; c->parts < wanted; c->parts++) {
        struct hand *h = &c->hands[c->parts - 1];

        *h = (struct hand){.crew = c, .part = c->parts};
        sem_init(&h->go, 0, 0);
        if (pthread_create(&h->thread, NULL, work, h))
            break;
    }
    return c;
}

void crew_run(struct crew *c, crew_fn *fn, void *ctx)
{
    if (!c) {
        fn(ctx, 0, 1);
        return;
    }
    c->fn = fn;
    c->ctx = ctx;
    for (int i = 0; i < c->parts - 1; i++)
        sem_post(&c->hands[i].go);
    fn(ctx, 0, c->parts);
    for (int i = 0; i < c->parts - 1; i++)
        wait_for(&c->done);
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    c->fn = NULL;
    for (int i = 0; i < c->parts - 1; i++) {
        sem_post(&c->hands[i].go);
        pthread_join(c->hands[i].thread, NULL);
    }
    free(c);
}
