/* SPDX-License-Identifier: Apache-2.0 */
/* floor_sendfile.c - the least that can be done to answer with a file.
 *
 * Usage: floor_sendfile FILE. Every connection to the port that it prints gets,
 * once its request's head has come, the file by sendfile, and is closed. Runs
 * until it is killed.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loadtest/tool.h"

#define PIECE_BYTES (1 << 20)

static int listen_free(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof at;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        tool_die("cannot listen");
    *port = ntohs(at.sin_port);
    return fd;
}

/* False when the client went before its request was whole. */
static bool read_head(int fd)
{
    char    head[8192];
    size_t  have = 0;
    ssize_t n;

    while (have < sizeof head - 1 && (n = recv(fd, head + have, sizeof head - 1 - have, 0)) > 0) {
        have += (size_t)n;
        head[have] = 0;
        if (strstr(head, "\r\n\r\n"))
            return true;
    }
    return false;
}

static void answer(int fd, int file, off_t size)
{
    char  head[256];
    int   len = snprintf(head, sizeof head,
                         "HTTP/1.1 200 OK\r\nContent-Type: application/x-npy\r\nContent-Length: %lld\r\n"
                           "Connection: close\r\n\r\n",
                         (long long)size);
    off_t at = 0;

    if (send(fd, head, (size_t)len, MSG_NOSIGNAL | MSG_MORE) != len)
        return;
    while (at < size && sendfile(fd, file, &at, PIECE_BYTES) > 0)
        ;
}

int main(int argc, char **argv)
{
    int         port, listener, fd, file = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
    struct stat about;

    if (file < 0 || fstat(file, &about) != 0)
        tool_die("usage: floor_sendfile FILE");
    listener = listen_free(&port);
    printf("%d\n", port);
    fflush(stdout);
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        if (read_head(fd))
            answer(fd, file, about.st_size);
        close(fd);
    }
    return 1;
}
