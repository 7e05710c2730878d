/* SPDX-License-Identifier: Apache-2.0 */
/* blob_driver.c - common/blob on a loop, driven by lines on standard input.
 *
 *   blob_driver DIR URL KEY QUOTA_BYTES PATIENCE_MS        URL "": DIR is shared
 *
 *   put NAME FILE HEAD [SHA256]   a blob of FILE's bytes, the first HEAD of them given at the seal
 *   given NAME FILE SUM           the same, written through the descriptor with this checksum
 *   fetch NAME FILE               copied to FILE
 *   list PREFIX     delete NAME     sweep AGE_MS     usage     close
 *
 * Every answer is a line of JSON on standard output; "close" leaves what is
 * outstanding to the closing store. The end of the input closes too.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "common/blob/blob.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/filemap.h"

struct driver {
    uv_loop_t          loop;
    uv_pipe_t          input;
    struct blob_store *blobs;
    char               line[2048];
    size_t             line_len;
    char               chunk[4096];
};

/* One thing asked for: what its answer is called by. */
struct asked {
    char    verb[8];
    char    name[BLOB_NAME_BYTES];
    char    file[512];
    int64_t since_us;
};

static struct asked *ask(const char *verb, const char *name, const char *file)
{
    struct asked *a = xcalloc(1, sizeof *a);

    snprintf(a->verb, sizeof a->verb, "%s", verb);
    snprintf(a->name, sizeof a->name, "%s", name);
    snprintf(a->file, sizeof a->file, "%s", file);
    a->since_us = mono_us();
    return a;
}

static void say(const struct asked *a, enum err e, const char *detail, const char *more)
{
    struct buf line = {0};

    buf_printf(&line, "{\"event\":\"%s\",\"name\":\"%s\",\"err\":\"%s\",\"us\":%lld,\"detail\":", a->verb, a->name,
               err_code(e), (long long)(mono_us() - a->since_us));
    buf_json(&line, detail);
    buf_printf(&line, "%s}\n", more);
    fwrite(line.data, 1, line.len, stdout);
    fflush(stdout);
    buf_free(&line);
}

static void on_done(void *ctx, enum err e, const struct fault *why, const struct blob_info *info)
{
    char more[160] = "";

    if (!e)
        snprintf(more, sizeof more, ",\"size\":%lld,\"head\":%lld,\"sum\":\"%s\"", (long long)info->size,
                 (long long)info->head, info->sum);
    say(ctx, e, e ? why->detail : "", more);
    free(ctx);
}

static void copy(int fd, int64_t size, const char *path)
{
    struct filemap m;
    struct fault   why;
    int            out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (filemap_open(fd, 0, (uint64_t)size, &m, &why) || write(out, m.bytes, m.len) != (ssize_t)m.len)
        abort();
    filemap_close(&m);
    close(out);
    close(fd);
}

static void on_opened(void *ctx, enum err e, const struct fault *why, int fd, const struct blob_info *info)
{
    if (!e)
        copy(fd, info->size, ((struct asked *)ctx)->file);
    on_done(ctx, e, why, info);
}

static void on_names(void *ctx, enum err e, const char *const *names, size_t count)
{
    struct buf more = {0};

    buf_text(&more, ",\"names\":[");
    for (size_t i = 0; i < count; i++)
        buf_printf(&more, "%s\"%s\"", i ? "," : "", names[i]);
    buf_append(&more, "]", 2);
    say(ctx, e, "", more.data);
    buf_free(&more);
    free(ctx);
}

/* ---- commands ---- */

static struct filemap map(const char *path)
{
    int            fd = open(path, O_RDONLY);
    struct stat    st;
    struct filemap m;
    struct fault   why;

    if (fd < 0 || fstat(fd, &st) || filemap_open(fd, 0, (uint64_t)st.st_size, &m, &why))
        abort();
    close(fd);
    return m;
}

static void put(struct driver *d, const char *name, const char *file, size_t head, const char *sha256)
{
    struct asked       *a = ask("put", name, file);
    struct filemap      m = map(file);
    struct blob_writer *w = NULL;
    struct fault        why;
    enum err            e = blob_create(d->blobs, name, (int64_t)m.len, head, &w, &why);

    if (!e)
        e = blob_append(w, (const char *)m.bytes + head, m.len - head, &why);
    if (e) {
        blob_abort(w);
        on_done(a, e, &why, NULL);
    } else {
        blob_seal(w, head ? m.bytes : NULL, NULL, sha256[0] ? sha256 : NULL, on_done, a);
    }
    filemap_close(&m);
}

