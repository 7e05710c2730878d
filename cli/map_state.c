/* SPDX-License-Identifier: Apache-2.0 */
/* map_state.c - see the header. The lines of a journal (map_journal.h):
 *
 *   millrace-map 1                                      the first line
 *   dataset   PATH
 *   target    KIND?QUERY
 *   file      INDEX SIZE MTIME_NS NAME BASE             to be done; once more: it changed
 *   limits    ATTEMPTS TIMEOUT_S                        of the jobs from here on; the last line counts
 *   session   WALL_MS                                   a client began to work
 *   group     ID                                        jobs from here on are of this group
 *   again     INDEX                                     failed or lost: to be done under another key
 *   done      INDEX STARTED_MS RUN_US WORKER BYTES OUTPUT
 *   failed    INDEX STARTED_MS RUN_US WORKER CODE DETAIL
 *   position  N                                         in the group's ends
 *
 * Losing the last lines costs work, never a result: a file that is not called
 * done is submitted under the same key, which gives the job that there is.
 */
#include "cli/map_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/map_journal.h"

#define MAGIC "millrace-map"
#define VERSION "1"

/* ---- paths -------------------------------------------------------------------- */

static char *path_in(const struct state *st, const char *name)
{
    struct buf path = {0};

    buf_printf(&path, "%s/" STATE_FOLDER "/%s", st->output, name);
    buf_append(&path, "", 1);
    return buf_detach(&path);
}

void state_path_temporary(const struct state *st, const char *name, struct buf *out)
{
    buf_printf(out, "%s/" STATE_FOLDER "/tmp/%s", st->output, name);
    buf_append(out, "", 1);
}

void state_path_output(const struct state *st, const char *name, struct buf *out)
{
    buf_printf(out, "%s/%s", st->output, name);
    buf_append(out, "", 1);
}

/* mkdir -p. */
static enum err make_folders(const char *path, struct fault *why)
{
    char    *copy = xstrdup(path);
    enum err e = ERR_OK;

    for (char *slash = copy; !e && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        if (mkdir(copy, 0777) && errno != EEXIST)
            e = fault_set(why, ERR_IO, "the folder %.160s cannot be made: %s", copy, strerror(errno));
        if (slash)
            *slash = '/';
    }
    free(copy);
    return e;
}

/* ---- reading -------------------------------------------------------------------- */

struct reader {
    struct state *st;
    struct plan  *plan;
    bool          is_ours; /* the first line is right */
};

static bool take_text(char **to, const char *text)
{
    free(*to);
    *to = xstrdup(text);
    return true;
}

/* A number of a line that names a file there is. */
static bool take_index(const struct reader *r, const struct journal_line *line, size_t *index)
{
    int64_t number;

    if (!journal_number(line->fields[1], &number) || number < 0 || (size_t)number >= r->plan->count)
        return false;
    *index = (size_t)number;
    return true;
}

static bool take_file(struct reader *r, const struct journal_line *line)
{
    int64_t index, size, mtime;

    if (!journal_number(line->fields[1], &index) || !journal_number(line->fields[2], &size) ||
        !journal_number(line->fields[3], &mtime) || index < 0 || (size_t)index > r->plan->count)
        return false;
    if ((size_t)index == r->plan->count) {
        plan_add(r->plan, line->fields[4], (uint64_t)size, mtime);
    } else {
        struct plan_file *file = &r->plan->files[index];

        file->size = (uint64_t)size;
        file->mtime_ns = mtime;
        file->state = PLAN_TO_DO;
        file->again++;
    }
    plan_set_base(r->plan, (size_t)index, line->fields[5]);
    return true;
}

static bool take_again(struct reader *r, const struct journal_line *line)
{
    size_t index;

    if (!take_index(r, line, &index))
        return false;
    r->plan->files[index].state = PLAN_TO_DO;
    r->plan->files[index].again++;
    return true;
}

static bool take_end(struct reader *r, const struct journal_line *line, enum plan_state state)
{
    size_t index;

    if (!take_index(r, line, &index) || line->count < 7)
        return false;
    r->plan->files[index].state = (uint8_t)state;
    r->plan->files[index].end_at = line->at;
    return true;
}

static bool take_group(struct reader *r, const struct journal_line *line)
{
    if (strlen(line->fields[1]) >= GROUP_BYTES)
        return false;
    strcpy(r->st->group, line->fields[1]);
    r->st->position = 0;
    return true;
}

static bool take_position(struct reader *r, const struct journal_line *line)
{
    int64_t number;

    if (!journal_number(line->fields[1], &number) || number < 0)
        return false;
    r->st->position = (uint64_t)number;
    return true;
}

static bool take_limits(struct reader *r, const struct journal_line *line)
{
    struct try_limits limits;

    if (!journal_number(line->fields[1], &limits.attempts) || !journal_number(line->fields[2], &limits.timeout_s))
        return false;
    r->st->limits = limits;
    return true;
}

