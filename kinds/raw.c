/* SPDX-License-Identifier: Apache-2.0 */
/* raw.c - see the header. */
#include "kinds/raw.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum err raw_input(struct task *task, struct filemap *out)
{
    *out = (struct filemap){.bytes = task->input, .len = task->input_len};
    if (task->blob_count == 0)
        return ERR_OK;
    return filemap_open(task->blob_fds[0], 0, task->blob_bytes[0], out, &task->why);
}

void outlet_open(struct outlet *o, struct task *task) { *o = (struct outlet){.task = task}; }

/* Whether so many bytes may be there in all. */
static enum err check_size(struct task *task, uint64_t len)
{
    bool has_file = task->output_fd >= 0;

    if (len > task->output_max)
        return fault_set(&task->why, ERR_RESULT_LARGE,
                         "the result has more than %llu bytes, which is the most that is kept",
                         (unsigned long long)task->output_max);
    if (!has_file && len > task->room_max)
        return fault_set(&task->why, ERR_RESULT_LARGE,
                         "the result has more than %llu bytes, and this worker has no directory for larger ones",
                         (unsigned long long)task->room_max);
    return ERR_OK;
}

/* Behind what is there. The limit of the file's size is above all that gets here. */
static enum err write_file(struct outlet *o, const char *bytes, size_t len)
{
    struct task *task = o->task;

    checksum_add(o->sum, bytes, len);
    while (len) {
        ssize_t written = pwrite(task->output_fd, bytes, len, (off_t)o->len);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && (errno == ENOSPC || errno == EDQUOT))
            return fault_set(&task->why, ERR_DISK_FULL, "no room for the result behind byte %llu",
                             (unsigned long long)o->len);
        if (written <= 0)
            return fault_set(&task->why, ERR_IO, "writing the result at byte %llu: %s", (unsigned long long)o->len,
                             written ? strerror(errno) : "nothing was written");
        bytes += written;
        len -= (size_t)written;
        o->len += (uint64_t)written;
    }
    return ERR_OK;
}

/* From here on the result is a file: first what is there already. */
static enum err leave_room(struct outlet *o)
{
    size_t len = (size_t)o->len;

    o->sum = checksum_new();
    o->len = 0;
    return write_file(o, o->task->output, len);
}

enum err outlet_write(struct outlet *o, const void *bytes, size_t len)
{
    struct task *task = o->task;
    enum err     e = check_size(task, o->len + len);

    if (!e && !o->sum && o->len + len > task->room_max)
        e = leave_room(o);
    if (e)
        return e;
    if (o->sum)
        return write_file(o, bytes, len);
    if (len)
        memcpy((char *)task->output + o->len, bytes, len);
    o->len += len;
    return ERR_OK;
}

void outlet_close(struct outlet *o, const char *type)
{
    struct task *task = o->task;

    task->output_len = o->len;
    task->is_file = o->sum != NULL;
    if (o->sum)
        checksum_hex(o->sum, task->sum);
    assert(strlen(type) < sizeof task->type);
    strcpy(task->type, type);
    outlet_drop(o);
}

void outlet_drop(struct outlet *o)
{
    checksum_free(o->sum);
    o->sum = NULL;
}
