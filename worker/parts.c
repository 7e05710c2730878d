/* SPDX-License-Identifier: Apache-2.0 */
/* parts.c - what a worker is put together of: its kinds and commands, a name,
 * slots with their executors, blobs, and the connections. main.c has the order. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "kinds/command/list.h"
#include "worker/cpus.h"
#include "worker/worker.h"

#define KEY_BYTES 512

enum err parts_choose_kinds(struct worker *w, struct fault *why)
{
    bool     is_wanted[KIND_COUNT] = {false};
    enum err e;

    programs_find(w->settings, &w->programs);
    e = programs_choose_kinds(w->settings, &w->programs, is_wanted, why);
    for (int i = 0; i < KIND_COUNT && !e; i++) {
        if (!is_wanted[i])
            continue;
        w->kinds[w->kind_count] = kinds[i];
        w->kind_names[w->kind_count] = kinds[i]->name;
        w->kind_ids[w->kind_count++] = (enum kind_id)i;
    }
    return e;
}

/* What commands there are; a mistake in their list is found now, not by a job. */
enum err parts_read_commands(struct worker *w, struct fault *why)
{
    const char *path = w->settings->commands_file;
    enum err    e = ERR_OK;

    for (int i = 0; i < w->kind_count && !e && !w->commands; i++) {
        if (w->kind_ids[i] != KIND_ID_command)
            continue;
        prctl(PR_SET_DUMPABLE, 0); /* a program of this user may not read our environment, with its passwords */
        e = commands_copy(path, &w->commands_copy, why);
        if (!e)
            e = commands_read_copy(w->commands_copy, path, &w->commands, why);
        if (!e)
            e = commands_check_programs(w->commands, why);
    }
    return e;
}

/* Who this worker is, for owners of leases and for people. */
void parts_name_worker(struct worker *w)
{
    int64_t now = wall_ms();
    char    text[WALL_TEXT_BYTES];

    if (gethostname(w->host, sizeof w->host) != 0)
        strcpy(w->host, "localhost");
    w->host[sizeof w->host - 1] = '\0';
    wall_format(now, text);
    snprintf(w->started, sizeof w->started, "%s", text);
    snprintf(w->id, sizeof w->id, "%s-%d-%" PRId64, w->host, (int)getpid(), now);
}

/* The executors of one slot, those of programs that our kinds need. */
static enum err open_children(struct slot *s, struct fault *why)
{
    struct worker *w = s->worker;
    enum err       e = ERR_OK;

    for (int i = 0; i < w->kind_count && !e; i++) {
        struct child *c = slot_child(s, i);

        if (!c->config)
            e = child_open(c, &w->child_configs[kind_programs[w->kind_ids[i]]], &attempt_child_events, s, why);
    }
    return e;
}

/* The main program starts at once, the others when a message needs them. */
enum err parts_open_slots(struct worker *w, struct fault *why)
{
    const struct settings *settings = w->settings;
    int                    cpus = cpus_usable("");

    w->slot_count = w->is_once ? 1 : settings->slots > 0 ? (int)settings->slots : cpus;
    for (int i = 0; i < PROGRAM_COUNT; i++)
        w->child_configs[i] = (struct child_config){
            .loop = w->loop,
            .path = w->programs.path[i],
            .variable = "",
            .list = i == PROGRAM_command ? w->commands_copy : -1,
            .has_kernel = i == PROGRAM_exec,
            .threads = cpus > w->slot_count ? cpus / w->slot_count : 1,
            .inline_max = (uint64_t)settings->inline_max,
            .memory_max = (uint64_t)settings->memory_max,
            .recycle_jobs = settings->recycle_jobs,
            .rest_ms = settings->rest_s * 1000,
        };
    w->slots = xcalloc((size_t)w->slot_count, sizeof *w->slots);
    w->channels = xcalloc((size_t)w->slot_count, sizeof *w->channels);
    consumers_open(w);
    for (int i = 0; i < w->slot_count; i++) {
        struct slot *s = &w->slots[i];
        s->worker = w;
        s->index = i;
        snprintf(s->owner, sizeof s->owner, "%s-%d", w->id, i);
        if (open_children(s, why))
            return why->err;
    }
    for (int i = 0; i < w->slot_count; i++)
        if (w->slots[i].children[PROGRAM_exec].config)
            (void)child_start(&w->slots[i].children[PROGRAM_exec], mono_ms()); /* a failure is tried again */
    return ERR_OK;
}

/* The bearer key: the file's first line. */
static enum err read_key(const char *path, char key[KEY_BYTES], struct fault *why)
{
    FILE *f;

    key[0] = '\0';
    if (!path[0])
        return ERR_OK;
    f = fopen(path, "re");
    if (!f || !fgets(key, KEY_BYTES, f))
        key[0] = '\0';
    if (f)
        fclose(f);
    key[strcspn(key, "\r\n")] = '\0';
    return key[0] ? ERR_OK : fault_set(why, ERR_CONFIG, "%.160s: no key can be read from this file", path);
}

enum err parts_open_blobs(struct worker *w, struct fault *why)
{
    const struct settings *settings = w->settings;
    char                   key[KEY_BYTES];
    struct blob_config     config = {.dir = settings->blob_dir,
                                     .url = settings->blob_url,
                                     .key = key,
                                     .patience_ms = settings->blob_patience_s * 1000};
    enum err               e;

    w->share = (struct share){.memory_bytes = (uint64_t)settings->memory_max, .slots = w->slot_count};
    if (!settings->blob_dir[0] && settings->blob_url[0])
        return fault_set(why, ERR_CONFIG, "MILLRACE_BLOB_URL needs a directory as its cache: set MILLRACE_BLOB_DIR");
    if (!settings->blob_dir[0])
        return ERR_OK;
    e = read_key(settings->blob_key_file, key, why);
    return e ? e : blob_store_open(w->loop, &config, &w->blobs, why);
}

enum err parts_connect_store(struct worker *w, const struct store_events *events, struct fault *why)
{
    const struct settings *settings = w->settings;
    struct store_config    config = {
           .url = settings->redis_url,
           .retention_ms = settings->retention_s * 1000,
           .lease_ms = settings->lease_s * 1000,
           .attempts_max = settings->attempts_max,
           .losses_max = settings->losses_max,
           .kept_max = settings->kept_max,
    };

    return store_open(w->loop, &config, events, w, &w->store, why);
}

enum err parts_connect_broker(struct worker *w, const struct broker_events *events, struct fault *why)
{
    struct broker_config config = {
        .url = w->settings->amqp_url,
        .name = w->id,
        .kinds = w->kind_names,
        .kind_count = w->kind_count,
        .is_quorum = w->settings->queue_type == QUEUE_TYPE_QUORUM,
        .heartbeat_s = (int)w->settings->heartbeat_s,
        .channels = w->slot_count,
    };

    return broker_start(w->loop, &config, events, w, &w->broker, why);
}

void parts_close_slots(struct worker *w)
{
    for (int i = 0; w->slots && i < w->slot_count; i++) {
        struct slot *s = &w->slots[i];

        for (int program = 0; program < PROGRAM_COUNT; program++)
            if (s->children[program].config)
                child_close(&s->children[program]);
        goods_drop(&s->goods);
        order_free(&s->order);
        delivery_free(s->delivery);
    }
}

void parts_free(struct worker *w)
{
    free(w->slots);
    free(w->channels);
    commands_free(w->commands);
    if (w->commands_copy >= 0)
        close(w->commands_copy);
}
