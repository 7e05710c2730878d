/* SPDX-License-Identifier: Apache-2.0 */
/* blobs.c - blobs by name: uploaded once, read, listed, removed.
 *
 *   PUT /blobs[?sha256=HEX]          an input under a new name
 *   PUT /blobs/NAME                  a result, from a worker that shares no directory with us
 *   GET, HEAD, DELETE /blobs/NAME
 *   GET /blobs?prefix=UUID           names and sizes
 *
 * A blob is any bytes; what they mean is looked at where they are used. It
 * never changes, so its checksum is a strong ETag.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/gateway.h"
#include "api/range.h"
#include "api/spill.h"
#include "common/checksum.h"

#define SHA256_DIGITS 64
#define RESULT_HEADER_MAX 4096 /* bytes that a result's form may put in front of MILLRACE_RESULT_MAX of it */

/* The blob store, or NULL after the refusal was given. */
static struct blob_store *store_of(struct request *r)
{
    struct gateway *gw = request_gateway(r);

    if (!gw->blobs)
        request_fail(r, ERR_NO_BLOBS, "it has no MILLRACE_BLOB_DIR: large inputs are refused");
    return gw->blobs;
}

static void answer_no_blob(struct request *r)
{
    struct fault why;

    fault_set(&why, ERR_NOT_FOUND, "there is no blob '%.100s'", request_segment(r));
    request_fail_why(r, &why);
}

static void add_etag(struct request *r, const struct blob_info *info, char etag[static CHECKSUM_BYTES + 2])
{
    snprintf(etag, CHECKSUM_BYTES + 2, "\"%s\"", info->sum);
    request_add_header(r, "ETag", etag);
}

/* ---- PUT ------------------------------------------------------------------------ */

struct upload {
    struct request  *request;
    struct gateway  *gw;
    struct spill    *spill;                 /* owned */
    struct spilled  *blob;                  /* belongs to spill */
    struct checksum *sum;                   /* owned: of a blob that names itself, whose name may be taken */
    char             name[BLOB_NAME_BYTES]; /* "" for a new one */
    char             sha256[SHA256_DIGITS + 1];
    int64_t          size;
};

static enum err take_parameter(void *ctx, const char *name, const char *value, struct fault *why)
{
    struct upload *u = ctx;

    if (strcmp(name, "sha256") != 0 || *u->name)
        return fault_set(why, ERR_PARAM, "this call has no parameter '%.60s'", name);
    if (strlen(value) != SHA256_DIGITS || value[strspn(value, "0123456789abcdefABCDEF")])
        return fault_set(why, ERR_PARAM, "sha256 is to be %d hexadecimal digits", SHA256_DIGITS);
    memcpy(u->sha256, value, SHA256_DIGITS + 1);
    return ERR_OK;
}

/* Only names of results are chosen by who uploads: those of inputs are ours to give. */
static enum err take_name(struct upload *u, struct fault *why)
{
    const char *name = request_segment(u->request);

    if (!*name)
        return ERR_OK;
    if (!blob_name_is_valid(name) || strlen(name) < JOB_ID_BYTES)
        return fault_set(why, ERR_PARAM, "'%.100s' is no name of a result; PUT /blobs gives an input its name", name);
    memcpy(u->name, name, strlen(name) + 1);
    return ERR_OK;
}

static uint64_t size_max(const struct upload *u)
{
    return *u->name ? u->gw->limits.result_max + RESULT_HEADER_MAX : u->gw->limits.upload_max;
}

static enum err check_size(const struct upload *u, int64_t size, struct fault *why)
{
    if (!size)
        return fault_set(why, ERR_BODY, "the body is empty; a blob has at least one byte");
    if (size > 0 && (uint64_t)size > size_max(u))
        return fault_set(why, ERR_TOO_LARGE, "the blob has %lld bytes or more; at most %llu are taken", (long long)size,
                         (unsigned long long)size_max(u));
    return ERR_OK;
}

static enum err begin_upload(struct upload *u, struct fault *why)
{
    int64_t  length = request_body_length(u->request);
    enum err e = take_name(u, why);

    if (!e)
        e = request_each_query(u->request, take_parameter, u, why);
    if (!e)
        e = check_size(u, length, why);
    if (!e)
        e = spill_create(u->spill, *u->name ? u->name : NULL, length, 0, &u->blob, why);
    if (!e && *u->name)
        u->sum = checksum_new();
    return e;
}

