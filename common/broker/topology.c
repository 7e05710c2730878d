/* SPDX-License-Identifier: Apache-2.0 */
/* topology.c - the queues of a fleet, declared by whoever connects.
 *
 *   millrace.<kind>       work, one per kind; rejected or over-delivered: to millrace.dead
 *   millrace.dead         what could not be run
 *   millrace.delay.<2^k>  k = 0..9: a queue with that many seconds of TTL behind a fanout
 *                         exchange of the same name. A message is published to the exchange
 *                         with its work queue as routing key, which it keeps when it expires:
 *                         so the default exchange takes it there.
 *
 * Quorum queues dead-letter at least once (which wants reject-publish); a
 * classic delay queue in front of a quorum work queue would lose messages at a
 * restart, so a fleet has one type throughout.
 */
#include "common/broker/broker_impl.h"

#include <stdio.h>

#include "common/retry.h"

#define DEAD_QUEUE "millrace.dead"
#define DELIVERY_LIMIT 100000                  /* means the same in every version; losses are counted elsewhere */
#define DEAD_DELIVERY_LIMIT 1000000000         /* each look counts as one; without a limit RabbitMQ 4 drops at 20 */
#define CONSUMER_TIMEOUT_MS INT64_C(604800000) /* above the longest job; a broker that does not know it ignores it */
#define TABLE_MAX 8

struct table {
    amqp_table_entry_t entries[TABLE_MAX];
    int                count;
};

static void add_text(struct table *t, const char *key, const char *text)
{
    t->entries[t->count++] = (amqp_table_entry_t){
        .key = bytes_of(key), .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(text)}};
}

static void add_int(struct table *t, const char *key, int64_t number)
{
    t->entries[t->count++] =
        (amqp_table_entry_t){.key = bytes_of(key), .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = number}};
}

static void add_type(struct table *t, bool is_quorum) { add_text(t, "x-queue-type", is_quorum ? "quorum" : "classic"); }

static void declare_queue(struct conn *c, int channel, const char *name, const struct table *t)
{
    amqp_queue_declare_t declare = {
        .queue = bytes_of(name),
        .durable = 1,
        .arguments = {.num_entries = t->count, .entries = (amqp_table_entry_t *)t->entries}};

    frames_method(c, channel, AMQP_QUEUE_DECLARE_METHOD, &declare);
}

static void declare_dead(struct conn *c, int channel)
{
    struct table t = {.count = 0};

    add_type(&t, c->b->config.is_quorum);
    if (c->b->config.is_quorum)
        add_int(&t, "x-delivery-limit", DEAD_DELIVERY_LIMIT);
    declare_queue(c, channel, DEAD_QUEUE, &t);
}

static void declare_work(struct conn *c, int channel, const char *name)
{
    struct table t = {.count = 0};

    add_type(&t, c->b->config.is_quorum);
    add_int(&t, "x-consumer-timeout", CONSUMER_TIMEOUT_MS);
    if (c->b->config.is_quorum) {
        add_int(&t, "x-delivery-limit", DELIVERY_LIMIT);
        add_text(&t, "x-dead-letter-exchange", "");
        add_text(&t, "x-dead-letter-routing-key", DEAD_QUEUE);
        add_text(&t, "x-dead-letter-strategy", "at-least-once");
        add_text(&t, "x-overflow", "reject-publish");
    }
    declare_queue(c, channel, name, &t);
}

static void declare_delay(struct conn *c, int channel, const char *name, int rung)
{
    struct table t = {.count = 0};

    add_type(&t, c->b->config.is_quorum);
    add_int(&t, "x-message-ttl", retry_rung_seconds(rung) * 1000);
    add_text(&t, "x-dead-letter-exchange", "");
    if (c->b->config.is_quorum) {
        add_text(&t, "x-dead-letter-strategy", "at-least-once");
        add_text(&t, "x-overflow", "reject-publish");
    }
    declare_queue(c, channel, name, &t);
}

/* The order of the steps: the dead queue, the work queues, then of each rung
 * its exchange, its queue and the binding. */
enum what { DEAD, WORK, DELAY_EXCHANGE, DELAY_QUEUE, DELAY_BINDING };

static enum what locate(const struct broker *b, int step, int *rung, char name[QUEUE_NAME_BYTES])
{
    int first_delay = 1 + b->config.kind_count;

    *rung = 0;
    if (step == 0) {
        snprintf(name, QUEUE_NAME_BYTES, "%s", DEAD_QUEUE);
        return DEAD;
    }
    if (step < first_delay) {
        topology_work_queue(b->config.kinds[step - 1], name);
        return WORK;
    }
    *rung = (step - first_delay) / 3;
    topology_delay(*rung, name);
    return (enum what)(DELAY_EXCHANGE + (step - first_delay) % 3);
}

void topology_work_queue(const char *kind, char out[QUEUE_NAME_BYTES])
{
    snprintf(out, QUEUE_NAME_BYTES, "millrace.%s", kind);
}

void topology_delay(int rung, char out[QUEUE_NAME_BYTES])
{
    snprintf(out, QUEUE_NAME_BYTES, "millrace.delay.%lld", (long long)retry_rung_seconds(rung));
}

const char *topology_dead_queue(void) { return DEAD_QUEUE; }

int topology_steps(const struct broker *b) { return 1 + b->config.kind_count + 3 * RUNG_COUNT; }

void topology_send(struct conn *c, int channel, int step)
{
    char      name[QUEUE_NAME_BYTES];
    int       rung;
    enum what what = locate(c->b, step, &rung, name);

    if (what == DEAD) {
        declare_dead(c, channel);
    } else if (what == WORK) {
        declare_work(c, channel, name);
    } else if (what == DELAY_EXCHANGE) {
        amqp_exchange_declare_t declare = {.exchange = bytes_of(name), .type = bytes_of("fanout"), .durable = 1};

        frames_method(c, channel, AMQP_EXCHANGE_DECLARE_METHOD, &declare);
    } else if (what == DELAY_QUEUE) {
        declare_delay(c, channel, name, rung);
    } else {
        amqp_queue_bind_t bind = {.queue = bytes_of(name), .exchange = bytes_of(name)};

        frames_method(c, channel, AMQP_QUEUE_BIND_METHOD, &bind);
    }
}

void topology_describe(const struct broker *b, int step, char out[QUEUE_NAME_BYTES + 16])
{
    char      name[QUEUE_NAME_BYTES];
    int       rung;
    enum what what = locate(b, step, &rung, name);

    snprintf(out, QUEUE_NAME_BYTES + 16, "%s=%s",
             what == DELAY_EXCHANGE  ? "exchange"
             : what == DELAY_BINDING ? "binding"
                                     : "queue",
             name);
}
