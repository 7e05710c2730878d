/* SPDX-License-Identifier: Apache-2.0 */
/* blob_bench.h - a store in a directory of its own, and answers that are waited for. */
#ifndef MILLRACE_BLOB_BENCH_H
#define MILLRACE_BLOB_BENCH_H

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/blob/blob.h"
#include "common/buf.h"
#include "common/checksum.h"
#include "common/job.h"
#include "tests/unit/check.h"

#define UUID "01934000-0000-7000-8000-0000000000ab"

struct bench {
    char               dir[64];
    uv_loop_t          loop;
    struct blob_store *store;
};

static inline void open_store(struct bench *t, int64_t quota)
{
    struct blob_config config = {.dir = t->dir, .url = "", .key = "", .quota_bytes = quota};
    struct fault       why;

    assert_int_equal(blob_store_open(&t->loop, &config, &t->store, &why), ERR_OK);
}

static inline void close_store(struct bench *t)
{
    blob_store_close(t->store);
    t->store = NULL;
    uv_run(&t->loop, UV_RUN_DEFAULT);
}

static inline int set_up(void **state)
{
    struct bench *t = calloc(1, sizeof *t);

    strcpy(t->dir, "/tmp/millrace-blob-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    assert_int_equal(uv_loop_init(&t->loop), 0);
    open_store(t, 0);
    *state = t;
    return 0;
}

static inline int remove_it(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int tear_down(void **state)
{
    struct bench *t = *state;

    close_store(t);
    assert_int_equal(uv_loop_close(&t->loop), 0);
    nftw(t->dir, remove_it, 16, FTW_DEPTH | FTW_PHYS);
    free(t);
    return 0;
}

static int file_count;

static inline int count_it(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)ftw;
    file_count += type == FTW_F;
    return 0;
}

static inline int files_in(const struct bench *t)
{
    file_count = 0;
    nftw(t->dir, count_it, 16, FTW_PHYS);
    return file_count;
}

/* What is written behind our back ends; until there are no files any more, or for 10 s. */
static inline void empties(struct bench *t)
{
    for (int i = 0; i < 10000 && files_in(t) > 0; i++) {
        uv_run(&t->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

/* ---- what is asked, and its answer ------------------------------------------------ */

struct answer {
    int              count;
    enum err         e;
    char             detail[256];
    struct blob_info info;
    int              fd;
    char             names[8][BLOB_NAME_BYTES];
    size_t           name_count;
};

static inline void on_done(void *ctx, enum err e, const struct fault *why, const struct blob_info *info)
{
    struct answer *a = ctx;

    a->count++;
    a->e = e;
    if (e)
        strcpy(a->detail, why->detail);
    else
        a->info = *info;
}

static inline void on_opened(void *ctx, enum err e, const struct fault *why, int fd, const struct blob_info *info)
{
    on_done(ctx, e, why, info);
    ((struct answer *)ctx)->fd = fd;
}

static inline void on_names(void *ctx, enum err e, const char *const *names, size_t count)
{
    struct answer *a = ctx;

    a->count++;
    a->e = e;
    a->name_count = count;
    for (size_t i = 0; i < count && i < 8; i++)
        strcpy(a->names[i], names[i]);
}

static inline struct answer *wait_for(struct bench *t, struct answer *a)
{
    while (!a->count)
        uv_run(&t->loop, UV_RUN_ONCE);
    assert_int_equal(a->count, 1);
    return a;
}

static inline struct blob_writer *create(struct bench *t, const char *name, int64_t size, size_t head)
{
    struct blob_writer *w = NULL;
    struct fault        why = {0};

    if (blob_create(t->store, name, size, head, &w, &why))
        fail_msg("%s", why.detail);
    return w;
}

static inline void append(struct blob_writer *w, const void *bytes, size_t len)
{
    struct fault why;

    assert_int_equal(blob_append(w, bytes, len, &why), ERR_OK);
}

static inline struct answer seal(struct bench *t, struct blob_writer *w, const void *head, const char *sum,
                                 const char *sha256)
{
    struct answer a = {0};

    blob_seal(w, head, sum, sha256, on_done, &a);
    assert_int_equal(a.count, 0); /* never from inside the call */
    return *wait_for(t, &a);
}

/* A sealed blob of these bytes. */
static inline struct answer put(struct bench *t, const char *name, const void *bytes, size_t len)
{
    struct blob_writer *w = create(t, name, (int64_t)len, 0);

    append(w, bytes, len);
    return seal(t, w, NULL, NULL, NULL);
}

static inline void sum_of(const void *first, size_t first_len, const void *then, size_t then_len,
                          char out[CHECKSUM_BYTES])
{
    struct checksum *c = checksum_new();

    checksum_add(c, first, first_len);
    checksum_add(c, then, then_len);
    checksum_hex(c, out);
    checksum_free(c);
}

static inline char *random_bytes(size_t len)
{
    char    *bytes = xmalloc(len + 1);
    uint64_t x = 88172645463325252u + len;

    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (char)x;
    }
    return bytes;
}

static inline void assert_bytes(int fd, const void *bytes, size_t len)
{
    char *got = xmalloc(len + 1);

    assert_int_equal(pread(fd, got, len + 1, 0), len);
    assert_memory_equal(got, bytes, len);
    free(got);
}

/* Sets when a file below the directory was modified: so long ago. */
static inline void age(struct bench *t, const char *path, int64_t seconds)
{
    char            full[300];
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = 0}};

    clock_gettime(CLOCK_REALTIME, &times[1]);
    times[1].tv_sec -= seconds;
    snprintf(full, sizeof full, "%s/%s", t->dir, path);
    assert_int_equal(utimensat(AT_FDCWD, full, times, 0), 0);
}

static inline void path_of(char out[200], const char *name, const char *suffix)
{
    snprintf(out, 200, "%.2s/%s%s", name + 34, name, suffix);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