static void put_start(struct request *r)
{
    struct upload *u;
    struct fault   why;

    if (!store_of(r))
        return;
    u = xcalloc(1, sizeof *u);
    u->request = r;
    u->gw = request_gateway(r);
    u->spill = spill_new(u->gw);
    request_set_state(r, u);
    if (begin_upload(u, &why))
        request_fail_why(r, &why);
}

static void put_body(struct request *r, const char *bytes, size_t len)
{
    struct upload *u = request_state(r);
    struct fault   why;
    enum err       e;

    u->size += (int64_t)len;
    e = check_size(u, u->size, &why);
    if (!e)
        e = spill_append(u->blob, bytes, len, &why);
    if (!e && u->sum)
        checksum_add(u->sum, bytes, len);
    if (!e)
        return;
    spill_drop(u->spill);
    request_fail_why(r, &why);
}

static void answer_created(struct upload *u, const char *name, const struct blob_info *info)
{
    struct buf body = {0};
    char       etag[CHECKSUM_BYTES + 2], path[BLOB_NAME_BYTES + 8];

    snprintf(path, sizeof path, "/blobs/%s", name);
    request_add_header(u->request, "Location", path);
    add_etag(u->request, info, etag);
    buf_printf(&body, "{\"id\":\"%s\",\"size\":%lld,\"etag\":\"%s\"}\n", name, (long long)info->size, info->sum);
    request_answer(u->request, 201, "application/json", &body);
}

/* Whether the blob that has the name already is this very one: a worker that did not hear our answer asks again. */
static bool is_there(struct upload *u, struct blob_info *info)
{
    char         sum[CHECKSUM_BYTES];
    struct fault why;
    int          fd;

    if (!u->sum || blob_open(u->gw->blobs, u->name, &fd, info, &why))
        return false;
    close(fd);
    checksum_hex(u->sum, sum);
    return info->size == u->size && !strcmp(info->sum, sum);
}

static void on_uploaded(void *ctx, enum err e, const struct fault *why)
{
    struct upload          *u = ctx;
    struct blob_info        there;
    const struct blob_info *info;
    const char             *name;

    u->gw->submits--;
    if (e == ERR_WRONG_STATE && is_there(u, &there)) {
        answer_created(u, u->name, &there);
    } else if (e) {
        request_fail_why(u->request, why);
    } else {
        info = spill_info(u->spill, 0, &name);
        spill_keep(u->spill);
        answer_created(u, name, info);
    }
}

static void put_end(struct request *r)
{
    struct upload *u = request_state(r);
    struct fault   why;

    if (check_size(u, u->size, &why)) {
        request_fail_why(r, &why);
        return;
    }
    u->gw->submits++;
    spill_seal(u->spill, *u->sha256 ? u->sha256 : NULL, on_uploaded, u);
}

static void put_gone(struct request *r)
{
    struct upload *u = request_state(r);

    if (!u)
        return;
    spill_free(u->spill);
    checksum_free(u->sum);
    free(u);
}

const struct handler blob_put_handler = {put_start, put_body, put_end, put_gone};

/* ---- GET, HEAD ---------------------------------------------------------------------- */

static void get_end(struct request *r)
{
    struct blob_store *blobs = store_of(r);
    struct blob_info   info;
    struct range       range;
    struct fault       why;
    enum err           e;
    char               text[CHECKSUM_BYTES + 2];
    int                fd;

    if (!blobs)
        return;
    e = blob_open(blobs, request_segment(r), &fd, &info, &why);
    if (e == ERR_NO_BLOB)
        answer_no_blob(r);
    else if (e)
        request_fail_why(r, &why);
    if (e)
        return;
    snprintf(text, sizeof text, "%lld", (long long)info.head);
    if (info.head)
        request_add_header(r, BLOB_HEAD_HEADER, text);
    snprintf(text, sizeof text, "\"%s\"", info.sum);
    if (request_range(r, (uint64_t)info.size, text, &range))
        request_answer_file(r, range.status, "application/octet-stream", fd, (int64_t)range.from,
                            (int64_t)(range.to - range.from));
    else
        close(fd);
}

const struct handler blob_get_handler = {NULL, NULL, get_end, NULL};

/* ---- GET ?prefix= ------------------------------------------------------------------- */

#define LIST_STEP_BYTES 16384 /* each row opens its blob: a long list must not keep the loop to itself */
#define ROW_BYTES_MAX (BLOB_NAME_BYTES + 64)

static_assert(ROW_BYTES_MAX < LIST_STEP_BYTES, "a step has at least one row");

