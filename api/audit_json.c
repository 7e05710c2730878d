/* SPDX-License-Identifier: Apache-2.0 */
/* audit_json.c - what an audit says: docs/audit.md has the form. */

#include "api/audit_impl.h"
#include "common/clock.h"

const char *const audit_sums[SUM_COUNT] = {"outbox", "kept"};

static const char *const live_states[] = {"pending", "in-progress", "retrying"};
static const char *const states[] = {"pending", "in-progress", "retrying", "completed", "failed", "cancelled"};

int64_t audit_number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

const json_t *audit_kind(const json_t *books, int kind)
{
    return json_object_get(json_object_get(books, "kinds"), kinds[kind]->name);
}

static int64_t sum_of(const json_t *counts, const char *const *names, size_t count)
{
    int64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += audit_number(counts, names[i]);
    return sum;
}

static bool adds_up(const json_t *counts)
{
    return audit_number(counts, "accepted") == sum_of(counts, states, sizeof states / sizeof *states);
}

static void put_kinds(const struct audits *a, struct buf *out)
{
    for (int i = 0; i < KIND_COUNT; i++) {
        buf_printf(out, "%s\"%s\":{\"live\":%lld,\"messages\":", i ? "," : "", kinds[i]->name,
                   (long long)sum_of(audit_kind(a->books, i), live_states, 3));
        if (a->has_broker)
            buf_printf(out, "%lld", (long long)(a->balance.ready[i] + a->owned[i]));
        else
            buf_text(out, "null");
        buf_printf(out, ",\"outbox\":%lld,\"leases\":%lld}", (long long)a->outboxed[i], (long long)a->owned[i]);
    }
}

static void put_finding(const struct audits *a, const struct finding *f, struct buf *out)
{
    struct buf why = {0};

    buf_text(out, "{\"id\":");
    buf_json(out, f->id);
    if (f->kind >= 0)
        buf_printf(out, ",\"kind\":\"%s\"", kinds[f->kind]->name);
    buf_text(out, ",\"state\":");
    buf_json(out, f->state);
    buf_text(&why, f->why);
    if (f->is_bare)
        buf_printf(&why, "%sthe queue has %lld messages for %lld jobs that wait for one", *f->why ? ", and " : "",
                   (long long)a->balance.ready[f->kind], (long long)a->balance.bare[f->kind]);
    buf_append(&why, "", 1);
    buf_text(out, ",\"why\":");
    buf_json(out, why.data);
    buf_text(out, f->is_bare ? ",\"suspected\":true}" : "}");
    buf_free(&why);
}

/* Per kind: the sums are of one moment, so one look is enough. Returns how many do not add up. */
static int put_sums(const struct audits *a, struct buf *out)
{
    int count = 0;

    for (int i = 0; i < KIND_COUNT; i++) {
        const json_t *counts = audit_kind(a->books, i);

        if (adds_up(counts))
            continue;
        buf_printf(out, "%s{\"kind\":\"%s\",\"why\":\"%lld jobs were accepted, and %lld are in all states together\"}",
                   count++ ? "," : "", kinds[i]->name, (long long)audit_number(counts, "accepted"),
                   (long long)sum_of(counts, states, sizeof states / sizeof *states));
    }
    return count;
}

static void put_unchecked(const struct audits *a, struct buf *out)
{
    const char *before = "";

    buf_text(out, ",\"unchecked\":[");
    if (!a->has_broker) {
        buf_text(out, "\"messages: the broker does not answer\"");
        before = ",";
    }
    for (int i = 0; i < SUM_COUNT; i++) {
        if (!a->is_moving[i])
            continue;
        buf_printf(out, "%s\"bytes of %s: they did not hold still\"", before, audit_sums[i]);
        before = ",";
    }
    buf_text(out, "]");
}

bool audit_to_json(const struct audits *a, struct buf *body)
{
    const json_t *jobs = json_object_get(a->books, "jobs");
    struct buf    exceptions = {0};
    int           faults = put_sums(a, &exceptions);
    bool          sum_ok = adds_up(jobs) && !faults;
    char          now[WALL_TEXT_BYTES];

    for (size_t i = 0; i < a->found.count; i++) {
        buf_text(&exceptions, faults++ ? "," : "");
        put_finding(a, &a->found.each[i], &exceptions);
    }
    buf_printf(body, "{\"ok\":%s,\"accepted\":%lld,\"states\":{", sum_ok && !faults ? "true" : "false",
               (long long)audit_number(jobs, "accepted"));
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        buf_printf(body, "%s\"%s\":%lld", i ? "," : "", states[i], (long long)audit_number(jobs, states[i]));
    buf_printf(body, "},\"sum_ok\":%s,\"kinds\":{", sum_ok ? "true" : "false");
    put_kinds(a, body);
    buf_printf(body, "},\"delayed\":%lld,\"exceptions\":[", (long long)a->balance.delayed);
    buf_append(body, exceptions.data, exceptions.len);
    buf_printf(body, "],\"more\":%lld", (long long)a->found.more);
    put_unchecked(a, body);
    wall_format(wall_ms(), now);
    buf_printf(body, ",\"epoch\":%lld,\"at\":\"%s\"}\n", (long long)a->epoch, now);
    buf_free(&exceptions);
    return sum_ok && !faults;
}
