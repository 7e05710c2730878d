/* SPDX-License-Identifier: Apache-2.0 */
/* adapter.c - hiredis on libuv, with as few system calls as it takes.
 *
 * hiredis asks for a write after every command. Here that only starts an idle
 * handle: all commands of one loop round leave in one write at the beginning of
 * the next round, before the loop sleeps. The descriptor is watched for POLLOUT
 * only while connecting and after a write that did not take everything.
 */
#include <stdlib.h>

#include "common/store/internal.h"

struct link {
    redisAsyncContext        *ac;     /* owned by hiredis; NULL once gone */
    const struct link_events *events; /* NULL: nobody listens any more */
    void                     *ctx;
    uv_poll_t                 poll;
    uv_idle_t                 flush;
    int                       watched; /* UV_READABLE | UV_WRITABLE */
    bool                      is_flushing, is_connected;
    int                       open_handles;
};

static void on_handle_closed(uv_handle_t *handle)
{
    struct link *l = handle->data;

    if (--l->open_handles == 0)
        free(l);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct link *l = poll->data;

    if (status < 0)
        events = UV_READABLE | UV_WRITABLE; /* let hiredis meet the error */
    if (events & UV_READABLE)
        redisAsyncHandleRead(l->ac);
    if (events & UV_WRITABLE && l->ac) {
        l->is_flushing = true;
        redisAsyncHandleWrite(l->ac);
        l->is_flushing = false;
    }
}

static void watch(struct link *l, int events)
{
    if (l->watched == events)
        return;
    l->watched = events;
    if (events)
        uv_poll_start(&l->poll, events, on_poll);
    else
        uv_poll_stop(&l->poll);
}

static void on_flush(uv_idle_t *idle)
{
    struct link *l = idle->data;

    uv_idle_stop(idle);
    l->is_flushing = true;
    redisAsyncHandleWrite(l->ac);
    l->is_flushing = false;
}

static void add_read(void *data)
{
    struct link *l = data;

    watch(l, l->watched | UV_READABLE);
}

static void del_read(void *data)
{
    struct link *l = data;

    watch(l, l->watched & ~UV_READABLE);
}

static void add_write(void *data)
{
    struct link *l = data;

    if (l->is_flushing || !l->is_connected)
        watch(l, l->watched | UV_WRITABLE);
    else
        uv_idle_start(&l->flush, on_flush);
}

static void del_write(void *data)
{
    struct link *l = data;

    watch(l, l->watched & ~UV_WRITABLE);
}

/* hiredis frees its context: every reply has been given, as NULL if need be. */
static void cleanup(void *data)
{
    struct link *l = data;
    char         why[128];

    snprintf(why, sizeof why, "%s", l->ac->errstr && *l->ac->errstr ? l->ac->errstr : "closed");
    l->ac->ev.cleanup = NULL;
    l->ac = NULL;
    uv_close((uv_handle_t *)&l->poll, on_handle_closed);
    uv_close((uv_handle_t *)&l->flush, on_handle_closed);
    if (l->events)
        l->events->down(l->ctx, why);
}

static void on_connect(const redisAsyncContext *ac, int status)
{
    struct link *l = ac->data;

    if (status != REDIS_OK)
        return; /* cleanup follows */
    l->is_connected = true;
    if (l->events)
        l->events->up(l->ctx);
}

struct link *link_open(uv_loop_t *loop, const char *ip, int port, const struct link_events *events, void *ctx)
{
    redisAsyncContext *ac = port ? redisAsyncConnect(ip, port) : redisAsyncConnectUnix(ip);
    struct link       *l;

    if (!ac || ac->err) {
        if (ac)
            redisAsyncFree(ac);
        return NULL;
    }
    l = xcalloc(1, sizeof *l);
    l->ac = ac;
    l->events = events;
    l->ctx = ctx;
    l->open_handles = 2;
    l->poll.data = l->flush.data = l;
    if (uv_poll_init(loop, &l->poll, ac->c.fd)) {
        redisAsyncFree(ac);
        free(l);
        return NULL;
    }
    uv_idle_init(loop, &l->flush);
    if (port)
        redisEnableKeepAlive(&ac->c);
    ac->data = l;
    ac->ev.data = l;
    ac->ev.addRead = add_read;
    ac->ev.delRead = del_read;
    ac->ev.addWrite = add_write;
    ac->ev.delWrite = del_write;
    ac->ev.cleanup = cleanup;
    redisAsyncSetConnectCallback(ac, on_connect); /* asks for the write that ends the connect */
    return l;
}

redisAsyncContext *link_context(struct link *l) { return l->ac; }

void link_close(struct link *l)
{
    if (!l)
        return;
    l->events = NULL;
    redisAsyncFree(l->ac);
}
