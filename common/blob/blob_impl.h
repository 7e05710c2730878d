/* SPDX-License-Identifier: Apache-2.0 */
/* blob_impl.h - what the files of this folder share.
 *
 *   blob.c    names, opening and closing, reading: the face that picks a backend
 *   writer.c  one blob while it is written: buffer, quota, seal
 *   pool.c    work on the loop's thread pool that a closing store can wait for, and that can be repeated
 *   dir.c     sealed blobs of a directory        draft.c  files on their way there
 *   sum.c     what NAME.sum says                 sweep.c  walking through all of it
 *   remote.c  a gateway's /blobs, by libcurl        curl.c   which it loads
 *
 *   DIR/ab/NAME      a sealed blob; ab: the last two characters of its first UUID.
 *   DIR/ab/NAME.sum  Modified at its seal (in a cache: when it was last lent out)
 *   DIR/tmp/NAME.R   being written; R: 64 random bits, for processes of several hosts share the directory
 *
 * A blob comes into being in this order: bytes, then NAME.sum, then NAME: whoever puts NAME.sum there owns the
 * name, so two seals of one name cannot mix. It goes in the other: NAME, then NAME.sum. So what has its name has
 * its sum too; a sum alone is the trace of a crash and counts for nothing.
 *
 * What is declared below under "any thread" blocks, and touches nothing of the store but what never changes.
 */
#ifndef MILLRACE_BLOB_IMPL_H
#define MILLRACE_BLOB_IMPL_H

#include <stdatomic.h>

#include "common/blob/blob.h"
#include "common/buf.h"
#include "common/job.h"

#define DIR_COUNT 256                   /* DIR/00 to DIR/ff */
#define PATH_BYTES 160                  /* a path below DIR */
#define STALE_MS (INT64_C(3600) * 1000) /* a temporary file untouched for so long has lost its writer */
#define SHA256_BYTES 65                 /* hex and NUL */

/* ---- any thread: the directory ---------------------------------------------- */

struct dir {
    int  fd;       /* of DIR */
    char boot[40]; /* of this run of the kernel; "" when it cannot be had */
};

/* What NAME.sum says. */
struct sum {
    int64_t size, head;
    char    xxh3[CHECKSUM_BYTES];
    char    sha256[SHA256_BYTES]; /* "" when nobody asked for it */
    char    boot[40]; /* "": durable. Else only a copy of the cache, good as long as this run of the kernel lasts */
};

void     sum_write(const struct sum *s, struct buf *out);
enum err sum_read(const char *text, size_t len, struct sum *out, struct fault *why) MUST_CHECK;

/* Makes path and what belongs inside. ERR_CONFIG. */
enum err dir_open(const char *path, struct dir *out, struct fault *why) MUST_CHECK;
void     dir_close(struct dir *d);

/* "ab/NAME" with a suffix ("" or ".sum"). */
void dir_path(char out[PATH_BYTES], const char *name, const char *suffix);

/* Opens a sealed blob. ERR_NO_BLOB, ERR_IO. */
enum err dir_find(const struct dir *d, const char *name, int *fd, struct blob_info *info, struct fault *why) MUST_CHECK;

/* Removes a sealed blob; *size: what it had. ERR_NO_BLOB, ERR_IO. Waits until the disk has its room back. */
enum err dir_remove(const struct dir *d, const char *name, int64_t *size, struct fault *why) MUST_CHECK;

/* The same, at once: of a large one the file lies in tmp then, in *out, and is still to be dropped. */
struct draft;
enum err dir_take_away(const struct dir *d, const char *name, int64_t *size, struct draft *out,
                       struct fault *why) MUST_CHECK;

/* A set of names that grows. */
struct names {
    char **name;
    size_t count, cap;
};
void names_add(struct names *n, const char *name);
void names_free(struct names *n);

/* Adds the names that begin with prefix, a whole UUID or more. ERR_IO. */
enum err dir_list(const struct dir *d, const char *prefix, struct names *out, struct fault *why) MUST_CHECK;

