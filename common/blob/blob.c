/* SPDX-License-Identifier: Apache-2.0 */
/* blob.c - the store's life, and all that reads: from the directory, or from a gateway. */
#include "common/blob/blob.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/blob/blob_impl.h"
#include "common/clock.h"

#define TICK_MS 1000
#define TOUCH_TICKS 600 /* well below STALE_MS */

/* ---- quota ------------------------------------------------------------------------- */

int64_t quota_room(const struct blob_store *b)
{
    int64_t used = b->usage.bytes + b->writing_bytes;

    if (b->quota_bytes == 0)
        return -1;
    return used < b->quota_bytes ? b->quota_bytes - used : 0;
}

enum err quota_check(const struct blob_store *b, int64_t more, struct fault *why)
{
    int64_t room = quota_room(b);

    if (room < 0 || more <= room)
        return ERR_OK;
    return fault_set(why, ERR_DISK_FULL,
                     "%lld more bytes do not fit: blobs take %lld of the %lld bytes that they may have",
                     (long long)more, (long long)(b->usage.bytes + b->writing_bytes), (long long)b->quota_bytes);
}

void usage_add(struct blob_store *b, int64_t size)
{
    b->usage.bytes += size;
    b->usage.count++;
    b->sealed_here.bytes += size;
    b->sealed_here.count++;
}

static void usage_drop(struct blob_store *b, int64_t size)
{
    b->usage.bytes -= size < b->usage.bytes ? size : b->usage.bytes;
    b->usage.count -= b->usage.count > 0;
}

struct blob_usage blob_usage(const struct blob_store *b) { return b->usage; }

/* ---- open and close ------------------------------------------------------------------ */

/* Outlives its store by the turn of the loop that closes the timer. */
struct tender {
    uv_timer_t         timer;
    struct blob_store *store;
    unsigned           ticks;
};

static void on_tick(uv_timer_t *timer)
{
    struct tender *t = (struct tender *)timer;

    if (t->store->writers)
        writers_tend(t->store, ++t->ticks % TOUCH_TICKS == 0);
    if (!pool_tick(t->store) && !t->store->writers)
        uv_timer_stop(timer);
}

static void on_tender_closed(uv_handle_t *handle) { free(handle); }

static struct tender *tender_new(struct blob_store *b)
{
    struct tender *t = xcalloc(1, sizeof *t);

    t->store = b;
    uv_timer_init(b->loop, &t->timer);
    uv_unref((uv_handle_t *)&t->timer);
    return t;
}

void tender_wake(struct blob_store *b)
{
    if (!uv_is_active((uv_handle_t *)&b->tender->timer))
        uv_timer_start(&b->tender->timer, on_tick, TICK_MS, TICK_MS);
}

enum err blob_store_open(uv_loop_t *loop, const struct blob_config *config, struct blob_store **out, struct fault *why)
{
    struct blob_store *b = xcalloc(1, sizeof *b);
    struct walk        w = {.older_than_ms = INT64_MIN};
    enum err           e;

    b->loop = loop;
    b->dir.fd = -1;
    b->quota_bytes = config->quota_bytes;
    b->patience_ms = config->patience_ms;
    atomic_init(&b->is_closing, false);
    e = dir_open(config->dir, &b->dir, why);
    if (e)
        goto out;
    if (dir_walk(&b->dir, &w, &b->is_closing)) {
        e = fault_set(why, ERR_CONFIG, "the directory for blobs, %s, cannot be read", config->dir);
        goto out;
    }
    b->usage = (struct blob_usage){.bytes = w.bytes, .count = w.count};
    if (config->url && config->url[0])
        e = remote_open(config->url, config->key, &b->remote, why);
    if (e)
        goto out;
    b->tender = tender_new(b);
    *out = b;
    return ERR_OK;
out:
    dir_close(&b->dir);
    free(b);
    return e;
}

void blob_store_stop(struct blob_store *b)
{
    if (!b)
        return;
    assert(!b->writers);
    pool_close(b);
}

void blob_store_close(struct blob_store *b)
{
    if (!b)
        return;
    blob_store_stop(b);
    uv_close((uv_handle_t *)&b->tender->timer, on_tender_closed);
    remote_close(b->remote);
    dir_close(&b->dir);
    free(b);
}

