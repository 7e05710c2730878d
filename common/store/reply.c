/* SPDX-License-Identifier: Apache-2.0 */
/* reply.c - what the scripts answer, read into a store_reply. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/internal.h"

static const char *const words[] = {
    [STORE_OK] = "ok",         [STORE_EXISTS] = "exists",     [STORE_MISMATCH] = "mismatch",
    [STORE_GONE] = "gone",     [STORE_TERMINAL] = "terminal", [STORE_RUN] = "run",
    [STORE_MINE] = "mine",     [STORE_LATER] = "later",       [STORE_HELD] = "held",
    [STORE_ASK] = "ask",       [STORE_STALE] = "stale",       [STORE_CANCELLED] = "cancelled",
    [STORE_FAILED] = "failed", [STORE_RETRYING] = "retrying", [STORE_REFUSED] = "refused",
    [STORE_FULL] = "full",     [STORE_NO_INPUT] = "no-input", [STORE_NO_GROUP] = "no-group",
    [STORE_CLOSED] = "closed",
};

/* Fields of the hash that go straight into the record. */
#define AT(member) offsetof(struct record, member)
static const struct {
    const char *name;
    enum { INTEGER, TEXT } type;
    size_t at;
} fields[] = {
    {"fence", INTEGER, AT(fence)},
    {"attempt", INTEGER, AT(attempt)},
    {"max", INTEGER, AT(max_attempts)},
    {"errors", INTEGER, AT(errors)},
    {"losses", INTEGER, AT(losses)},
    {"created", INTEGER, AT(created_ms)},
    {"queued", INTEGER, AT(queued_ms)},
    {"started", INTEGER, AT(started_ms)},
    {"finished", INTEGER, AT(finished_ms)},
    {"next", INTEGER, AT(next_attempt_ms)},
    {"deadline", INTEGER, AT(deadline_ms)},
    {"bytes", INTEGER, AT(result_bytes)},
    {"owner", TEXT, AT(worker)},
    {"code", TEXT, AT(error_code)},
    {"detail", TEXT, AT(error_detail)},
    {"type", TEXT, AT(content_type)},
    {"blob", TEXT, AT(result_blob)},
    {"verified", TEXT, AT(verified)},
    {"layout", TEXT, AT(layout)},
    {"member", INTEGER, AT(member)},
    {"total", INTEGER, AT(members_total)},
    {"done", INTEGER, AT(members_done)},
};

static void read_field(struct record *record, const char *name, const redisReply *value)
{
    if (strcmp(name, "state") == 0) {
        record->state = job_state_from_name(value->str);
    } else if (strcmp(name, "kind") == 0) {
        snprintf(record->kind, sizeof record->kind, "%s", value->str);
    } else if (strcmp(name, "parent") == 0) {
        snprintf(record->parent, sizeof record->parent, "%s", value->str);
    } else if (strcmp(name, "group") == 0) {
        snprintf(record->set, sizeof record->set, "%s", value->str);
    } else if (strcmp(name, "progress") == 0) {
        record->progress = strtod(value->str, NULL);
    } else if (strcmp(name, "input") == 0) {
        record->has_input = value->str[0] == '1';
    } else {
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            char *member = (char *)record + fields[i].at;

            if (strcmp(name, fields[i].name) != 0)
                continue;
            if (fields[i].type == INTEGER)
                *(int64_t *)(void *)member = strtoll(value->str, NULL, 10);
            else
                *(const char **)(void *)member = value->str;
            break;
        }
    }
}

/* What stands in a record where the hash has no such field. */
static void read_nothing(struct record *record)
{
    record->worker = record->error_code = record->error_detail = record->content_type = "";
    record->result_blob = record->verified = record->layout = "";
    record->result_bytes = -1;
    record->state = JOB_STATE_COUNT;
}

/* The flat answer of HGETALL. What belongs to an earlier state is left out. */
static bool read_record(const char *id, const redisReply *r, struct record *record)
{
    if (r->type != REDIS_REPLY_ARRAY || r->elements % 2)
        return false;
    read_nothing(record);
    snprintf(record->id, sizeof record->id, "%s", id);
    for (size_t i = 0; i < r->elements; i += 2) {
        if (r->element[i]->type != REDIS_REPLY_STRING || r->element[i + 1]->type != REDIS_REPLY_STRING)
            return false;
        read_field(record, r->element[i]->str, r->element[i + 1]);
    }
    if (!record->queued_ms)
        record->queued_ms = record->created_ms;
    if (record->state != JOB_RETRYING)
        record->next_attempt_ms = 0;
    if (record->state == JOB_COMPLETED || record->state == JOB_CANCELLED)
        record->error_code = record->error_detail = "";
    if (record->state == JOB_COMPLETED)
        record->progress = 1;
    return record->state != JOB_STATE_COUNT;
}

