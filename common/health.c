/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - see the header. */
#include "common/health.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/address.h"

#define WAIT_S 5

static int connect_to(const struct sockaddr_storage *address)
{
    const struct timeval wait = {.tv_sec = WAIT_S};
    int                  fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(fd, (const struct sockaddr *)address,
                address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The status line is all that matters, and comes in the first packet. */
static int ask(int fd)
{
    static const char question[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char              answer[16] = "";
    int               status = 0;

    if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) < 0 ||
        recv(fd, answer, sizeof answer - 1, MSG_WAITALL) < 0)
        return 0;
    return sscanf(answer, "HTTP/1.%*1d %3d", &status) == 1 ? status : 0;
}

int health_ask(const char *address, int port)
{
    struct sockaddr_storage where;
    struct fault            why;
    int                     fd, status = 0;

    if (address_read(address, port, &where, &why)) {
        fprintf(stderr, "%s\n", why.detail);
        return 1;
    }
    fd = connect_to(&where);
    if (fd < 0) {
        fprintf(stderr, "nobody answers on %s port %d: %s\n", address, port, strerror(errno));
        return 1;
    }
    status = ask(fd);
    close(fd);
    if (status != 200)
        fprintf(stderr, "/healthz on %s port %d: %s\n", address, port, status ? "not well" : "no answer");
    return status == 200 ? 0 : 1;
}
