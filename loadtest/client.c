/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - requests out, answers in. */
#include "loadtest/client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loadtest/tool.h"

const char client_matrix_request[] = "POST /matrix_multiplication HTTP/1.1\r\n"
                                     "Host: 127.0.0.1\r\n"
                                     "Content-Type: application/json\r\n"
                                     "Content-Length: 37\r\n"
                                     "\r\n"
                                     "{\"A\":[[1,2],[3,4]],\"B\":[[5,6],[7,8]]}";
const char client_matrix_result[] = "{\"C\":[[19,22],[43,50]]}";

void client_open(struct client *c, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int                on = 1;

    c->have = 0;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&at, sizeof at) != 0)
        tool_die("cannot connect to port %d", port);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void client_close(struct client *c)
{
    close(c->fd);
    c->fd = -1;
}

void client_send(struct client *c, const char *request, size_t len)
{
    c->have = 0;
    if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
        tool_die("the gateway does not take a request of %zu bytes", len);
}

/* Length of the body by the head that ends before body. */
static size_t body_length(const char *head, const char *body)
{
    static const char name[] = "\r\nContent-Length:";

    for (const char *line = head; line < body; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line, name, sizeof name - 1) == 0)
            return strtoul(line + sizeof name - 1, NULL, 10);
    tool_die("an answer without Content-Length");
}

bool client_read(struct client *c, struct answer *out)
{
    ssize_t n = recv(c->fd, c->bytes + c->have, CLIENT_BYTES - 1 - c->have, 0);
    char   *body, *head = c->bytes;
    size_t  len;

    if (n <= 0)
        tool_die("the gateway closed a connection");
    c->have += (size_t)n;
    c->bytes[c->have] = 0;
    body = strstr(head, "\r\n\r\n");
    if (!body)
        return false;
    body += 4;
    len = body_length(strstr(head, "\r\n"), body);
    if (len > CLIENT_BYTES - 1 - (size_t)(body - head))
        tool_die("an answer of %zu bytes", len);
    if ((size_t)(body - head) + len > c->have)
        return false;
    *out = (struct answer){.status = atoi(head + strcspn(head, " ")), .body = body, .body_len = len};
    return true;
}

void client_call(struct client *c, const char *request, size_t len, struct answer *out)
{
    client_send(c, request, len);
    while (!client_read(c, out))
        ;
}

void client_job_id(const struct answer *a, char id[CLIENT_ID_BYTES])
{
    static const char field[] = "\"id\":\"";
    const char       *at = strstr(a->body, field);

    if (a->status != 202 || !at || strcspn(at + sizeof field - 1, "\"") != CLIENT_ID_BYTES - 1)
        tool_die("a submit was answered by %d: %s", a->status, a->body);
    memcpy(id, at + sizeof field - 1, CLIENT_ID_BYTES - 1);
    id[CLIENT_ID_BYTES - 1] = 0;
}
