/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_link.h - the few steps of AMQP that the broker's floor takes, by the
 * shortest way that librabbitmq offers. Every failure ends the program. */
#ifndef MILLRACE_LOADTEST_AMQP_LINK_H
#define MILLRACE_LOADTEST_AMQP_LINK_H

#include <amqp.h>
#include <stdbool.h>
#include <stdint.h>

#define LINK_CHANNEL 1

/* A connection with one open channel; owned by the caller, ends with the
 * program. url: amqp://user:password@host:port/vhost */
amqp_connection_state_t link_open(const char *url);

/* Declares queue as the product declares its work queues (type, delivery
 * limit, dead-lettering at least once into dead, which is declared too). */
void link_declare(amqp_connection_state_t c, const char *queue, const char *dead, bool is_quorum);

/* Deletes the queue with all that is in it. One that is not there is fine. */
void link_delete(amqp_connection_state_t c, const char *queue);

/* Empties the queue. */
void link_purge(amqp_connection_state_t c, const char *queue);

/* Switches the channel to publisher confirms. */
void link_confirms(amqp_connection_state_t c);

/* A consumer with acks and prefetch 1. */
void link_consume(amqp_connection_state_t c, const char *queue);

/* Persistent, mandatory. */
void link_publish(amqp_connection_state_t c, const char *queue, amqp_bytes_t body);

/* Waits for the next frame; false when the connection ended. */
bool link_read(amqp_connection_state_t c, amqp_frame_t *frame);

#endif
