/* SPDX-License-Identifier: Apache-2.0 */
/* boot.c - before anything else on a connection: log in, look at the server,
 * load the scripts, learn the epoch, say the ring again if it is a new one.
 *
 *   AUTH, SELECT, INFO, SCRIPT LOAD ... --INFO's answer--> boot.lua --epoch--> replay --> up
 */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/store/internal.h"

/* True when the reply is good; else the connection has been given up. */
static bool accepted(struct store *s, const redisReply *r)
{
    if (!r)
        return false; /* the connection ended; its down event tells */
    s->heard_ms = uv_now(s->loop);
    if (!s->link)
        return false; /* an earlier answer was bad already */
    if (r->type != REDIS_REPLY_ERROR)
        return true;
    store_lose(s, r->str);
    return false;
}

static void on_check(redisAsyncContext *ac, void *reply, void *data)
{
    (void)ac;
    (void)accepted(data, reply);
}

void boot_login(redisAsyncContext *ac, const struct redis_url *url, redisCallbackFn *check, void *ctx)
{
    if (*url->user)
        redisAsyncCommand(ac, check, ctx, "AUTH %s %s", url->user, url->password);
    else if (*url->password)
        redisAsyncCommand(ac, check, ctx, "AUTH %s", url->password);
    if (url->db)
        redisAsyncCommand(ac, check, ctx, "SELECT %d", url->db);
}

/* Copies the value of `name:` from INFO's text; "" when it is not there. */
static void info_field(const char *info, const char *name, char *out, size_t room)
{
    size_t      len = strlen(name), n;
    const char *p = info;

    *out = 0;
    while (p && (strncmp(p, name, len) != 0 || p[len] != ':')) {
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    if (!p)
        return;
    p += len + 1;
    n = strcspn(p, "\r\n");
    if (n >= room)
        n = room - 1;
    memcpy(out, p, n);
    out[n] = 0;
}

/* A server that may throw records away, or cannot run the scripts, is none. */
static const char *unfit(const char *info)
{
    char version[24], limit[24], policy[32];

    info_field(info, "redis_version", version, sizeof version);
    info_field(info, "maxmemory", limit, sizeof limit);
    info_field(info, "maxmemory_policy", policy, sizeof policy);
    if (atoi(version) < 7)
        return "this Redis is older than 7.0";
    if (strcmp(limit, "0") != 0 && strcmp(policy, "noeviction") != 0)
        return "this Redis has a maxmemory with a policy that evicts records; set maxmemory-policy noeviction";
    return NULL;
}

static bool follows_nobody(const char *info)
{
    char role[16];

    info_field(info, "role", role, sizeof role);
    return strcmp(role, "slave") != 0;
}

/* A replica that hears nothing tells what was true when it last did. */
static const char *unfit_replica(const char *info)
{
    char following[8];

    info_field(info, "master_link_status", following, sizeof following);
    return follows_nobody(info) || !strcmp(following, "up") ? NULL : "this replica has lost its primary";
}

static void on_booted(redisAsyncContext *ac, void *reply, void *data)
{
    struct store *s = data;
    redisReply   *r = reply;
    int64_t       epoch;

    (void)ac;
    if (!accepted(s, r))
        return;
    epoch = r->type == REDIS_REPLY_STRING ? strtoll(r->str, NULL, 10) : 0;
    if (epoch <= 0 || r->len >= (int)sizeof s->epoch_text) {
        store_lose(s, "it has no epoch");
        return;
    }
    if (epoch == s->epoch) {
        store_set_up(s);
        return;
    }
    strcpy(s->epoch_text, r->str);
    if (s->epoch) {
        s->phase = PHASE_REPLAY;
        s->replaying = ring_replay(s);
        log_event(EVENT_STORE_EPOCH, LOG_INT("old", s->epoch), LOG_INT("new", epoch),
                  LOG_INT("replayed", s->replaying));
    }
    s->epoch = epoch;
    if (s->phase != PHASE_REPLAY || !s->replaying)
        store_set_up(s);
}

void boot_replayed(struct store *s) { store_set_up(s); }

/* Who follows nobody is the primary itself, or was promoted: then the epoch that it has was made by another process. */
static void on_maker(redisAsyncContext *ac, void *reply, void *data)
{
    struct store     *s = data;
    const redisReply *r = reply;

    (void)ac;
    if (accepted(s, r) && s->follows_nobody && (r->type != REDIS_REPLY_STRING || strcmp(r->str, s->run_id) != 0))
        store_lose(s, "it follows nobody, and is not the primary whose epoch it has");
}

static void ask_epoch(struct store *s)
{
    redisAsyncCommand(link_context(s->link), on_maker, s, "GET run_id");
    redisAsyncCommand(link_context(s->link), on_booted, s, "GET epoch");
}

static void on_info(redisAsyncContext *ac, void *reply, void *data)
{
    struct store *s = data;
    redisReply   *r = reply;
    const char   *reason;

    if (!accepted(s, r))
        return;
    reason = r->type == REDIS_REPLY_STRING ? unfit(r->str) : "INFO gave no text";
    if (!reason && s->config.is_replica)
        reason = unfit_replica(r->str);
    if (reason) {
        store_lose(s, reason);
        return;
    }
    info_field(r->str, "run_id", s->run_id, sizeof s->run_id);
    s->follows_nobody = follows_nobody(r->str);
    if (s->config.is_replica)
        ask_epoch(s);
    else
        redisAsyncCommand(ac, on_booted, s, "EVALSHA %s 0 %s", scripts[SCRIPT_boot].sha, s->run_id);
}

static void on_checked(redisAsyncContext *ac, void *reply, void *data)
{
    struct store     *s = data;
    const redisReply *r = reply;
    const char       *reason;

    (void)ac;
    if (!accepted(s, r))
        return;
    reason = r->type == REDIS_REPLY_STRING ? unfit_replica(r->str) : "INFO gave no text";
    if (!reason && follows_nobody(r->str) != s->follows_nobody)
        reason = "it was promoted, or follows another now";
    if (reason)
        store_lose(s, reason);
}

void boot_check(struct store *s)
{
    store_expect(s);
    redisAsyncCommand(link_context(s->link), on_checked, s, "INFO replication");
}

void boot_start(struct store *s)
{
    redisAsyncContext *ac = link_context(s->link);

    store_expect(s);
    boot_login(ac, &s->url, on_check, s);
    redisAsyncCommand(ac, on_info, s, "INFO"); /* Redis 6 takes one section at most: ask for all */
    for (int i = 0; i < SCRIPT_COUNT; i++)
        redisAsyncCommand(ac, on_check, s, "SCRIPT LOAD %b", scripts[i].text, scripts[i].len);
}

void boot_again(struct store *s)
{
    if (s->phase == PHASE_BOOT || !s->link)
        return;
    s->phase = PHASE_BOOT;
    store_expect(s);
    if (s->config.is_replica)
        ask_epoch(s);
    else
        redisAsyncCommand(link_context(s->link), on_booted, s, "EVAL %b 0 %s", scripts[SCRIPT_boot].text,
                          scripts[SCRIPT_boot].len, s->run_id);
}
