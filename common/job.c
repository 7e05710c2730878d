/* SPDX-License-Identifier: Apache-2.0 */
/* job.c - state names, the table of moves, ids. */
#include "common/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"

#define BIT(state) (1u << (state))

static const struct {
    const char *name;
    unsigned    moves; /* states that may follow */
} states[JOB_STATE_COUNT] = {
    [JOB_UNCONFIRMED] = {"unconfirmed", BIT(JOB_PENDING) | BIT(JOB_IN_PROGRESS)},
    [JOB_PENDING] = {"pending", BIT(JOB_IN_PROGRESS) | BIT(JOB_FAILED) | BIT(JOB_CANCELLED)},
    [JOB_IN_PROGRESS] = {"in-progress", BIT(JOB_PENDING) | BIT(JOB_IN_PROGRESS) | BIT(JOB_RETRYING) |
                                            BIT(JOB_COMPLETED) | BIT(JOB_FAILED) | BIT(JOB_CANCELLED)},
    [JOB_RETRYING] = {"retrying", BIT(JOB_IN_PROGRESS) | BIT(JOB_FAILED) | BIT(JOB_CANCELLED)},
    [JOB_COMPLETED] = {"completed", 0},
    [JOB_FAILED] = {"failed", BIT(JOB_PENDING)},
    [JOB_CANCELLED] = {"cancelled", 0},
};

const char *job_state_name(enum job_state state) { return states[state].name; }

enum job_state job_state_from_name(const char *name)
{
    int i = 0;

    while (i < JOB_STATE_COUNT && strcmp(states[i].name, name) != 0)
        i++;
    return (enum job_state)i;
}

bool job_state_is_terminal(enum job_state state)
{
    return state == JOB_COMPLETED || state == JOB_FAILED || state == JOB_CANCELLED;
}

bool job_state_may_move(enum job_state from, enum job_state to) { return states[from].moves & BIT(to); }

/* Random bytes from a pool that the kernel fills a page at a time: two draws
 * per job are too many for a system call each. */
static void random_bytes(unsigned char *out, size_t len)
{
    static _Thread_local unsigned char pool[1024];
    static _Thread_local size_t        used = sizeof pool;

    if (sizeof pool - used < len) {
        if (getrandom(pool, sizeof pool, 0) != sizeof pool)
            abort(); /* cannot happen for so few bytes once the system is up */
        used = 0;
    }
    memcpy(out, pool + used, len);
    memset(pool + used, 0, len); /* never given twice */
    used += len;
}

static void put_hex(char *out, const unsigned char *bytes, int from, int count)
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[from + i] >> 4];
        out[2 * i + 1] = digits[bytes[from + i] & 15];
    }
}

void job_id_new(char out[JOB_ID_BYTES])
{
    static _Thread_local int64_t last_us;
    unsigned char                b[16];
    int64_t                      now_us = wall_ms() * 1000 + mono_us() % 1000;
    int64_t                      ms, fraction;

    /* RFC 9562 method 3: the 12 bits behind the time hold a fraction of the
     * millisecond; a repeated moment is pushed on, so that ids ascend. */
    if (now_us <= last_us)
        now_us = last_us + 1;
    last_us = now_us;
    ms = now_us / 1000;
    fraction = now_us % 1000 * 4;
    random_bytes(b, sizeof b);
    for (int i = 0; i < 6; i++)
        b[i] = (unsigned char)(ms >> (40 - 8 * i));
    b[6] = (unsigned char)(0x70 | (fraction >> 8));
    b[7] = (unsigned char)fraction;
    b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
    put_hex(out, b, 0, 4);
    put_hex(out + 9, b, 4, 2);
    put_hex(out + 14, b, 6, 2);
    put_hex(out + 19, b, 8, 2);
    put_hex(out + 24, b, 10, 6);
    out[8] = out[13] = out[18] = out[23] = '-';
    out[36] = 0;
}

bool job_id_is_valid(const char *text)
{
    for (int i = 0; i < 36; i++) {
        char c = text[i];
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (is_dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return !text[36];
}

int64_t job_id_wall_ms(const char *id)
{
    char hex[13];

    memcpy(hex, id, 8);
    memcpy(hex + 8, id + 9, 4);
    hex[12] = 0;
    return strtoll(hex, NULL, 16);
}

void job_copy_new(char out[COPY_BYTES])
{
    unsigned char b[16];

    random_bytes(b, sizeof b);
    put_hex(out, b, 0, 16);
    out[32] = 0;
}
