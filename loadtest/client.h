/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - one keep-alive HTTP connection to the gateway on this machine.
 *
 * As thin as a client can be, so that what is measured is the fleet: requests
 * are whole texts, answers must carry a Content-Length. Every failure ends
 * the program.
 */
#ifndef MILLRACE_LOADTEST_CLIENT_H
#define MILLRACE_LOADTEST_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#define CLIENT_BYTES 65536
#define CLIENT_ID_BYTES 37

struct client {
    int    fd;
    size_t have; /* bytes of the answer so far */
    char   bytes[CLIENT_BYTES];
};

struct answer {
    int         status;
    const char *body; /* borrowed from the client until its next call; NUL behind it */
    size_t      body_len;
};

/* Connects to 127.0.0.1:port. */
void client_open(struct client *c, int port);
void client_close(struct client *c);

/* Sends one whole request. */
void client_send(struct client *c, const char *request, size_t len);

/* Reads what is there (waits when there is nothing); true when the answer is whole. */
bool client_read(struct client *c, struct answer *out);

/* Sends, and waits for the whole answer. */
void client_call(struct client *c, const char *request, size_t len, struct answer *out);

/* The "id" of a 202's body. */
void client_job_id(const struct answer *a, char id[CLIENT_ID_BYTES]);

/* The request that submits [[1,2],[3,4]] x [[5,6],[7,8]], and its result. */
extern const char client_matrix_request[];
extern const char client_matrix_result[];

#endif
