/* SPDX-License-Identifier: Apache-2.0 */
/* floor_http.c - what libmicrohttpd gives to a gateway that does nothing.
 *
 * One thread around its epoll descriptor. Every request gets, once its body has
 * been read, the same 202 of the size of the gateway's answer. Prints the port
 * it listens on; runs until it is killed.
 */
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "loadtest/tool.h"

#define CONNECTION_BYTES 32768 /* as the gateway gives to each connection */
#define ID "00000000-0000-7000-8000-000000000000"

static const char body[] = "{\"id\":\"" ID "\",\"kind\":\"matrix\",\"state\":\"pending\","
                           "\"links\":{\"self\":\"/jobs/" ID "\",\"result\":\"/jobs/" ID "/result\"}}\n";

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *connection, const char *path, const char *method,
                                 const char *version, const char *bytes, size_t *len, void **state)
{
    struct MHD_Response *response = ctx;

    (void)path, (void)method, (void)version, (void)bytes;
    if (!*state) { /* only the head is there */
        *state = response;
        return MHD_YES;
    }
    if (*len) {
        *len = 0;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_ACCEPTED, response);
}

static void serve(struct MHD_Daemon *daemon)
{
    struct pollfd wait = {.fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN};

    for (;;) {
        MHD_UNSIGNED_LONG_LONG timeout_ms;
        int                    has_timeout = MHD_get_timeout(daemon, &timeout_ms) == MHD_YES;

        poll(&wait, 1, has_timeout ? (int)(timeout_ms < 1000 ? timeout_ms : 1000) : -1);
        MHD_run(daemon);
    }
}

int main(void)
{
    struct sockaddr_in   at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(body), (void *)body, MHD_RESPMEM_PERSISTENT);
    struct MHD_Daemon   *daemon;

    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, "/jobs/" ID);
    daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TURBO, 0, NULL, NULL, on_access, response, MHD_OPTION_SOCK_ADDR,
                              (struct sockaddr *)&at, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                              MHD_OPTION_END);
    if (!daemon)
        tool_die("cannot listen");
    printf("%d\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    serve(daemon);
}