static bool read_exists(const redisReply *r, struct record *record)
{
    if (r->elements != 4 || r->element[1]->len >= JOB_ID_BYTES)
        return false;
    read_nothing(record);
    strcpy(record->id, r->element[1]->str);
    snprintf(record->kind, sizeof record->kind, "%s", r->element[2]->str);
    record->state = job_state_from_name(r->element[3]->str);
    return record->state != JOB_STATE_COUNT;
}

/* id and bytes alternate from element `from` on. */
static bool read_items(const redisReply *r, size_t from, struct reply_parts *out)
{
    size_t count = (r->elements - from) / 2;

    if (r->elements < from || (r->elements - from) % 2)
        return false;
    out->items = xcalloc(count, sizeof *out->items);
    for (size_t i = 0; i < count; i++) {
        const redisReply *id = r->element[from + 2 * i], *data = r->element[from + 2 * i + 1];

        if (id->type != REDIS_REPLY_STRING || data->type != REDIS_REPLY_STRING)
            return false;
        out->items[i] = (struct store_item){id->str, data->str, (size_t)data->len};
    }
    out->reply.items = out->items;
    out->reply.item_count = count;
    return true;
}

/* Names alone, from element 1 on. */
static bool read_names(const redisReply *r, struct reply_parts *out)
{
    out->items = xcalloc(r->elements, sizeof *out->items);
    for (size_t i = 1; i < r->elements; i++) {
        if (r->element[i]->type != REDIS_REPLY_STRING)
            return false;
        out->items[i - 1] = (struct store_item){.id = r->element[i]->str, .data = ""};
    }
    out->reply.items = out->items;
    out->reply.item_count = r->elements - 1;
    return true;
}

static bool read_fences(const redisReply *r, struct reply_parts *out)
{
    out->fences = xcalloc(r->elements, sizeof *out->fences);
    for (size_t i = 0; i < r->elements; i++) {
        if (r->element[i]->type != REDIS_REPLY_STRING)
            return false;
        out->fences[i] = strtoll(r->element[i]->str, NULL, 10);
    }
    out->reply.fences = out->fences;
    out->reply.fence_count = r->elements;
    return true;
}

static int64_t integer_at(const redisReply *r, size_t i)
{
    return i < r->elements && r->element[i]->type == REDIS_REPLY_INTEGER ? r->element[i]->integer : -1;
}

static const char *text_at(const redisReply *r, size_t i)
{
    return i < r->elements && r->element[i]->type == REDIS_REPLY_STRING ? r->element[i]->str : NULL;
}

static bool read_attempt(const redisReply *r, struct reply_parts *out)
{
    out->reply.fence = integer_at(r, 1);
    out->reply.attempt = integer_at(r, 2);
    out->reply.errors = integer_at(r, 3);
    out->started_ms = integer_at(r, 4);
    out->losses = integer_at(r, 5); /* -1: none were counted */
    out->is_visit = r->elements > 6;
    return out->started_ms >= 0;
}

/* A record, and behind it the result: bytes, or the fences of the members that have its pieces. */
static bool read_job(const char *id, const redisReply *r, struct reply_parts *out)
{
    const redisReply *result = r->elements > 2 ? r->element[2] : NULL;

    if (result && result->type == REDIS_REPLY_STRING) {
        out->reply.data = result->str;
        out->reply.data_len = (size_t)result->len;
    }
    if (result && result->type == REDIS_REPLY_ARRAY && !read_fences(result, out))
        return false;
    out->reply.record = &out->record;
    return r->elements > 1 && read_record(id, r->element[1], &out->record);
}

static bool read_set_state(const redisReply *r, struct store_set *set)
{
    static const char *const names[] = {[SET_OPEN] = "open", [SET_CLOSED] = "closed", [SET_ENDED] = "ended"};
    const char              *text = text_at(r, 1);

    for (size_t i = 0; text && i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            set->state = (int)i;
            return true;
        }
    return false;
}

/* A count, which Lua has as an integer and a hash as text. */
static int64_t count_at(const redisReply *r, size_t i)
{
    const char *text = text_at(r, i);

    return text ? strtoll(text, NULL, 10) : integer_at(r, i);
}

/* As set.lua's view lists it. */
static bool read_set(const redisReply *r, struct reply_parts *out)
{
    static const enum job_state states[] = {JOB_PENDING,   JOB_IN_PROGRESS, JOB_RETRYING,
                                            JOB_COMPLETED, JOB_FAILED,      JOB_CANCELLED};
    struct store_set           *set = &out->set;
    const size_t                count = sizeof states / sizeof *states;

    if (r->elements != 6 + count || !read_set_state(r, set) || !(set->name = text_at(r, 2)))
        return false;
    set->created_ms = count_at(r, 3);
    set->accepted = count_at(r, 4);
    for (size_t i = 0; i < count; i++)
        set->jobs[states[i]] = count_at(r, 5 + i);
    set->ends = count_at(r, 5 + count);
    out->reply.set = set;
    return set->ends >= 0;
}

