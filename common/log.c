/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - formats on the stack, writes once, and where nobody reads goes on without.
 *
 * A line is built from the left; behind the last byte that a field may take
 * there is always room for what ends it. A field that does not fit is taken
 * back as a whole, a text is cut between two characters.
 */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

_Static_assert(LOG_LINE_BYTES <= PIPE_BUF, "a line is written as a whole, also into a pipe");

#define STUCK_MS 1000 /* so long a reader may keep us waiting, once */

static const struct {
    const char    *name, *sentence;
    enum log_level level;
} rows[EVENT_COUNT] = {
#define EVENT(id, level, name, sentence) {name, sentence, LOG_##level},
#include "common/events.def"
#undef EVENT
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* The one piece of state at file scope, because a log that must be handed to every function would drown the code. All
 * but lost is set by log_open, before threads. */
static struct {
    char           who[96]; /* the fields of the program */
    enum log_level least;
    atomic_llong   lost; /* lines since the reader of standard error stopped reading */
} log_state = {.who = "\"program\":\"millrace\",\"pid\":0", .least = LOG_INFO};

static bool is_closed(int fd)
{
    struct pollfd look = {.fd = fd};

    return poll(&look, 1, 0) == 1 && look.revents & POLLNVAL;
}

/* Else the next file that is opened, of a client's data perhaps, would be standard error. */
static void keep_number(void)
{
    int fd = STDIN_FILENO;

    while (fd >= 0 && fd <= STDERR_FILENO && is_closed(STDERR_FILENO))
        fd = open("/dev/null", O_RDWR);
}

void log_open(const char *program, enum log_level least)
{
    keep_number();
    snprintf(log_state.who, sizeof log_state.who, "\"program\":\"%s\",\"pid\":%d", program, (int)getpid());
    log_state.least = least;
}

bool log_wants(enum log_event event) { return rows[event].level >= log_state.least; }

const char *log_event_name(enum log_event event) { return rows[event].name; }
const char *log_event_level(enum log_event event) { return level_names[rows[event].level]; }
const char *log_event_sentence(enum log_event event) { return rows[event].sentence; }

/* ---- a line ------------------------------------------------------------------ */

static const char line_end[] = "}\n", line_end_cut[] = ",\"cut\":true}\n";

#define FIELDS_MAX (LOG_LINE_BYTES - (sizeof line_end_cut - 1))

struct line {
    char *at, *end; /* end: of what fields may take */
    bool  is_cut;
};

static bool put(struct line *l, const char *bytes, size_t len)
{
    if ((size_t)(l->end - l->at) < len)
        return false;
    memcpy(l->at, bytes, len);
    l->at += len;
    return true;
}

static bool put_text(struct line *l, const char *text) { return put(l, text, strlen(text)); }

static bool put_number(struct line *l, int64_t number)
{
    char     digits[24], *at = digits + sizeof digits;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;

    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (number < 0)
        *--at = '-';
    return put(l, at, (size_t)(digits + sizeof digits - at));
}

/* One character, which may be damaged, in a form that neither ends the string nor moves a terminal's cursor; *n: how
 * many bytes of the text it was. */
static bool put_character(struct line *l, const char *text, size_t len, size_t *n)
{
    char     escape[8];
    unsigned code = (unsigned char)*text;

    *n = text_character(text, len);
    if (!*n) {
        *n = 1;
        return put(l, "\xef\xbf\xbd", 3); /* U+FFFD */
    }
    if (*n == 2 && code == 0xc2)
        code = (unsigned char)text[1]; /* below U+00A0 it is a control character as well */
    if (*text == '"' || *text == '\\')
        return put(l, (char[]){'\\', *text}, 2);
    if (*text == '\n')
        return put(l, "\\n", 2);
    if (*n == 3 && memcmp(text, "\xe2\x80", 2) == 0 && (text[2] & ~1) == '\xa8')
        return put(l, text[2] & 1 ? "\\u2029" : "\\u2028", 6); /* some readers end a line there */
    if (*n <= 2 && (code < 0x20 || (code >= 0x7f && code < 0xa0)))
        return put(l, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", code));
    return put(l, text, *n);
}

/* How many bytes of the text stand in a line as they are. */
static size_t plain_length(const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && text[n] >= 0x20 && text[n] < 0x7f && text[n] != '"' && text[n] != '\\')
        n++;
    return n;
}

/* As far as there is room. */
static bool put_string(struct line *l, const char *text, size_t len)
{
    if (l->end - l->at < 2)
        return false;
    *l->at++ = '"';
    l->end--; /* for the closing one */
    while (len) {
        size_t n = plain_length(text, len), room = (size_t)(l->end - l->at);

        if (n)
            l->is_cut = !put(l, text, n < room ? n : room) || n > room;
        else
            l->is_cut = !put_character(l, text, len, &n);
        if (l->is_cut)
            break;
        text += n;
        len -= n;
    }
    l->end++;
    *l->at++ = '"';
    return true;
}

static bool is_left_out(const struct log_field *f)
{
    switch (f->type) {
    case LOG_FIELD_NONE:
        return true;
    case LOG_FIELD_TEXT:
        return !f->text || !*f->text;
    case LOG_FIELD_BYTES:
        return !f->len;
    default:
        return false;
    }
}

static void put_field(struct line *l, const struct log_field *f)
{
    char *before = l->at;
    bool  fits = put(l, ",\"", 2) && put_text(l, f->name) && put(l, "\":", 2);

    if (fits && f->type == LOG_FIELD_INT)
        fits = put_number(l, f->number);
    else if (fits)
        fits = put_string(l, f->text, f->type == LOG_FIELD_BYTES ? f->len : strlen(f->text));
    if (fits)
        return;
    l->at = before;
    l->is_cut = true;
}

size_t log_format(enum log_event event, const struct log_field *fields, char out[LOG_LINE_BYTES])
{
    struct line l = {.at = out, .end = out + FIELDS_MAX};
    char        when[WALL_TEXT_BYTES];

    wall_format(wall_ms(), when);
    put_text(&l, "{\"time\":\"");
    put(&l, when, sizeof when - 1);
    put_text(&l, "\",\"level\":\"");
    put_text(&l, log_event_level(event));
    put_text(&l, "\",");
    put_text(&l, log_state.who);
    put_text(&l, ",\"event\":\"");
    put_text(&l, rows[event].name);
    put(&l, "\"", 1);
    for (; fields->name && !l.is_cut; fields++)
        if (!is_left_out(fields))
            put_field(&l, fields);
    l.end = out + LOG_LINE_BYTES;
    put_text(&l, l.is_cut ? line_end_cut : line_end);
    return (size_t)(l.at - out);
}

/* ---- standard error -------------------------------------------------------------- */

/* Whether a line can be written without waiting any longer: a pipe that says so takes PIPE_BUF bytes. What is closed
 * says so, too. */
static bool has_room(int wait_ms)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    int           n;

    do
        n = poll(&out, 1, wait_ms);
    while (n < 0 && errno == EINTR);
    return n != 0;
}

static void write_line(enum log_event event, const struct log_field *fields)
{
    char   line[LOG_LINE_BYTES];
    size_t len = log_format(event, fields, line);

    while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR) {
        /* anything else: nowhere left to say so */
    }
}

/* Says how many lines are missing, where there are. False: there is no room for another one. */
static bool catch_up(void)
{
    long long lost = atomic_load(&log_state.lost);

    if (!has_room(lost ? 0 : STUCK_MS))
        return false;
    lost = atomic_exchange(&log_state.lost, 0);
    if (!lost)
        return true;
    write_line(EVENT_LINES_LOST, (const struct log_field[]){LOG_INT("lines", lost), {.name = NULL}});
    return has_room(0);
}

void log_write(enum log_event event, const struct log_field *fields)
{
    if (catch_up())
        write_line(event, fields);
    else
        atomic_fetch_add(&log_state.lost, 1);
}