struct walk {
    int64_t      older_than_ms; /* name what was modified before this wall time */
    size_t       limit;         /* so many at most */
    bool         is_removing;   /* remove them instead of naming them */
    int          from;          /* directory to begin with; then: to begin with next time */
    struct names names;
    int64_t      bytes, count; /* of what is left */
};
/* Goes through all of the directory once; also removes what crashes have left. ERR_IO: not all could be read. */
enum err dir_walk(const struct dir *d, struct walk *w, const atomic_bool *is_closing) MUST_CHECK;

/* For a cache whose disk has no room: each call removes the copies that nobody was lent for half as long as at the call
 * before, in the end all. idle_ms: CACHE_IDLE_MS before the first. False: nothing is left to give up. */
#define CACHE_IDLE_MS (INT64_C(3600) * 1000)
bool cache_give_up(const struct dir *d, int64_t *idle_ms, const atomic_bool *is_closing);

/* The same, until the disk has room for others than the cache. */
void cache_leave_room(const struct dir *d, const atomic_bool *is_closing);

/* ---- any thread: files on their way ------------------------------------------- */

struct draft {
    int  fd;               /* -1: it is not open */
    char path[PATH_BYTES]; /* below DIR; "" once it has none */
};

/* A path in tmp that nothing has. ERR_IO. */
enum err draft_name(const char *name, char out[PATH_BYTES], struct fault *why) MUST_CHECK;

/* Makes an empty file for a blob of this name; ends with draft_seal or draft_drop. ERR_DISK_FULL, ERR_IO. */
enum err draft_open(const struct dir *d, const char *name, struct draft *out, struct fault *why) MUST_CHECK;

/* Takes room on the disk; the file is as long then. ERR_DISK_FULL, ERR_IO. */
enum err draft_room(const struct draft *f, int64_t size, struct fault *why) MUST_CHECK;

/* All of bytes at offset. ERR_DISK_FULL, ERR_IO. */
enum err draft_write(const struct draft *f, const void *bytes, size_t len, int64_t offset,
                     struct fault *why) MUST_CHECK;

/* SHA-256 of the first size bytes, read back. ERR_IO. */
enum err draft_sha256(const struct draft *f, int64_t size, const atomic_bool *is_closing, char out[SHA256_BYTES],
                      struct fault *why) MUST_CHECK;

/* Gives the file its name. Durable, unless s->boot says that it is a copy. Fills info. ERR_WRONG_STATE,
 * ERR_DISK_FULL, ERR_IO: the file is still to be dropped, and nothing else is left. */
enum err draft_seal(const struct dir *d, const struct draft *f, const char *name, const struct sum *s,
                    struct blob_info *info, struct fault *why) MUST_CHECK;

/* Takes its name, where it still has that in tmp. */
void draft_unname(const struct dir *d, struct draft *f);

/* Removes what is left of it and closes it: a large file's room takes the disk a while to get back. */
void draft_drop(const struct dir *d, struct draft *f);

/* Says what a system call could not do; no room of any sort is ERR_DISK_FULL. code: errno. */
enum err io_fault(struct fault *why, int code, const char *what, const char *name);

/* ---- any thread: a gateway's /blobs --------------------------------------------- */

struct remote; /* never changes once it is open */

/* ERR_CONFIG. Both texts are copied. */
enum err remote_open(const char *url, const char *key, struct remote **out, struct fault *why) MUST_CHECK;
void     remote_close(struct remote *r); /* accepts NULL */

/* All of these end early, with ERR_IO, once is_closing is set. is_away: told with ERR_IO when it is for the gateway or
 * the way to it, so that it may go well later: no connection, one that broke, an answer that blames itself or the key.
 *
 * Gets a blob into the directory, where it is a copy then. room: bytes that it may have, -1: any number; where the disk
 * has less, other copies go. ERR_NO_BLOB, ERR_DISK_FULL, ERR_IO. */
enum err remote_get(struct remote *r, const struct dir *d, const char *name, int64_t room,
                    const atomic_bool *is_closing, bool *is_away, struct fault *why) MUST_CHECK;

/* Sends the first s->size bytes of fd. s->xxh3 is checked against what was read where head is 0, and becomes what
 * the gateway calls the blob. May be repeated. ERR_WRONG_STATE, ERR_DIGEST, ERR_DISK_FULL, ERR_IO. */