static bool take_line(void *ctx, const struct journal_line *line)
{
    struct reader *r = ctx;
    const char    *word = line->fields[0];

    if (!r->is_ours)
        return r->is_ours = !strcmp(word, MAGIC) && !strcmp(line->fields[1], VERSION);
    if (!strcmp(word, "done"))
        return take_end(r, line, PLAN_DONE);
    if (!strcmp(word, "failed"))
        return take_end(r, line, PLAN_FAILED);
    if (!strcmp(word, "file"))
        return take_file(r, line);
    if (!strcmp(word, "position"))
        return take_position(r, line);
    if (!strcmp(word, "again"))
        return take_again(r, line);
    if (!strcmp(word, "group"))
        return take_group(r, line);
    if (!strcmp(word, "limits"))
        return take_limits(r, line);
    if (!strcmp(word, "dataset"))
        return take_text(&r->st->dataset, line->fields[1]);
    if (!strcmp(word, "target"))
        return take_text(&r->st->target, line->fields[1]);
    return !strcmp(word, "session");
}

static enum err load(struct state *st, bool is_dry, struct plan *p, struct fault *why)
{
    struct reader r = {.st = st, .plan = p};
    char         *path = path_in(st, "journal");
    enum err      e = ERR_OK;

    st->journal_fd = open(path, (is_dry ? O_RDONLY : O_RDWR | O_APPEND) | O_CLOEXEC);
    if (st->journal_fd < 0) {
        if (errno != ENOENT)
            e = fault_set(why, ERR_IO, "%.180s cannot be opened: %s", path, strerror(errno));
        free(path);
        return e;
    }
    e = journal_read(st->journal_fd, take_line, &r, &st->size, why);
    if (!e && (!r.is_ours || !st->dataset || !st->target))
        e = fault_set(why, ERR_IO, "%.160s is no journal of this version of millrace", path);
    if (!e && !is_dry && ftruncate(st->journal_fd, (off_t)st->size))
        e = fault_set(why, ERR_IO, "%.180s cannot be cut: %s", path, strerror(errno));
    st->session_at = st->size;
    free(path);
    return e;
}

/* ---- opening ---------------------------------------------------------------------- */

static enum err lock(struct state *st, struct fault *why)
{
    char    *path = path_in(st, "lock");
    char     owner[24] = "";
    enum err e = ERR_OK;

    st->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (st->lock_fd < 0)
        e = fault_set(why, ERR_IO, "%.180s cannot be opened: %s", path, strerror(errno));
    else if (!flock(st->lock_fd, LOCK_EX | LOCK_NB)) {
        if (ftruncate(st->lock_fd, 0) || dprintf(st->lock_fd, "%d\n", (int)getpid()) < 0)
            e = fault_set(why, ERR_IO, "%.180s cannot be written: %s", path, strerror(errno));
    } else if (errno != EWOULDBLOCK)
        e = fault_set(why, ERR_IO, "%.180s cannot be locked: %s", path, strerror(errno));
    else {
        ssize_t got = pread(st->lock_fd, owner, sizeof owner - 1, 0);

        owner[got > 0 ? strcspn(owner, "\n") : 0] = '\0';
        e = fault_set(why, ERR_BUSY, "another client works on this output folder (pid %s)", *owner ? owner : "unknown");
    }
    free(path);
    return e;
}

void state_empty_temporaries(const struct state *st)
{
    char          *path = path_in(st, "tmp");
    DIR           *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    free(path);
}

enum err state_open(char *output, bool is_dry, struct state *st, struct plan *p, struct fault *why)
{
    char    *tmp;
    enum err e = ERR_OK;

    *st = (struct state){.output = output, .lock_fd = -1, .journal_fd = -1};
    tmp = path_in(st, "tmp");
    if (!is_dry)
        e = make_folders(tmp, why);
    if (!e && !is_dry)
        e = lock(st, why);
    if (!e)
        e = load(st, is_dry, p, why);
    free(tmp);
    return e;
}

void state_close(struct state *st)
{
    if (st->journal_fd >= 0)
        close(st->journal_fd);
    if (st->lock_fd >= 0)
        close(st->lock_fd); /* and with it the lock */
    free(st->output);
    free(st->dataset);
    free(st->target);
    buf_free(&st->gathered);
    *st = (struct state){.lock_fd = -1, .journal_fd = -1};
}

static enum err rename_durably(const struct state *st, const char *from, const char *to, struct fault *why)
{
    char    *home = path_in(st, "");
    int      folder = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err e = ERR_OK;

    if (fsync(st->journal_fd) || rename(from, to) || folder < 0 || fsync(folder))
        e = fault_set(why, ERR_IO, "%.180s cannot be written: %s", to, strerror(errno));
    if (folder >= 0)
        close(folder);
    free(home);
    return e;
}

enum err state_begin(struct state *st, const struct plan *p, struct fault *why)
{
    char    *draft = path_in(st, "tmp/journal"), *path = path_in(st, "journal");
    enum err e = ERR_OK;

