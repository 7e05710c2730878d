/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - a block of printed rows, repeated. */
#include "loadtest/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadtest/tool.h"

#define NUMBER_BYTES 18
#define BLOCK_BYTES 1000000 /* of rows that are printed, about; at least one row */

enum part { PART_HEAD, PART_A, PART_BETWEEN, PART_B, PART_TAIL, PARTS };

static const char *const marks[PARTS] = {[PART_HEAD] = "{\"A\":[", [PART_BETWEEN] = "],\"B\":[", [PART_TAIL] = "]}"};

/* With brackets, and the comma that follows it. */
static size_t row_bytes(const struct text *t) { return (size_t)t->cols * (NUMBER_BYTES + 1) - 1 + 3; }

static uint64_t part_bytes(const struct text *t, int part)
{
    return marks[part] ? strlen(marks[part]) : (uint64_t)t->rows * row_bytes(t) - 1;
}

/* In [1, 10), of a generator that any one will do. */
static double next_number(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return 1 + 8.999 * ((double)(*state >> 11) / 9007199254740992.0);
}

static char *print_row(char *out, long cols, uint64_t *state)
{
    *out++ = '[';
    for (long i = 0; i < cols; i++)
        out += sprintf(out, i ? ",%.16f" : "%.16f", next_number(state));
    *out++ = ']';
    *out++ = ',';
    return out;
}

void text_init(struct text *t, long rows, long cols)
{
    uint64_t state = 1;
    size_t   count;
    char    *out;

    *t = (struct text){.rows = rows, .cols = cols};
    count = BLOCK_BYTES / row_bytes(t) + 1;
    t->block_bytes = count * row_bytes(t);
    out = t->block = malloc(t->block_bytes + 1);
    if (!out)
        tool_die("out of memory");
    while (count--)
        out = print_row(out, cols, &state);
}

void text_free(struct text *t)
{
    free(t->block);
    t->block = NULL;
}

uint64_t text_bytes(const struct text *t)
{
    uint64_t sum = 0;

    for (int part = 0; part < PARTS; part++)
        sum += part_bytes(t, part);
    return sum;
}

const char *text_next(struct text *t, size_t max, size_t *len)
{
    const char *bytes;
    uint64_t    left;
    size_t      in_block;

    if (t->part < PARTS && t->at == part_bytes(t, t->part)) {
        t->part++;
        t->at = 0;
    }
    if (t->part == PARTS)
        return NULL;
    left = part_bytes(t, t->part) - t->at;
    if (marks[t->part]) {
        bytes = marks[t->part] + t->at;
    } else {
        in_block = (size_t)(t->at % t->block_bytes);
        bytes = t->block + in_block;
        if (left > t->block_bytes - in_block)
            left = t->block_bytes - in_block;
    }
    *len = left < max ? (size_t)left : max;
    t->at += *len;
    return bytes;
}
