/* SPDX-License-Identifier: Apache-2.0 */
/* map_record.c - see the header. */
#include "cli/map_record.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct {
    const char       *name;
    enum record_state state;
} states[] = {
    {"pending", RECORD_LIVE},        {"in-progress", RECORD_LIVE}, {"retrying", RECORD_LIVE},
    {"completed", RECORD_COMPLETED}, {"failed", RECORD_FAILED},    {"cancelled", RECORD_CANCELLED},
    {"expired", RECORD_GONE},
};

static void copy_text(const json_t *doc, const char *name, char *out, size_t room)
{
    const char *text = json_string_value(json_object_get(doc, name));

    snprintf(out, room, "%s", text ? text : "");
}

int64_t record_time_ms(const char *text)
{
    struct tm tm = {0};
    int       ms = 0, end = 0;

    if (!text ||
        sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec, &ms, &end) != 7 ||
        !end)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    return (int64_t)timegm(&tm) * 1000 + ms;
}

void record_read(const json_t *doc, struct record *out)
{
    const json_t *error = json_object_get(doc, "error");
    char          state[16];

    *out = (struct record){.state = RECORD_NONE};
    copy_text(doc, "id", out->id, sizeof out->id);
    copy_text(doc, "state", state, sizeof state);
    for (size_t i = 0; *out->id && i < sizeof states / sizeof *states; i++)
        if (!strcmp(states[i].name, state))
            out->state = states[i].state;
    copy_text(doc, "worker", out->worker, sizeof out->worker);
    copy_text(error, "code", out->code, sizeof out->code);
    copy_text(error, "detail", out->detail, sizeof out->detail);
    out->started_ms = record_time_ms(json_string_value(json_object_get(doc, "started")));
    out->run_us = (int64_t)(json_number_value(json_object_get(doc, "run_seconds")) * 1e6);
}