/* id and record alternate from element `from` on; of one that has expired there is no record. */
static bool read_records(const redisReply *r, size_t from, struct reply_parts *out)
{
    size_t count = (r->elements - from) / 2;

    out->records = xcalloc(count, sizeof *out->records);
    for (size_t i = 0; i < count; i++) {
        const redisReply *record = r->element[from + 2 * i + 1];
        const char       *id = text_at(r, from + 2 * i);

        if (!id)
            return false;
        if (record->type == REDIS_REPLY_NIL) {
            snprintf(out->records[i].id, sizeof out->records[i].id, "%s", id);
            out->records[i].state = JOB_STATE_COUNT;
        } else if (!read_record(id, record, &out->records[i])) {
            return false;
        }
    }
    out->reply.records = out->records;
    out->reply.record_count = count;
    return true;
}

static bool read_ends(const redisReply *r, struct reply_parts *out)
{
    out->reply.set = &out->set;
    out->reply.position = count_at(r, 2);
    return r->elements % 2 && out->reply.position >= 0 && read_set_state(r, &out->set) && read_records(r, 3, out);
}

static bool read_list(const redisReply *r, struct reply_parts *out)
{
    out->reply.has_more = integer_at(r, 1) == 1;
    out->reply.position = count_at(r, 2);
    out->reply.last_id = text_at(r, 3);
    return out->reply.last_id && r->elements % 2 == 0 && read_records(r, 4, out);
}

/* What stands behind the word of an array answer. */
static bool read_rest(const struct call *c, const redisReply *r, struct reply_parts *out)
{
    struct store_reply *reply = &out->reply;

    switch (reply->answer) {
    case STORE_RUN:
    case STORE_MINE:
        return read_attempt(r, out);
    case STORE_TERMINAL: /* this very claim ended the job */
        reply->code = text_at(r, 5);
        reply->detail = text_at(r, 6);
        return read_attempt(r, out) && reply->code && reply->detail;
    case STORE_LATER:
    case STORE_HELD:
    case STORE_RETRYING:
        reply->wait_ms = integer_at(r, 1);
        reply->is_other_cut = r->elements > 2;
        return reply->wait_ms >= 0;
    case STORE_EXISTS:
        reply->record = &out->record;
        return read_exists(r, &out->record);
    default:
        break;
    }
    switch (c->script) {
    case SCRIPT_pull:
        return read_items(r, 1, out);
    case SCRIPT_replay:
        if (reply->answer != STORE_OK)
            return read_job(c->subject, r, out);
        out->until_ms = integer_at(r, 1);
        reply->fence = integer_at(r, 2);
        return out->until_ms >= 0 && reply->fence >= 0;
    case SCRIPT_outbox_take:
        out->until_ms = integer_at(r, 1);
        return read_items(r, 2, out);
    case SCRIPT_audit:
    case SCRIPT_stats:
        reply->data = r->elements > 1 ? r->element[1]->str : NULL;
        reply->data_len = r->elements > 1 ? (size_t)r->element[1]->len : 0;
        return reply->data != NULL;
    case SCRIPT_beat:
        reply->workers = integer_at(r, 1);
        return reply->workers >= 0;
    case SCRIPT_blobs_needed:
        return read_names(r, out);
    case SCRIPT_set_make:
    case SCRIPT_set_get:
    case SCRIPT_set_close:
        return read_set(r, out);
    case SCRIPT_set_ends:
        return read_ends(r, out);
    case SCRIPT_list:
        return read_list(r, out);
    case SCRIPT_overdue:
        reply->has_more = integer_at(r, 1) == 1;
        return true;
    default:
        return read_job(c->subject, r, out);
    }
}

bool reply_read(const struct call *c, const redisReply *r, struct reply_parts *out)
{
    const redisReply *word = r->type == REDIS_REPLY_ARRAY && r->elements ? r->element[0] : r;
    size_t            answer = 0, count = sizeof words / sizeof *words;

    if (word->type != REDIS_REPLY_STRING)
        return false;
    while (answer < count && strcmp(words[answer], word->str) != 0)
        answer++;
    if (answer == count)
        return false;
    out->reply.answer = (enum store_answer)answer;
    return word == r || read_rest(c, r, out);
}

bool reply_read_notice(const char *id, const redisReply *r, struct reply_parts *out)
{
    const char *epoch = r->type == REDIS_REPLY_ARRAY ? text_at(r, 0) : NULL;

    if (!epoch || !read_job(id, r, out) || !job_state_is_terminal(out->record.state))
        return false;
    out->reply.answer = STORE_OK;
    out->reply.epoch = strtoll(epoch, NULL, 10);
    return true;
}

void reply_free(struct reply_parts *parts)
{
    free(parts->items);
    free(parts->records);
    free(parts->fences);
}
