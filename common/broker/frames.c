/* SPDX-License-Identifier: Apache-2.0 */
/* frames.c - bytes to frames and back, on a socket that never blocks.
 *
 * A frame is: type (1 byte), channel (2), size (4), payload, 0xCE (AMQP 0-9-1,
 * section 4.2.3). Outgoing frames gather in conn.out and leave with one send
 * per turn of the loop; what the socket does not take waits there.
 */
#include "common/broker/broker_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HEAD_BYTES 7
#define METHOD_ROOM 8192      /* the longest of ours is start-ok: names, a password */
#define IN_BYTES 16384        /* to begin with; a longer frame makes it grow */
#define OUT_KEPT_BYTES 262144 /* a larger buffer is given back once it is empty */
#define READS_PER_TURN 16     /* a flood of one connection must not starve the other */

uint16_t get16(const void *p)
{
    const uint8_t *b = p;

    return (uint16_t)(b[0] << 8 | b[1]);
}

uint32_t get32(const void *p)
{
    const uint8_t *b = p;

    return (uint32_t)get16(b) << 16 | get16(b + 2);
}

uint64_t get64(const void *p)
{
    const uint8_t *b = p;

    return (uint64_t)get32(b) << 32 | get32(b + 4);
}

void put16(void *p, uint16_t value)
{
    uint8_t *b = p;

    b[0] = (uint8_t)(value >> 8);
    b[1] = (uint8_t)value;
}

void put32(void *p, uint32_t value)
{
    put16(p, (uint16_t)(value >> 16));
    put16((uint8_t *)p + 2, (uint16_t)value);
}

void put64(void *p, uint64_t value)
{
    put32(p, (uint32_t)(value >> 32));
    put32((uint8_t *)p + 4, (uint32_t)value);
}

amqp_bytes_t bytes_of(const char *text) { return (amqp_bytes_t){.len = strlen(text), .bytes = (char *)text}; }

/* Completes the frame whose payload of len bytes was written at HEAD_BYTES
 * behind the end of out. */
static void seal(struct buf *out, int type, int channel, size_t len)
{
    char *frame = out->data + out->len;

    frame[0] = (char)type;
    put16(frame + 1, (uint16_t)channel);
    put32(frame + 3, (uint32_t)len);
    frame[HEAD_BYTES + len] = (char)AMQP_FRAME_END;
    out->len += len + EDGE_BYTES;
}

void frames_method(struct conn *c, int channel, amqp_method_number_t method, void *decoded)
{
    char        *payload = buf_reserve(&c->out, METHOD_ROOM + EDGE_BYTES) + HEAD_BYTES;
    amqp_bytes_t room = {.len = METHOD_ROOM - 4, .bytes = payload + 4};
    int          len = amqp_encode_method(method, decoded, room);

    if (len < 0) {
        conn_fail(c, "method 0x%08x cannot be encoded: %s", method, amqp_error_string2(len));
        return;
    }
    put32(payload, method);
    seal(&c->out, AMQP_FRAME_METHOD, channel, (size_t)len + 4);
}

bool frames_publish(struct conn *c, int channel, const char *exchange, const char *key, const struct msg *m,
                    const struct buf *head)
{
    amqp_basic_publish_t publish = {.exchange = bytes_of(exchange), .routing_key = bytes_of(key), .mandatory = 1};
    size_t               start = c->out.len;
    size_t               payload_max = c->frame_max - EDGE_BYTES;
    size_t               room = head ? head->len : strlen(m->params) + HEADER_ROOM;
    size_t               len;
    char                *payload;

    frames_method(c, channel, AMQP_BASIC_PUBLISH_METHOD, &publish);
    payload = buf_reserve(&c->out, room + EDGE_BYTES) + HEAD_BYTES;
    if (head)
        memcpy(payload, head->data, len = head->len);
    else if (!wire_encode(m, (amqp_bytes_t){.len = room, .bytes = payload}, &len))
        len = SIZE_MAX;
    if (len > payload_max) {
        c->out.len = start;
        return false;
    }
    seal(&c->out, AMQP_FRAME_HEADER, channel, len);
    for (size_t at = 0; at < m->body_len; at += len) {
        len = m->body_len - at < payload_max ? m->body_len - at : payload_max;
        memcpy(buf_reserve(&c->out, len + EDGE_BYTES) + HEAD_BYTES, (const char *)m->body + at, len);
        seal(&c->out, AMQP_FRAME_BODY, channel, len);
    }
    return true;
}

