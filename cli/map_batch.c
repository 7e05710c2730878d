/* SPDX-License-Identifier: Apache-2.0 */
/* map_batch.c - see the header. */
#include "cli/map_batch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/map_names.h"
#include "common/clock.h"

void batch_temporary(const struct state *st, size_t index, struct buf *out)
{
    char name[24];

    snprintf(name, sizeof name, "%zu", index);
    state_path_temporary(st, name, out);
}

void batch_add(struct batch *b, size_t index, uint64_t bytes, const char *type, const struct record *record)
{
    struct batch_item *item = &b->items[b->count];

    assert(b->count < BATCH_MAX);
    if (!b->count++)
        b->since_ms = mono_ms();
    item->index = index;
    item->bytes = bytes;
    item->record = *record;
    snprintf(item->type, sizeof item->type, "%s", type);
}

static enum err flush(const struct state *st, struct fault *why)
{
    /* The journal lies in the same folder, so in the same file system, as the temporaries. */
    return syncfs(st->journal_fd) ? fault_set(why, ERR_IO, "the output folder cannot be written: %s", strerror(errno))
                                  : ERR_OK;
}

/* The folders above the file at path, below the output folder. 0, or errno. */
static int make_parents(char *path, size_t from)
{
    int fault = 0;

    for (char *slash = strchr(path + from, '/'); slash && !fault; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        fault = mkdir(path, 0777) && errno != EEXIST ? errno : 0;
        *slash = '/';
    }
    return fault;
}

/* 0, or errno. */
static int put_in_place(const struct state *st, const char *temporary, const char *name)
{
    struct buf path = {0};
    int        fault = 0;

    state_path_output(st, name, &path);
    if (rename(temporary, path.data)) {
        fault = errno;
        if (fault == ENOENT) {
            fault = make_parents(path.data, strlen(st->output) + 1);
            if (!fault && rename(temporary, path.data))
                fault = errno;
        }
    }
    buf_free(&path);
    return fault;
}

static void name_of(const struct batch *b, const struct batch_item *item, struct buf *out)
{
    names_output(plan_name(b->plan, item->index), plan_base(b->plan, item->index), item->type, out);
}

static struct ending ending_of(const struct batch_item *item, const char *output)
{
    const struct record *r = &item->record;

    return (struct ending){.is_done = true,
                           .started_ms = r->started_ms,
                           .run_us = r->run_us,
                           .worker = r->worker,
                           .bytes = item->bytes,
                           .output = output};
}

static void announce(struct batch *b, const struct batch_item *item)
{
    struct buf    name = {0};
    struct ending end;

    name_of(b, item, &name);
    end = ending_of(item, name.data);
    state_note_end(b->state, b->plan, item->index, &end);
    buf_free(&name);
}

/* Whether it is the file system that fails, not this file. */
static bool is_of_all(int fault) { return fault == ENOSPC || fault == EDQUOT || fault == EROFS || fault == EIO; }

/* 0, or errno of a fault that the next file would meet as well. */
static int put_one(struct batch *b, const struct batch_item *item)
{
    struct buf    temporary = {0}, name = {0};
    struct ending end;
    char          detail[FAULT_DETAIL_BYTES];
    int           fault;

    batch_temporary(b->state, item->index, &temporary);
    name_of(b, item, &name);
    end = ending_of(item, name.data);
    fault = put_in_place(b->state, temporary.data, name.data);
    if (fault && !is_of_all(fault)) {
        unlink(temporary.data);
        snprintf(detail, sizeof detail, "its output %.160s cannot be written: %s", name.data, strerror(fault));
        end.is_done = false;
        end.code = "io";
        end.detail = detail;
        end.bytes = 0;
        state_note_end(b->state, b->plan, item->index, &end);
    }
    fault = is_of_all(fault) ? fault : 0;
    if (!fault)
        b->ended(b->ctx, item->index, &end);
    buf_free(&temporary);
    buf_free(&name);
    return fault;
}

/* All of them, as far as that goes; *put: how many have their names, or have failed. ERR_IO: the next cannot either. */
static enum err put_all(struct batch *b, int *put, struct fault *why)
{
    int fault = 0;

    while (!fault && *put < b->count) {
        fault = put_one(b, &b->items[*put]);
        *put += !fault;
    }
    return fault ? fault_set(why, ERR_IO, "the output folder cannot be written: %s", strerror(fault)) : ERR_OK;
}

enum err batch_commit(struct batch *b, struct fault *why)
{
    enum err e = b->count ? flush(b->state, why) : ERR_OK;
    int      put = 0;

    for (int i = 0; !e && i < b->count; i++)
        announce(b, &b->items[i]);
    if (!e)
        e = state_save(b->state, b->count > 0, why);
    if (!e)
        e = put_all(b, &put, why);
    for (int i = put; i < b->count; i++)
        b->plan->files[b->items[i].index].state = PLAN_TO_DO;
    b->count = 0;
    return e ? e : state_save(b->state, false, why); /* of those that cannot have their names; nothing, as a rule */
}

static bool is_file_of(const char *path, uint64_t bytes)
{
    struct stat found;

    return !stat(path, &found) && S_ISREG(found.st_mode) && (uint64_t)found.st_size == bytes;
}

/* Whether the output is there as the journal says, now or after its temporary was put in place. While there is that
 * temporary, what has the output's name is an older one, of whatever size. */
static bool is_in_place(const struct state *st, size_t index, const struct ending *end, bool is_dry)
{
    struct buf path = {0}, temporary = {0};
    bool       is_there;

    state_path_output(st, end->output, &path);
    batch_temporary(st, index, &temporary);
    if (is_file_of(temporary.data, end->bytes))
        is_there = is_dry || !put_in_place(st, temporary.data, end->output);
    else
        is_there = is_file_of(path.data, end->bytes);
    buf_free(&path);
    buf_free(&temporary);
    return is_there;
}

void batch_recover(struct state *st, struct plan *p, bool is_dry)
{
    struct buf    memory = {0};
    struct ending end;

    for (size_t i = 0; i < p->count; i++) {
        if (p->files[i].state != PLAN_DONE || p->files[i].is_gone)
            continue;
        if (!state_read_end(st, p, i, &memory, &end) || !is_in_place(st, i, &end, is_dry))
            state_note_again(st, p, i);
    }
    buf_free(&memory);
}