enum err remote_put(struct remote *r, const char *name, int fd, struct sum *s, const atomic_bool *is_closing,
                    bool *is_away, struct fault *why) MUST_CHECK;

enum err remote_list(struct remote *r, const char *prefix, struct names *out, const atomic_bool *is_closing,
                     struct fault *why) MUST_CHECK;
void     remote_delete(struct remote *r, const char *name, const atomic_bool *is_closing); /* nobody is told */

/* ---- the loop's thread ------------------------------------------------------------- */

/* Work on the pool, first member of what it works on. Freed, with all of it, behind its last end. */
struct pool_job {
    uv_work_t          work;
    struct blob_store *store; /* NULL once that has closed */
    struct pool_job   *next, *prev;
    struct pool_job   *later; /* of those that wait for a place, or for their time */
    bool               is_long, is_waiting;
    int64_t            failing_ms; /* mono, since when it is repeated; 0: it is not */
    int64_t            due_ms;     /* mono: not before; 0: as soon as there is a place */
    uv_sem_t           has_run;
    void (*run)(struct pool_job *job); /* on the pool */
    /* On the loop: answers, and frees what hangs on it. is_closing: the answer is ERR_IO; has_begun: run ran. */
    void (*end)(struct pool_job *job, bool is_closing, bool has_begun);
};

void pool_start(struct blob_store *b, struct pool_job *job, void (*run)(struct pool_job *job),
                void (*end)(struct pool_job *job, bool is_closing, bool has_begun));

/* The same for what may take seconds: a few of them run at a time, so that the pool has threads for what is short,
 * also of others (names of hosts are looked up there). */
void pool_start_long(struct blob_store *b, struct pool_job *job, void (*run)(struct pool_job *job),
                     void (*end)(struct pool_job *job, bool is_closing, bool has_begun));

/* From inside the end of a long job whose store is not closing, in place of an answer: it runs once more, a little
 * later, and ends once more. False: the store's patience is used up, it is to answer. why: for the log. */
bool pool_repeat(struct pool_job *job, const struct fault *why);

/* Begins what is due. Whether some are still to come. */
bool pool_tick(struct blob_store *b);

/* Takes what f has. Its name goes at once, the file itself by the pool: that takes as long as the file is large. */
void discard(struct blob_store *b, struct draft *f);

/* Ends all jobs: cancels what has not begun, waits for the rest. */
void pool_close(struct blob_store *b);

/* What every answer says when the store closes. */
enum err closing_fault(struct fault *why);

/* A fetch on its way, with all who wait for it. */
struct fetch;

struct tender; /* looks after what is being written, and what is to be repeated */

struct blob_store {
    uv_loop_t          *loop;       /* borrowed */
    struct dir          dir;        /* never changes */
    struct remote      *remote;     /* never changes; NULL: the directory is shared */
    atomic_bool         is_closing; /* set by the loop, read by the pool */
    struct pool_job    *jobs;
    struct pool_job    *waiting, *waiting_last; /* long ones, who came first in front */
    int                 long_count;             /* that have a thread, or will have the next one */
    struct blob_writer *writers;
    struct fetch       *fetches;
    struct tender      *tender;
    int64_t             quota_bytes, patience_ms;
    struct blob_usage   usage;
    int64_t             writing_bytes; /* taken by writers */
    struct blob_usage   sealed_here;   /* since the store was opened: what a walk under way may have missed */
    int                 walk_from;
};

/* Refuses more bytes than the quota has left. */
enum err quota_check(const struct blob_store *b, int64_t more, struct fault *why) MUST_CHECK;

/* Bytes that the quota has left, -1: it has no bounds. */
int64_t quota_room(const struct blob_store *b);

/* A blob of this size has come into the directory. */
void usage_add(struct blob_store *b, int64_t size);

/* There is a writer, or a job with a time of its own: they are looked after from now on. */
void tender_wake(struct blob_store *b);

/* Has what others write through descriptors handed to the disk, and with is_due keeps all that is being written
 * from looking stale. */
void writers_tend(struct blob_store *b, bool is_due);

#endif