/* ---- open and fetch -------------------------------------------------------------------- */

enum err blob_open(struct blob_store *b, const char *name, int *fd, struct blob_info *info, struct fault *why)
{
    return dir_find(&b->dir, name, fd, info, why);
}

/* What asks a gateway takes as long as that does. */
static void start_reading(struct blob_store *b, struct pool_job *job, void (*run)(struct pool_job *job),
                          void (*end)(struct pool_job *job, bool is_closing, bool has_begun))
{
    if (b->remote)
        pool_start_long(b, job, run, end);
    else
        pool_start(b, job, run, end);
}

struct fetch_waiter {
    blob_opened_fn *done;
    void           *ctx;
};

struct fetch {
    struct pool_job      job;
    struct fetch        *next; /* of the store's, behind a url */
    char                 name[BLOB_NAME_BYTES];
    int64_t              room;
    struct fetch_waiter *waiters;
    size_t               waiter_count;
    bool                 is_new;  /* it was not in the cache */
    bool                 is_away; /* the gateway is: it is worth another try */
    int                  fd;
    struct blob_info     info;
    struct fault         why;
    enum err             e;
};

static void fetch_run(struct pool_job *job)
{
    struct fetch      *f = (struct fetch *)job;
    struct blob_store *b = job->store;

    f->is_away = false;
    f->e = dir_find(&b->dir, f->name, &f->fd, &f->info, &f->why);
    if (!b->remote)
        return;
    if (f->e && f->e != ERR_NO_BLOB && dir_remove(&b->dir, f->name, &(int64_t){0}, NULL) == ERR_OK)
        f->e = ERR_NO_BLOB; /* a copy that is damaged */
    if (f->e == ERR_NO_BLOB) {
        f->e = remote_get(b->remote, &b->dir, f->name, f->room, &b->is_closing, &f->is_away, &f->why);
        f->is_new = !f->e;
        if (!f->e)
            f->e = dir_find(&b->dir, f->name, &f->fd, &f->info, &f->why);
    }
    if (!f->e)
        (void)futimens(f->fd, NULL); /* lent out: the cache keeps it on */
}

static void forget_fetch(struct blob_store *b, const struct fetch *f)
{
    for (struct fetch **at = &b->fetches; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            return;
        }
}

static void fetch_end(struct pool_job *job, bool is_closing, bool has_begun)
{
    struct fetch      *f = (struct fetch *)job;
    struct blob_store *b = job->store;

    if (!is_closing && f->is_away && pool_repeat(job, &f->why))
        return;
    forget_fetch(b, f);
    if (has_begun && f->is_new)
        usage_add(b, f->info.size);
    if (is_closing) {
        if (has_begun && !f->e)
            close(f->fd);
        f->e = closing_fault(&f->why);
    }
    for (size_t i = 0; i < f->waiter_count; i++) {
        enum err e = f->e;
        int      fd = f->fd;

        if (!e && i > 0) /* a descriptor of its own: offsets are not shared */
            e = dir_find(&b->dir, f->name, &fd, &f->info, &f->why);
        f->waiters[i].done(f->waiters[i].ctx, e, e ? &f->why : NULL, e ? -1 : fd, e ? NULL : &f->info);
    }
    free(f->waiters);
}

static struct fetch *find_fetch(struct blob_store *b, const char *name)
{
    struct fetch *f = b->fetches;

    while (f && strcmp(f->name, name) != 0)
        f = f->next;
    return f;
}

void blob_fetch(struct blob_store *b, const char *name, blob_opened_fn *done, void *ctx)
{
    struct fetch *f = b->remote ? find_fetch(b, name) : NULL;
    bool          is_first = !f;

    if (!f) {
        f = xcalloc(1, sizeof *f);
        snprintf(f->name, sizeof f->name, "%s", name); /* one that is too long is no name either way */
        f->room = quota_room(b);
        f->fd = -1;
        if (b->remote) {
            f->next = b->fetches;
            b->fetches = f;
        }
    }
    f->waiters = xrealloc(f->waiters, (f->waiter_count + 1) * sizeof *f->waiters);
    f->waiters[f->waiter_count++] = (struct fetch_waiter){done, ctx};
    if (is_first)
        start_reading(b, &f->job, fetch_run, fetch_end);
}

