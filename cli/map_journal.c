/* SPDX-License-Identifier: Apache-2.0 */
/* map_journal.c - see the header. */
#include "cli/map_journal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES 4096 /* of a single line, which has some hundred as a rule */

static void put_field(struct buf *out, const char *field)
{
    static const char plain[] = "\t\n\\", coded[] = "tn\\";

    while (*field) {
        size_t len = strcspn(field, plain);

        buf_append(out, field, len);
        field += len;
        if (*field)
            buf_printf(out, "\\%c", coded[strchr(plain, *field++) - plain]);
    }
}

void journal_put(struct buf *out, const char *word, ...)
{
    va_list     fields;
    const char *field;

    buf_text(out, word);
    va_start(fields, word);
    while ((field = va_arg(fields, const char *))) {
        buf_text(out, "\t");
        put_field(out, field);
    }
    va_end(fields);
    buf_text(out, "\n");
}

/* In place: what put_field wrote becomes what it was. */
static void decode(char *field)
{
    char *to = field;

    for (; *field; field++) {
        if (*field == '\\' && field[1]) {
            field++;
            *to++ = *field == 't' ? '\t' : *field == 'n' ? '\n' : *field;
        } else {
            *to++ = *field;
        }
    }
    *to = '\0';
}

/* text: a line without its newline; becomes the memory of the fields. */
static void split(char *text, struct journal_line *line)
{
    line->count = 0;
    for (int i = 0; i < JOURNAL_FIELDS; i++)
        line->fields[i] = "";
    while (text && line->count < JOURNAL_FIELDS) {
        char *field = strsep(&text, "\t");

        decode(field);
        line->fields[line->count++] = field;
    }
}

enum err journal_read(int fd, bool (*take)(void *ctx, const struct journal_line *line), void *ctx, uint64_t *good_bytes,
                      struct fault *why)
{
    int                 copy = dup(fd);
    FILE               *file = copy < 0 ? NULL : fdopen(copy, "r");
    char               *text = NULL;
    size_t              room = 0;
    ssize_t             len;
    struct journal_line line;
    bool                is_fine = true;

    if (!file) {
        if (copy >= 0)
            close(copy);
        return fault_set(why, ERR_IO, "the journal cannot be read: %s", strerror(errno));
    }
    rewind(file);
    *good_bytes = 0;
    while (is_fine && (len = getline(&text, &room, file)) > 0 && text[len - 1] == '\n') {
        if (memchr(text, '\0', (size_t)len))
            break; /* a power cut: the file grew, its bytes never came */
        text[len - 1] = '\0';
        line.at = *good_bytes;
        split(text, &line);
        is_fine = take(ctx, &line);
        if (is_fine)
            *good_bytes += (uint64_t)len;
    }
    is_fine = !ferror(file);
    free(text);
    fclose(file);
    return is_fine ? ERR_OK : fault_set(why, ERR_IO, "the journal cannot be read: %s", strerror(errno));
}

bool journal_read_at(int fd, uint64_t at, struct buf *text, struct journal_line *line)
{
    char *end = NULL;

    text->len = 0;
    while (!end) {
        char   *room = buf_reserve(text, PIECE_BYTES + 1);
        ssize_t got = pread(fd, room, PIECE_BYTES, (off_t)(at + text->len));

        if (got <= 0)
            return false;
        end = memchr(room, '\n', (size_t)got);
        text->len += (size_t)got;
    }
    *end = '\0';
    line->at = at;
    split(text->data, line);
    return true;
}

bool journal_number(const char *field, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(field, &end, 10);
    return *field && !*end && !errno;
}

enum err journal_append(int fd, struct buf *lines, struct fault *why)
{
    enum err e = ERR_OK;
    size_t   at = 0;

    while (!e && at < lines->len) {
        ssize_t written = write(fd, lines->data + at, lines->len - at);

        if (written >= 0)
            at += (size_t)written;
        else if (errno != EINTR)
            e = fault_set(why, ERR_IO, "the journal cannot be written: %s", strerror(errno));
    }
    if (at)
        memmove(lines->data, lines->data + at, lines->len -= at);
    return e;
}
