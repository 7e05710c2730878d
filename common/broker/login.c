/* SPDX-License-Identifier: Apache-2.0 */
/* login.c - who we say we are, and what both sides agree on.
 *
 * The capabilities are what makes the broker tell us of cancelled consumers,
 * of being blocked, and why it refuses a login.
 */
#include "common/broker/broker_impl.h"

#include <stdio.h>

static amqp_table_entry_t entry_bool(const char *key)
{
    return (amqp_table_entry_t){.key = bytes_of(key), .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static amqp_table_entry_t entry_text(const char *key, const char *text)
{
    return (amqp_table_entry_t){.key = bytes_of(key),
                                .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(text)}};
}

void login_on_start(struct conn *c)
{
    const struct amqp_connection_info *account = &c->b->account;
    amqp_table_entry_t                 capabilities[] = {
                        entry_bool("consumer_cancel_notify"), entry_bool("connection.blocked"),           entry_bool("basic.nack"),
                        entry_bool("publisher_confirms"),     entry_bool("authentication_failure_close"),
    };
    char                       name[128], response[2048];
    amqp_table_entry_t         properties[4];
    amqp_connection_start_ok_t ok = {.mechanism = bytes_of("PLAIN"), .locale = bytes_of("en_US")};
    int                        len;

    snprintf(name, sizeof name, "%s/%s", c->b->config.name, conn_role_name(c));
    properties[0] = entry_text("product", "Millrace");
    properties[1] = entry_text("version", MILLRACE_VERSION);
    properties[2] = entry_text("connection_name", name);
    properties[3] = (amqp_table_entry_t){
        .key = bytes_of("capabilities"),
        .value = {.kind = AMQP_FIELD_KIND_TABLE,
                  .value.table = {.num_entries = sizeof capabilities / sizeof *capabilities, .entries = capabilities}}};
    ok.client_properties = (amqp_table_t){.num_entries = 4, .entries = properties};
    len = snprintf(response, sizeof response, "%c%s%c%s", 0, account->user, 0, account->password);
    ok.response = (amqp_bytes_t){.len = (size_t)len, .bytes = response};
    frames_method(c, 0, AMQP_CONNECTION_START_OK_METHOD, &ok);
}

/* The smaller of two limits, where 0 means none. */
static uint32_t agree(uint32_t theirs, uint32_t ours) { return theirs && (!ours || theirs < ours) ? theirs : ours; }

void login_on_tune(struct conn *c, const amqp_connection_tune_t *tune)
{
    amqp_connection_tune_ok_t ok = {.channel_max = tune->channel_max,
                                    .frame_max = agree(tune->frame_max, FRAME_MAX),
                                    .heartbeat = (uint16_t)agree(tune->heartbeat, (uint32_t)c->b->config.heartbeat_s)};
    amqp_connection_open_t    open = {.virtual_host = bytes_of(c->b->account.vhost)};
    int                       channels = c->control.channel > 2 ? c->control.channel : 2;

    if (tune->channel_max && tune->channel_max < channels) {
        conn_fail(c, "the broker allows %d channels, %d are needed", tune->channel_max, channels);
        return;
    }
    if (ok.frame_max < FRAME_LEAST) {
        conn_fail(c, "the broker allows frames of %u bytes, %d are needed", ok.frame_max, FRAME_LEAST);
        return;
    }
    c->frame_max = ok.frame_max;
    c->heartbeat_ms = ok.heartbeat * 1000;
    frames_method(c, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &ok);
    frames_method(c, 0, AMQP_CONNECTION_OPEN_METHOD, &open);
}