/* ---- delete ------------------------------------------------------------------------------- */

struct removal {
    struct pool_job job;
    char            name[BLOB_NAME_BYTES];
};

static void removal_run(struct pool_job *job)
{
    struct removal *r = (struct removal *)job;

    remote_delete(job->store->remote, r->name, &job->store->is_closing);
}

static void removal_end(struct pool_job *job, bool is_closing, bool has_begun)
{
    (void)job;
    (void)is_closing;
    (void)has_begun;
}

enum err blob_delete(struct blob_store *b, const char *name, struct fault *why)
{
    int64_t         size = 0;
    struct draft    gone;
    enum err        e = dir_take_away(&b->dir, name, &size, &gone, why);
    struct removal *r;

    if (!e) {
        usage_drop(b, size);
        discard(b, &gone);
    }
    if (!b->remote || !blob_name_is_valid(name) || (e && e != ERR_NO_BLOB))
        return e;
    r = xcalloc(1, sizeof *r);
    strcpy(r->name, name);
    pool_start_long(b, &r->job, removal_run, removal_end);
    return ERR_OK;
}

/* ---- list and sweep -------------------------------------------------------------------------- */

struct listing {
    struct pool_job   job;
    char              prefix[BLOB_NAME_BYTES]; /* of a list */
    struct names      names;
    struct walk       walk;   /* of a sweep */
    struct blob_usage before; /* sealed_here when it began */
    blob_names_fn    *done;
    void             *ctx;
    enum err          e;
};

static void answer(struct listing *l, const struct names *names, bool is_closing)
{
    if (is_closing)
        l->e = ERR_IO;
    l->done(l->ctx, l->e, l->e ? NULL : (const char *const *)names->name, l->e ? 0 : names->count);
}

static void list_run(struct pool_job *job)
{
    struct listing    *l = (struct listing *)job;
    struct blob_store *b = job->store;

    if (!blob_prefix_is_valid(l->prefix))
        l->e = ERR_PARAM;
    else if (b->remote)
        l->e = remote_list(b->remote, l->prefix, &l->names, &b->is_closing, NULL);
    else
        l->e = dir_list(&b->dir, l->prefix, &l->names, NULL);
}

static void list_end(struct pool_job *job, bool is_closing, bool has_begun)
{
    struct listing *l = (struct listing *)job;

    (void)has_begun;
    answer(l, &l->names, is_closing);
    names_free(&l->names);
}

void blob_list(struct blob_store *b, const char *prefix, blob_names_fn *done, void *ctx)
{
    struct listing *l = xcalloc(1, sizeof *l);

    if (strlen(prefix) < sizeof l->prefix)
        strcpy(l->prefix, prefix);
    l->done = done;
    l->ctx = ctx;
    start_reading(b, &l->job, list_run, list_end);
}

static void sweep_run(struct pool_job *job)
{
    struct listing *l = (struct listing *)job;

    if (job->store->remote)
        cache_leave_room(&job->store->dir, &job->store->is_closing);
    l->e = dir_walk(&job->store->dir, &l->walk, &job->store->is_closing);
}

static void sweep_end(struct pool_job *job, bool is_closing, bool has_begun)
{
    struct listing    *l = (struct listing *)job;
    struct blob_store *b = job->store;

    if (has_begun && !l->e) { /* what was sealed meanwhile may be counted twice: rather too much than too little */
        b->usage.bytes = l->walk.bytes + b->sealed_here.bytes - l->before.bytes;
        b->usage.count = l->walk.count + b->sealed_here.count - l->before.count;
        b->walk_from = l->walk.from;
    }
    answer(l, &l->walk.names, is_closing);
    names_free(&l->walk.names);
}

void blob_sweep(struct blob_store *b, int64_t age_ms, size_t limit, blob_names_fn *done, void *ctx)
{
    struct listing *l = xcalloc(1, sizeof *l);

    l->walk = (struct walk){
        .older_than_ms = wall_ms() - age_ms, .limit = limit, .is_removing = b->remote != NULL, .from = b->walk_from};
    l->before = b->sealed_here;
    l->done = done;
    l->ctx = ctx;
    pool_start(b, &l->job, sweep_run, sweep_end);
}
