/* SPDX-License-Identifier: Apache-2.0 */
/* pull.c - POST /pullCompleted?top=N: finished hash jobs, newest first, each handed out once. */
#include <string.h>

#include "api/gateway.h"

#define TOP_MAX 1000 /* in one answer; ask again for more */

static void put_hex(struct buf *out, const unsigned char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char             *at = buf_reserve(out, 2 * len);

    for (size_t i = 0; i < len; i++) {
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    out->len += 2 * len;
}

static void on_pulled(void *ctx, const struct store_reply *reply)
{
    struct request *r = ctx;
    struct buf      body = {0};

    if (reply->answer != STORE_OK) {
        answer_store_trouble(r, reply->answer);
        return;
    }
    buf_text(&body, "[");
    for (size_t i = 0; i < reply->item_count; i++) {
        const struct store_item *item = &reply->items[i];

        buf_printf(&body, "%s{\"id\":\"%s\",\"value\":\"", i ? "," : "", item->id);
        put_hex(&body, item->data, item->len);
        buf_text(&body, "\"}");
    }
    buf_text(&body, "]\n");
    request_answer(r, 200, "application/json", &body);
}

/* Plain decimal >= 1, of any length; cut to TOP_MAX. 0: malformed. */
static int64_t read_top(const char *text)
{
    int64_t top = 0;

    if (!text || !*text)
        return 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        top = top * 10 + (*text - '0');
        if (top > TOP_MAX)
            top = TOP_MAX;
    }
    return top;
}

static void pull_end(struct request *r)
{
    const char *key = request_header(r, "Idempotency-Key");
    int64_t     top = read_top(request_query(r, "top"));

    if (!top)
        request_fail(r, ERR_PARAM, "top is required: how many results at most, a plain decimal from 1");
    else if (key && strlen(key) >= IDEMPOTENCY_BYTES)
        request_fail(r, ERR_REQUEST, "the Idempotency-Key takes at most 255 bytes");
    else
        store_pull(request_gateway(r)->store, "hash", top, key ? key : "", on_pulled, r);
}

const struct handler pull_handler = {NULL, NULL, pull_end, NULL};
