/* SPDX-License-Identifier: Apache-2.0 */
/* map_thumbs.c - see the header. */
#include "cli/map_thumbs.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/map_html.h"
#include "cli/map_record.h"
#include "common/clock.h"

#define TARGET "/jobs/image?ops=fit:160,convert:jpeg&quality=75&strip=1&deadline=20" /* nobody wants it later */
#define DEADLINE_MS 20000                                                            /* for all of them */
#define IMAGE_MAX 49152

struct making {
    struct transfer transfer;
    struct http    *http;
    struct thumb   *thumb;
};

static void on_image(struct transfer *t)
{
    struct making *m = t->ctx;

    if (t->outcome != EXIT_OK || strcmp(t->type, "image/jpeg") != 0 || t->answer.len > IMAGE_MAX)
        return;
    html_data_uri(&m->thumb->image, t->type, t->answer.data, t->answer.len);
    buf_append(&m->thumb->image, "", 1);
}

static void on_submitted(struct transfer *t)
{
    struct making *m = t->ctx;
    struct record  record = {.state = RECORD_NONE};
    json_t        *doc;

    if (t->outcome != EXIT_OK)
        return;
    doc = json_loadb(t->answer.data, t->answer.len, 0, NULL);
    record_read(doc, &record);
    json_decref(doc);
    transfer_free(t);
    transfer_init(t, "GET", "/jobs/%s/result?wait=20", record.id);
    t->ctx = m;
    t->done = on_image;
    http_start(m->http, t);
}

static void ask_fleet(struct http *http, struct thumb *thumbs, size_t count)
{
    struct making *all = xcalloc(count + 1, sizeof *all);
    int64_t        until = mono_ms() + DEADLINE_MS;
    int            signals = interrupt_count();

    for (size_t i = 0; i < count; i++) {
        all[i].http = http;
        all[i].thumb = &thumbs[i];
        transfer_init(&all[i].transfer, "POST", TARGET);
        all[i].transfer.content_type = "application/octet-stream";
        all[i].transfer.body_file = thumbs[i].file;
        all[i].transfer.ctx = &all[i];
        all[i].transfer.done = on_submitted;
        http_start(http, &all[i].transfer);
    }
    while (mono_ms() < until && interrupt_count() == signals && http_run(http, until - mono_ms()) > 0)
        ;
    for (size_t i = 0; i < count; i++) {
        http_abort(http, &all[i].transfer);
        transfer_free(&all[i].transfer);
    }
    free(all);
}

/* The type of a picture that any browser shows, by its first bytes; NULL: it is none. */
static const char *type_of(const unsigned char *bytes, size_t len)
{
    if (len > 3 && !memcmp(bytes, "\xff\xd8\xff", 3))
        return "image/jpeg";
    if (len > 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8))
        return "image/png";
    if (len > 12 && !memcmp(bytes, "RIFF", 4) && !memcmp(bytes + 8, "WEBP", 4))
        return "image/webp";
    return NULL;
}

static void take_whole(struct thumb *thumb)
{
    unsigned char *bytes = xmalloc(IMAGE_MAX + 1);
    int            fd = open(thumb->file, O_RDONLY | O_CLOEXEC);
    ssize_t        len = fd < 0 ? -1 : read(fd, bytes, IMAGE_MAX + 1);
    const char    *type = len > 0 && len <= IMAGE_MAX ? type_of(bytes, (size_t)len) : NULL;

    if (type) {
        html_data_uri(&thumb->image, type, bytes, (size_t)len);
        buf_append(&thumb->image, "", 1);
    }
    if (fd >= 0)
        close(fd);
    free(bytes);
}

void thumbs_make(struct http *http, struct thumb *thumbs, size_t count)
{
    if (http)
        ask_fleet(http, thumbs, count);
    for (size_t i = 0; i < count; i++)
        if (!thumbs[i].image.len)
            take_whole(&thumbs[i]);
}
