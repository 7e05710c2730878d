/* SPDX-License-Identifier: Apache-2.0 */
/* letter.c - one dead message after the other, as a look reads them: delivery, header, body. */
#include <stdlib.h>
#include <string.h>

#include "common/broker/broker_impl.h"
#include "common/broker/browse.h"
#include "common/checksum.h"

void letter_drop(struct browser *w)
{
    if (w->letter)
        msg_free(w->letter->msg);
    free(w->letter);
    checksum_free(w->sum);
    w->letter = NULL;
    w->sum = NULL;
    w->has_header = false;
}

void letter_begin(struct broker *b, const amqp_basic_deliver_t *deliver)
{
    struct browser *w = &b->browser;

    letter_drop(w);
    w->letter = xcalloc(1, sizeof *w->letter);
    w->tag = deliver->delivery_tag;
}

/* Keeps it, or what is listed of it. */
static void end_letter(struct broker *b)
{
    struct browser     *w = &b->browser;
    struct look        *k = w->look;
    struct dead_letter *l = w->letter;
    bool                is_wanted;

    if (w->sum) {
        char sum[CHECKSUM_BYTES];

        checksum_hex(w->sum, sum);
        snprintf(l->id, sizeof l->id, "d-%s", sum);
    }
    is_wanted = k->type == LOOK_LIST ? k->seen.count < k->limit : !k->seen.count && strcmp(l->id, k->id) == 0;
    if (is_wanted) {
        k->letters[k->seen.count++] = *l;
        w->found_tag = w->tag;
        if (k->type == LOOK_LIST) {
            msg_free(l->msg);
            k->letters[k->seen.count - 1].msg = NULL;
        }
        l->msg = NULL;
    }
    letter_drop(w);
    browse_letter_read(b);
}

/* Without an id of its own: all that does not change from one delivery to the next. */
static struct checksum *begin_sum(const struct dead_letter *l)
{
    size_t           room = strlen(l->msg->params) + HEADER_ROOM, len = 0;
    char            *head = xmalloc(room);
    struct checksum *sum = checksum_new();

    if (wire_encode(l->msg, (amqp_bytes_t){.len = room, .bytes = head}, &len))
        checksum_add(sum, head, len);
    checksum_add(sum, l->reason, strlen(l->reason));
    checksum_add(sum, &l->received_ms, sizeof l->received_ms);
    free(head);
    return sum;
}

void letter_on_header(struct conn *c, const struct frame *f)
{
    struct broker      *b = c->b;
    struct browser     *w = &b->browser;
    struct dead_letter *l = w->letter;

    burial_read(b, f->payload, &c->pool, l);
    l->bytes = wire_body_size(f->payload);
    w->has_header = true;
    w->remaining = l->bytes;
    if (!*l->id)
        w->sum = begin_sum(l);
    else if (w->look->type == LOOK_FIND && l->bytes && l->bytes <= BODY_MAX && strcmp(l->id, w->look->id) == 0)
        l->msg->body = xmalloc(l->bytes);
    if (l->bytes > BODY_MAX && l->bad.err == ERR_OK)
        (void)fault_set(&l->bad, ERR_UNDECODABLE, "the body of %llu bytes is larger than %u bytes",
                        (unsigned long long)l->bytes, BODY_MAX);
    if (!w->remaining)
        end_letter(b);
}

void letter_on_body(struct conn *c, const struct frame *f)
{
    struct browser *w = &c->b->browser;
    struct msg     *m = w->letter->msg;

    if (f->payload.len > w->remaining) {
        conn_fail(c, "the peer sent a longer body than it had announced");
        return;
    }
    if (m->body) {
        memcpy((char *)m->body + m->body_len, f->payload.bytes, f->payload.len);
        m->body_len += f->payload.len;
    }
    if (w->sum)
        checksum_add(w->sum, f->payload.bytes, f->payload.len);
    w->remaining -= f->payload.len;
    if (!w->remaining)
        end_letter(c->b);
}