    st->journal_fd = open(draft, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (st->journal_fd < 0)
        e = fault_set(why, ERR_IO, "%.180s cannot be made: %s", draft, strerror(errno));
    journal_put(&st->gathered, MAGIC, VERSION, NULL);
    journal_put(&st->gathered, "dataset", st->dataset, NULL);
    journal_put(&st->gathered, "target", st->target, NULL);
    st->size = st->gathered.len;
    for (size_t i = 0; !e && i < p->count; i++) {
        state_note_file(st, p, i);
        if (st->gathered.len > 65536)
            e = state_save(st, false, why);
    }
    if (!e)
        e = state_save(st, false, why);
    if (!e)
        e = rename_durably(st, draft, path, why);
    st->session_at = st->size;
    free(draft);
    free(path);
    return e;
}

void state_forget(const struct state *st)
{
    char *path = path_in(st, "journal");

    unlink(path);
    free(path);
}

/* ---- writing --------------------------------------------------------------------- */

#define NUMBER_BYTES 24

static const char *number(char text[NUMBER_BYTES], int64_t value)
{
    snprintf(text, NUMBER_BYTES, "%" PRId64, value);
    return text;
}

/* The line that was gathered at `from` counts. */
static void gathered_from(struct state *st, size_t from) { st->size += st->gathered.len - from; }

static void note_number(struct state *st, const char *word, int64_t value)
{
    char   text[NUMBER_BYTES];
    size_t from = st->gathered.len;

    journal_put(&st->gathered, word, number(text, value), NULL);
    gathered_from(st, from);
}

void state_note_session(struct state *st, int64_t wall) { note_number(st, "session", wall); }

void state_note_limits(struct state *st, const struct try_limits *limits)
{
    char   texts[2][NUMBER_BYTES];
    size_t from = st->gathered.len;

    st->limits = *limits;
    journal_put(&st->gathered, "limits", number(texts[0], limits->attempts), number(texts[1], limits->timeout_s), NULL);
    gathered_from(st, from);
}

void state_note_file(struct state *st, const struct plan *p, size_t index)
{
    const struct plan_file *file = &p->files[index];
    const char             *base = plan_base(p, index);
    char                    texts[3][NUMBER_BYTES];
    size_t                  from = st->gathered.len;

    journal_put(&st->gathered, "file", number(texts[0], (int64_t)index), number(texts[1], (int64_t)file->size),
                number(texts[2], file->mtime_ns), plan_name(p, index), base ? base : "", NULL);
    gathered_from(st, from);
}

void state_note_again(struct state *st, struct plan *p, size_t index)
{
    p->files[index].state = PLAN_TO_DO;
    p->files[index].again++;
    note_number(st, "again", (int64_t)index);
}

void state_note_group(struct state *st, const char *group)
{
    size_t from = st->gathered.len;

    snprintf(st->group, sizeof st->group, "%s", group);
    st->position = 0;
    journal_put(&st->gathered, "group", group, NULL);
    gathered_from(st, from);
}

void state_note_position(struct state *st, uint64_t position)
{
    if (position == st->position)
        return;
    st->position = position;
    note_number(st, "position", (int64_t)position);
}

void state_note_end(struct state *st, struct plan *p, size_t index, const struct ending *end)
{
    char   texts[4][NUMBER_BYTES];
    size_t from = st->gathered.len;

    p->files[index].state = end->is_done ? PLAN_DONE : PLAN_FAILED;
    p->files[index].end_at = st->size;
    journal_put(&st->gathered, end->is_done ? "done" : "failed", number(texts[0], (int64_t)index),
                number(texts[1], end->started_ms), number(texts[2], end->run_us), end->worker,
                end->is_done ? number(texts[3], (int64_t)end->bytes) : end->code,
                end->is_done ? end->output : end->detail, NULL);
    gathered_from(st, from);
}

enum err state_save(struct state *st, bool is_durable, struct fault *why)
{
    enum err e = journal_append(st->journal_fd, &st->gathered, why);

    if (!e && is_durable && fdatasync(st->journal_fd))
        e = fault_set(why, ERR_IO, "the journal cannot be written: %s", strerror(errno));
    return e;
}

/* ---- looking back ------------------------------------------------------------------ */

bool state_read_end(const struct state *st, const struct plan *p, size_t index, struct buf *memory, struct ending *out)
{
    struct journal_line line;
    int64_t             bytes = 0;

    if (!journal_read_at(st->journal_fd, p->files[index].end_at, memory, &line))
        return false;
    *out = (struct ending){.is_done = !strcmp(line.fields[0], "done"), .worker = line.fields[4]};
    if (out->is_done) {
        out->output = line.fields[6];
    } else {
        out->code = line.fields[5];
        out->detail = line.fields[6];
    }
    if (!journal_number(line.fields[2], &out->started_ms) || !journal_number(line.fields[3], &out->run_us) ||
        (out->is_done && !journal_number(line.fields[5], &bytes)))
        return false;
    out->bytes = (uint64_t)bytes;
    return true;
}

bool state_is_of_session(const struct state *st, const struct plan_file *file)
{
    return file->state != PLAN_TO_DO && file->end_at >= st->session_at;
}
