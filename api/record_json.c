/* SPDX-License-Identifier: Apache-2.0 */
/* record_json.c - a record as clients see it: RFC 3339 times, what is absent is left out. */
#include "api/gateway.h"
#include "common/clock.h"

static void put_time(struct buf *out, const char *name, int64_t wall)
{
    char text[WALL_TEXT_BYTES];

    if (!wall)
        return;
    wall_format(wall, text);
    buf_printf(out, ",\"%s\":\"%s\"", name, text);
}

static void put_text(struct buf *out, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    buf_printf(out, ",\"%s\":", name);
    buf_json(out, value);
}

/* Time spent waiting before the last claim, and running since; it goes on
 * counting while the state lasts. */
static void put_durations(struct buf *out, const struct record *r)
{
    int64_t now = wall_ms();
    bool    is_over = job_state_is_terminal(r->state);
    int64_t wait_end = r->started_ms ? r->started_ms : is_over ? r->finished_ms : now;
    int64_t run_end = is_over ? r->finished_ms : now;

    if (r->queued_ms && wait_end >= r->queued_ms)
        buf_printf(out, ",\"wait_seconds\":%.3f", (double)(wait_end - r->queued_ms) / 1000);
    if (r->started_ms && (is_over || r->state == JOB_IN_PROGRESS) && run_end >= r->started_ms)
        buf_printf(out, ",\"run_seconds\":%.3f", (double)(run_end - r->started_ms) / 1000);
}

/* A group's parent counts its members; a member names its parent; a job that a client put into a group names that. */
static void put_group(struct buf *out, const struct record *r)
{
    if (r->members_total)
        buf_printf(out, ",\"tiles\":{\"total\":%lld,\"done\":%lld}", (long long)r->members_total,
                   (long long)r->members_done);
    if (*r->parent)
        buf_printf(out, ",\"parent\":\"%s\",\"member\":%lld", r->parent, (long long)r->member);
    if (*r->set)
        buf_printf(out, ",\"group\":\"%s\"", r->set);
}

void record_to_json(const struct record *r, struct buf *out)
{
    buf_printf(out, "{\"id\":\"%s\",\"kind\":\"%s\",\"state\":\"%s\"", r->id, r->kind, job_state_name(r->state));
    buf_printf(out, ",\"attempt\":%lld,\"max_attempts\":%lld,\"losses\":%lld", (long long)r->attempt,
               (long long)r->max_attempts, (long long)r->losses);
    put_time(out, "created", r->created_ms);
    put_time(out, "queued", r->queued_ms);
    put_time(out, "started", r->started_ms);
    put_time(out, "finished", r->finished_ms);
    put_time(out, "deadline", r->deadline_ms);
    if (r->state == JOB_RETRYING)
        put_time(out, "next_attempt_at", r->next_attempt_ms);
    put_durations(out, r);
    put_text(out, "worker", r->worker);
    buf_printf(out, ",\"progress\":%.4g", r->state == JOB_COMPLETED ? 1.0 : r->progress);
    if (r->error_code && *r->error_code) {
        buf_text(out, ",\"error\":{\"code\":");
        buf_json(out, r->error_code);
        buf_text(out, ",\"detail\":");
        buf_json(out, r->error_detail ? r->error_detail : "");
        buf_text(out, "}");
    }
    put_group(out, r);
    if (r->result_bytes >= 0) {
        buf_printf(out, ",\"result\":{\"size\":%lld,\"content_type\":", (long long)r->result_bytes);
        buf_json(out, r->content_type);
        buf_text(out, "}");
    }
    if (r->verified && *r->verified)
        buf_printf(out, ",\"verified\":%s", r->verified);
    buf_printf(out, ",\"links\":{\"self\":\"/jobs/%s\",\"result\":\"/jobs/%s/result\"}}\n", r->id, r->id);
}

void records_to_json(const struct record *records, size_t count, struct buf *out)
{
    buf_text(out, "[");
    for (size_t i = 0; i < count; i++) {
        buf_text(out, i ? "," : "");
        if (records[i].state == JOB_STATE_COUNT)
            buf_printf(out, "{\"id\":\"%s\",\"state\":\"expired\"}", records[i].id);
        else
            record_to_json(&records[i], out);
    }
    buf_text(out, "]");
}