void frames_heartbeat(struct conn *c)
{
    buf_reserve(&c->out, EDGE_BYTES);
    seal(&c->out, AMQP_FRAME_HEARTBEAT, 0, 0);
}

void frames_protocol_header(struct conn *c) { buf_append(&c->out, "AMQP\0\0\x09\x01", 8); }

/* Fills f from a whole frame. False: the connection was given up. */
static bool decode(struct conn *c, const char *bytes, size_t size, struct frame *f)
{
    const char *payload = bytes + HEAD_BYTES;
    int         status;

    *f = (struct frame){
        .type = (uint8_t)bytes[0], .channel = get16(bytes + 1), .payload = {.len = size, .bytes = (char *)payload}};
    if ((uint8_t)payload[size] != AMQP_FRAME_END || (f->type == AMQP_FRAME_METHOD && size < 4)) {
        conn_fail(c, "the peer sent a malformed frame");
        return false;
    }
    if (f->type != AMQP_FRAME_METHOD)
        return true;
    f->method = get32(payload);
    status = amqp_decode_method(f->method, &c->pool, (amqp_bytes_t){.len = size - 4, .bytes = (char *)payload + 4},
                                &f->decoded);
    if (status < 0) {
        conn_fail(c, "method 0x%08x cannot be decoded: %s", f->method, amqp_error_string2(status));
        return false;
    }
    return true;
}

/* Handles every whole frame in conn.in and keeps the rest. False: the
 * connection is gone. */
static bool handle_frames(struct conn *c)
{
    struct frame f;
    size_t       at = 0;

    while (c->in_len - at >= HEAD_BYTES) {
        const char *bytes = c->in + at;
        size_t      size = get32(bytes + 3);

        if (size > c->frame_max - EDGE_BYTES) { /* also what a peer that speaks no AMQP 0-9-1 answers */
            conn_fail(c, "the peer does not speak AMQP 0-9-1: a frame of %zu bytes", size);
            return false;
        }
        if (c->in_len - at < size + EDGE_BYTES) {
            if (c->in_cap < size + EDGE_BYTES) {
                c->in_cap = size + EDGE_BYTES + IN_BYTES;
                c->in = xrealloc(c->in, c->in_cap);
            }
            break;
        }
        if (!decode(c, bytes, size, &f))
            return false;
        conn_on_frame(c, &f);
        if (c->fd < 0)
            return false;
        recycle_amqp_pool(&c->pool);
        at += size + EDGE_BYTES;
    }
    c->in_len -= at;
    memmove(c->in, c->in + at, c->in_len);
    return true;
}

void frames_read(struct conn *c)
{
    if (!c->in) {
        c->in_cap = IN_BYTES;
        c->in = xmalloc(c->in_cap);
    }
    for (int i = 0; i < READS_PER_TURN; i++) {
        size_t  room = c->in_cap - c->in_len;
        ssize_t n = recv(c->fd, c->in + c->in_len, room, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            conn_fail(c, "%s", n == 0 ? "closed by the peer" : strerror(errno));
            return;
        }
        c->heard_ms = c->b->now_ms;
        c->in_len += (size_t)n;
        if (!handle_frames(c) || (size_t)n < room)
            return;
    }
}

size_t frames_unwritten(const struct conn *c) { return c->out.len - c->out_done; }

void frames_flush(struct conn *c)
{
    while (frames_unwritten(c)) {
        ssize_t n = send(c->fd, c->out.data + c->out_done, frames_unwritten(c), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            c->events |= UV_WRITABLE;
            return;
        }
        if (n < 0) {
            conn_fail(c, "send: %s", strerror(errno));
            return;
        }
        c->out_done += (size_t)n;
        c->spoke_ms = c->b->now_ms;
    }
    c->events &= ~UV_WRITABLE;
    c->out.len = c->out_done = 0;
    if (c->out.cap > OUT_KEPT_BYTES)
        buf_free(&c->out);
}

void frames_reset(struct conn *c)
{
    c->in_len = 0;
    c->out.len = c->out_done = 0;
    if (c->out.cap > OUT_KEPT_BYTES)
        buf_free(&c->out);
    recycle_amqp_pool(&c->pool);
}
