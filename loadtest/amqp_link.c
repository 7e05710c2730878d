/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_link.c - connect, declare, publish, consume with librabbitmq. */
#include "loadtest/amqp_link.h"

#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loadtest/tool.h"

#define FRAME_MAX 131072
#define DELIVERY_LIMIT 100000
#define CONSUMER_TIMEOUT_MS INT64_C(604800000)

static void must(amqp_rpc_reply_t reply, const char *step)
{
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
        tool_die("%s: %s", step, amqp_error_string2(reply.library_error));
    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        tool_die("%s: refused by the broker", step);
}

amqp_connection_state_t link_open(const char *url)
{
    struct amqp_connection_info at;
    amqp_connection_state_t     c = amqp_new_connection();
    amqp_socket_t              *socket = amqp_tcp_socket_new(c);
    char                       *text = strdup(url); /* the parsed strings point into it */
    int                         on = 1;

    if (!text || !socket || amqp_parse_url(text, &at) != AMQP_STATUS_OK)
        tool_die("cannot read the URL '%s'", url);
    if (amqp_socket_open(socket, at.host, at.port) != AMQP_STATUS_OK)
        tool_die("cannot connect to %s:%d", at.host, at.port);
    setsockopt(amqp_get_sockfd(c), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    must(amqp_login(c, at.vhost, 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, at.user, at.password), "login");
    free(text);
    amqp_channel_open(c, LINK_CHANNEL);
    must(amqp_get_rpc_reply(c), "channel");
    return c;
}

static amqp_table_entry_t text_entry(const char *key, const char *text)
{
    return (amqp_table_entry_t){.key = amqp_cstring_bytes(key),
                                .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(text)}};
}

static amqp_table_entry_t int_entry(const char *key, int64_t number)
{
    return (amqp_table_entry_t){.key = amqp_cstring_bytes(key),
                                .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = number}};
}

void link_declare(amqp_connection_state_t c, const char *queue, const char *dead, bool is_quorum)
{
    const char        *type = is_quorum ? "quorum" : "classic";
    amqp_table_entry_t entries[] = {
        text_entry("x-queue-type", type),
        int_entry("x-consumer-timeout", CONSUMER_TIMEOUT_MS),
        int_entry("x-delivery-limit", DELIVERY_LIMIT),
        text_entry("x-dead-letter-exchange", ""),
        text_entry("x-dead-letter-routing-key", dead),
        text_entry("x-dead-letter-strategy", "at-least-once"),
        text_entry("x-overflow", "reject-publish"),
    };
    amqp_table_t of_dead = {.num_entries = 1, .entries = entries};
    amqp_table_t of_work = {.num_entries = is_quorum ? 7 : 2, .entries = entries};

    amqp_queue_declare(c, LINK_CHANNEL, amqp_cstring_bytes(dead), 0, 1, 0, 0, of_dead);
    must(amqp_get_rpc_reply(c), "declare of the dead queue");
    amqp_queue_declare(c, LINK_CHANNEL, amqp_cstring_bytes(queue), 0, 1, 0, 0, of_work);
    must(amqp_get_rpc_reply(c), "declare");
}

void link_delete(amqp_connection_state_t c, const char *queue)
{
    amqp_queue_delete(c, LINK_CHANNEL, amqp_cstring_bytes(queue), 0, 0);
    must(amqp_get_rpc_reply(c), "delete");
}

void link_purge(amqp_connection_state_t c, const char *queue)
{
    amqp_queue_purge(c, LINK_CHANNEL, amqp_cstring_bytes(queue));
    must(amqp_get_rpc_reply(c), "purge");
}

void link_confirms(amqp_connection_state_t c)
{
    amqp_confirm_select(c, LINK_CHANNEL);
    must(amqp_get_rpc_reply(c), "confirm.select");
}

void link_consume(amqp_connection_state_t c, const char *queue)
{
    amqp_basic_qos(c, LINK_CHANNEL, 0, 1, 0);
    must(amqp_get_rpc_reply(c), "qos");
    amqp_basic_consume(c, LINK_CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    must(amqp_get_rpc_reply(c), "consume");
}

void link_publish(amqp_connection_state_t c, const char *queue, amqp_bytes_t body)
{
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
                                          .delivery_mode = AMQP_DELIVERY_PERSISTENT};
    int rc = amqp_basic_publish(c, LINK_CHANNEL, amqp_empty_bytes, amqp_cstring_bytes(queue), 1, 0, &properties, body);

    if (rc != AMQP_STATUS_OK)
        tool_die("publish: %s", amqp_error_string2(rc));
}

bool link_read(amqp_connection_state_t c, amqp_frame_t *frame)
{
    amqp_maybe_release_buffers(c);
    return amqp_simple_wait_frame(c, frame) == AMQP_STATUS_OK;
}