/* Made while it is sent: {"blobs":[{"id","size"},..]}. */
struct list {
    struct blob_store *blobs;
    char             **names; /* owned, each */
    size_t             count, next;
    bool               has_begun, has_ended, has_rows;
};

static void list_free(void *ctx)
{
    struct list *l = ctx;

    for (size_t i = 0; i < l->count; i++)
        free(l->names[i]);
    free(l->names);
    free(l);
}

/* One row; 0 bytes for a blob that has gone meanwhile. */
static int print_row(struct list *l, const char *name, char out[static ROW_BYTES_MAX])
{
    struct blob_info info;
    struct fault     why;
    int              fd;

    if (blob_open(l->blobs, name, &fd, &info, &why))
        return 0;
    close(fd);
    snprintf(out, ROW_BYTES_MAX, "%s\n{\"id\":\"%s\",\"size\":%lld}", l->has_rows ? "," : "", name,
             (long long)info.size);
    l->has_rows = true;
    return (int)strlen(out);
}

static int64_t list_read(void *ctx, uint64_t offset, char *out, size_t len)
{
    struct list *l = ctx;
    char        *at = out, *end = out + (len < LIST_STEP_BYTES ? len : LIST_STEP_BYTES);

    (void)offset;
    if (!l->has_begun)
        at = stpcpy(at, "{\"blobs\":[");
    l->has_begun = true;
    while (l->next < l->count && end - at >= ROW_BYTES_MAX)
        at += print_row(l, l->names[l->next++], at);
    if (l->next == l->count && !l->has_ended && end - at >= 8) {
        at = stpcpy(at, "]}\n");
        l->has_ended = true;
    }
    return at - out;
}

static void on_listed(void *ctx, enum err e, const char *const *names, size_t count)
{
    struct request    *r = ctx;
    struct list       *l;
    struct http_source source = {NULL, list_read, list_free};

    request_gateway(r)->submits--;
    if (e) {
        request_fail(r, e,
                     e == ERR_PARAM ? "prefix is to be a UUID, or how the names of its results begin"
                                    : "the directory of the blobs cannot be read");
        return;
    }
    l = xcalloc(1, sizeof *l);
    l->blobs = request_gateway(r)->blobs;
    l->names = xcalloc(count + 1, sizeof *l->names);
    for (; l->count < count; l->count++)
        l->names[l->count] = xstrdup(names[l->count]);
    source.ctx = l;
    request_answer_stream(r, 200, "application/json", -1, &source);
}

static void list_end(struct request *r)
{
    struct blob_store *blobs = store_of(r);
    const char        *prefix = request_query(r, "prefix");

    if (!blobs)
        return;
    request_gateway(r)->submits++;
    blob_list(blobs, prefix ? prefix : "", on_listed, r);
}

const struct handler blob_list_handler = {NULL, NULL, list_end, NULL};

/* ---- DELETE ------------------------------------------------------------------------- */

static void on_needed(void *ctx, const struct store_reply *reply)
{
    struct request *r = ctx;
    struct gateway *gw = request_gateway(r);
    struct fault    why;
    enum err        e;

    gw->submits--;
    if (reply->answer != STORE_OK) {
        answer_store_trouble(r, reply->answer);
        return;
    }
    if (reply->item_count) {
        request_fail(r, ERR_WRONG_STATE, "a job still needs this blob");
        return;
    }
    e = blob_delete(gw->blobs, request_segment(r), &why);
    if (e == ERR_NO_BLOB)
        answer_no_blob(r);
    else if (e)
        request_fail_why(r, &why);
    else
        request_answer_empty(r, 204);
}

static void delete_end(struct request *r)
{
    struct blob_store *blobs = store_of(r);
    const char        *name = request_segment(r);
    struct blob_info   info;
    struct fault       why;
    enum err           e;
    char               etag[CHECKSUM_BYTES + 2];
    int                fd;

    if (!blobs)
        return;
    e = blob_open(blobs, name, &fd, &info, &why);
    if (e == ERR_NO_BLOB) {
        answer_no_blob(r);
        return;
    }
    if (!e) {
        close(fd);
        snprintf(etag, sizeof etag, "\"%s\"", info.sum);
    }
    if (!request_conditions_of_change(r, e ? NULL : etag)) /* one that is damaged can be removed, too */
        return;
    request_gateway(r)->submits++;
    store_blobs_needed(request_gateway(r)->store, &name, 1, 0, on_needed, r);
}

const struct handler blob_delete_handler = {NULL, NULL, delete_end, NULL};