static void put_given(struct driver *d, const char *name, const char *file, const char *sum)
{
    struct asked       *a = ask("given", name, file);
    struct filemap      m = map(file);
    struct blob_writer *w = NULL;
    struct fault        why;
    enum err            e = blob_create(d->blobs, name, (int64_t)m.len, 0, &w, &why);

    if (!e && pwrite(blob_writer_fd(w), m.bytes, m.len, 0) != (ssize_t)m.len)
        e = fault_set(&why, ERR_IO, "short write");
    if (e) {
        blob_abort(w);
        on_done(a, e, &why, NULL);
    } else {
        blob_seal(w, NULL, sum, NULL, on_done, a);
    }
    filemap_close(&m);
}

static void say_usage(struct driver *d)
{
    struct blob_usage u = blob_usage(d->blobs);

    printf("{\"event\":\"usage\",\"bytes\":%lld,\"count\":%lld}\n", (long long)u.bytes, (long long)u.count);
    fflush(stdout);
}

static void finish(struct driver *d)
{
    int64_t since = mono_us();

    if (!d->blobs)
        return;
    blob_store_close(d->blobs);
    d->blobs = NULL;
    printf("{\"event\":\"closed\",\"us\":%lld}\n", (long long)(mono_us() - since));
    fflush(stdout);
    uv_close((uv_handle_t *)&d->input, NULL);
}

static void obey(struct driver *d, char *line)
{
    char         verb[16] = "", one[512] = "", two[512] = "", three[128] = "", four[128] = "";
    struct fault why = {0};

    sscanf(line, "%15s %511s %511s %127s %127s", verb, one, two, three, four);
    if (!strcmp(verb, "put")) {
        put(d, one, two, strtoul(three, NULL, 10), four);
    } else if (!strcmp(verb, "given")) {
        put_given(d, one, two, three);
    } else if (!strcmp(verb, "fetch")) {
        blob_fetch(d->blobs, one, on_opened, ask(verb, one, two));
    } else if (!strcmp(verb, "list")) {
        blob_list(d->blobs, one, on_names, ask(verb, one, ""));
    } else if (!strcmp(verb, "sweep")) {
        blob_sweep(d->blobs, strtoll(one, NULL, 10), 1000, on_names, ask(verb, one, ""));
    } else if (!strcmp(verb, "usage")) {
        say_usage(d);
    } else if (!strcmp(verb, "close")) {
        finish(d);
    } else if (!strcmp(verb, "delete")) {
        struct asked *a = ask(verb, one, "");

        say(a, blob_delete(d->blobs, one, &why), why.detail, "");
        free(a);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct driver *d = handle->data;

    (void)suggested;
    *buf = uv_buf_init(d->chunk, sizeof d->chunk);
}

static void on_input(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct driver *d = stream->data;

    if (got < 0)
        finish(d);
    for (ssize_t i = 0; i < got && d->blobs; i++) {
        if (buf->base[i] != '\n') {
            if (d->line_len < sizeof d->line - 1)
                d->line[d->line_len++] = buf->base[i];
            continue;
        }
        d->line[d->line_len] = '\0';
        d->line_len = 0;
        obey(d, d->line);
    }
}

int main(int argc, char **argv)
{
    struct driver      d = {0};
    struct blob_config config;
    struct fault       why;

    if (argc != 6)
        return 2;
    uv_loop_init(&d.loop);
    config = (struct blob_config){argv[1], argv[2], argv[3], strtoll(argv[4], NULL, 10), strtoll(argv[5], NULL, 10)};
    if (blob_store_open(&d.loop, &config, &d.blobs, &why)) {
        fprintf(stderr, "%s\n", why.detail);
        return 1;
    }
    uv_pipe_init(&d.loop, &d.input, 0);
    d.input.data = &d;
    uv_pipe_open(&d.input, 0);
    uv_read_start((uv_stream_t *)&d.input, on_alloc, on_input);
    uv_run(&d.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&d.loop) ? 1 : 0;
}
