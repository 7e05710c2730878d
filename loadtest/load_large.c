/* SPDX-License-Identifier: Apache-2.0 */
/* load_large.c - one large body in, one large result out.
 *
 * Usage: load_large PORT json ROWS COLS [ACCEPT]   POST /matrix_multiplication with two operands, made on the fly
 *        load_large PORT form A B [ACCEPT]         the same with two .npy files as a form
 *        load_large PORT blob FILE                 PUT /blobs
 *        load_large PORT get PATH ACCEPT           GET, the body thrown away
 * With ACCEPT the result is waited for and read too, and the time ends with
 * its last byte. Prints "start" before the first byte goes out and one JSON
 * line: up: bytes of the body sent and seconds to the answer; down: bytes
 * behind the answer's head and seconds from the request for it.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loadtest/client.h"
#include "loadtest/text.h"
#include "loadtest/tool.h"

#define PIECE_BYTES (1 << 20)
#define SIDE_MAX 1000000
#define ID_ROOM 128
#define BOUNDARY "millrace-load-boundary"

struct run {
    int     port;
    int64_t start_us;
    double  up_seconds, down_seconds;
    double  up_bytes, down_bytes;
    char    id[ID_ROOM]; /* that the answer to the upload names */
};

static struct client gateway; /* for what is sent; its answer is small */

/* ---- up -------------------------------------------------------------------- */

static void send_all(const char *bytes, size_t len)
{
    ssize_t n;

    for (; len; bytes += n, len -= (size_t)n)
        if ((n = send(gateway.fd, bytes, len, MSG_NOSIGNAL)) <= 0)
            tool_die("the gateway does not take the body");
}

static void send_file(int file, off_t size)
{
    off_t at = 0;

    while (at < size)
        if (sendfile(gateway.fd, file, &at, PIECE_BYTES) <= 0)
            tool_die("the gateway does not take the file");
}

static void send_head(struct run *r, const char *method, const char *path, const char *type, uint64_t length)
{
    char head[512];
    int  len = snprintf(head, sizeof head,
                        "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: %llu\r\n\r\n", method,
                        path, type, (unsigned long long)length);

    client_open(&gateway, r->port);
    puts("start");
    fflush(stdout);
    r->up_bytes = (double)length;
    r->start_us = tool_mono_us();
    send_all(head, (size_t)len);
}

static void read_answer(struct run *r)
{
    static const char field[] = "\"id\":\"";
    struct answer     answer;
    const char       *at;

    gateway.have = 0;
    while (!client_read(&gateway, &answer))
        ;
    r->up_seconds = (double)(tool_mono_us() - r->start_us) / 1e6;
    client_close(&gateway);
    at = strstr(answer.body, field);
    if (answer.status / 100 != 2 || !at)
        tool_die("the upload was answered by %d: %.300s", answer.status, answer.body);
    at += sizeof field - 1;
    snprintf(r->id, sizeof r->id, "%.*s", (int)strcspn(at, "\""), at);
}

static void up_json(struct run *r, long rows, long cols)
{
    struct text text;
    const char *bytes;
    size_t      len;

    text_init(&text, rows, cols);
    send_head(r, "POST", "/matrix_multiplication", "application/json", text_bytes(&text));
    while ((bytes = text_next(&text, PIECE_BYTES, &len)))
        send_all(bytes, len);
    text_free(&text);
    read_answer(r);
}

static int open_file(const char *path, off_t *size)
{
    struct stat about;
    int         fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &about) != 0)
        tool_die("cannot open %s", path);
    *size = about.st_size;
    return fd;
}

static void up_form(struct run *r, char **paths)
{
    static const char end[] = "\r\n--" BOUNDARY "--\r\n";
    char              heads[2][256];
    off_t             sizes[2];
    int               files[2];
    uint64_t          length = sizeof end - 1;

    for (int i = 0; i < 2; i++) {
        files[i] = open_file(paths[i], &sizes[i]);
        length += (uint64_t)snprintf(heads[i], sizeof heads[i],
                                     "%s--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"%c\"; "
                                     "filename=\"%c.npy\"\r\nContent-Type: application/octet-stream\r\n\r\n",
                                     i ? "\r\n" : "", "AB"[i], "AB"[i]) +
                  (uint64_t)sizes[i];
    }
    send_head(r, "POST", "/matrix_multiplication", "multipart/form-data; boundary=" BOUNDARY, length);
    for (int i = 0; i < 2; i++) {
        send_all(heads[i], strlen(heads[i]));
        send_file(files[i], sizes[i]);
        close(files[i]);
    }
    send_all(end, sizeof end - 1);
    read_answer(r);
}

static void up_blob(struct run *r, const char *path)
{
    off_t size;
    int   file = open_file(path, &size);

    send_head(r, "PUT", "/blobs", "application/octet-stream", (uint64_t)size);
    send_file(file, size);
    close(file);
    read_answer(r);
}

/* ---- down ------------------------------------------------------------------ */

/* Reads until the gateway closes; dies unless the body was whole. */
static void read_to_end(struct run *r)
{
    static char buffer[PIECE_BYTES + 1];
    char       *body = NULL;
    char        last[5] = "";
    size_t      have = 0;
    double      announced = -1;
    ssize_t     n;

    while (!body) {
        if ((n = recv(gateway.fd, buffer + have, PIECE_BYTES - have, 0)) <= 0)
            tool_die("the gateway closed a connection");
        have += (size_t)n;
        buffer[have] = 0;
        body = strstr(buffer, "\r\n\r\n");
    }
    if (atoi(buffer + strcspn(buffer, " ")) != 200)
        tool_die("the request was answered by: %.400s", buffer);
    body += 4;
    *(body - 1) = 0;
    if (strcasestr(buffer, "\r\nContent-Length:"))
        announced = strtod(strcasestr(buffer, "\r\nContent-Length:") + 17, NULL);
    n = (ssize_t)(have - (size_t)(body - buffer));
    memmove(buffer, body, (size_t)n);
    do {
        r->down_bytes += (double)n;
        for (size_t i = n > 5 ? (size_t)n - 5 : 0; i < (size_t)n; i++) {
            memmove(last, last + 1, 4);
            last[4] = buffer[i];
        }
    } while ((n = recv(gateway.fd, buffer, PIECE_BYTES, 0)) > 0);
    if (announced >= 0 ? r->down_bytes != announced : memcmp(last, "0\r\n\r\n", 5) != 0)
        tool_die("the body broke off after %.0f bytes", r->down_bytes);
}

static void down(struct run *r, const char *path, const char *accept)
{
    char    request[1024];
    int64_t start_us = tool_mono_us();
    int     len = snprintf(request, sizeof request,
                           "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: %s\r\nConnection: close\r\n\r\n", path, accept);

    client_open(&gateway, r->port);
    send_all(request, (size_t)len);
    read_to_end(r);
    r->down_seconds = (double)(tool_mono_us() - start_us) / 1e6;
    client_close(&gateway);
}

static void down_result(struct run *r, const char *accept)
{
    char path[ID_ROOM + 64];

    snprintf(path, sizeof path, "/jobs/%s/result?wait=60", r->id);
    down(r, path, accept);
}

/* ---- one run ---------------------------------------------------------------- */

static void say(const struct run *r)
{
    printf("{\"seconds\":%.6f", (double)(tool_mono_us() - r->start_us) / 1e6);
    if (r->up_bytes > 0)
        printf(",\"id\":\"%s\",\"up_bytes\":%.0f,\"up_seconds\":%.6f,\"up_mb_per_second\":%.1f", r->id, r->up_bytes,
               r->up_seconds, r->up_bytes / r->up_seconds / 1e6);
    if (r->down_bytes > 0)
        printf(",\"down_bytes\":%.0f,\"down_seconds\":%.6f,\"down_mb_per_second\":%.1f", r->down_bytes, r->down_seconds,
               r->down_bytes / r->down_seconds / 1e6);
    printf(",\"client_cpu_seconds\":%.6f}\n", tool_cpu_seconds());
}

int main(int argc, char **argv)
{
    struct run  r = {0};
    const char *what = argc > 2 ? argv[2] : "";

    if (argc < 4)
        tool_die("usage: load_large PORT json ROWS COLS [ACCEPT] | form A B [ACCEPT] | blob FILE | get PATH ACCEPT");
    r.port = (int)tool_number("PORT", argv[1], 1, 65535);
    if (strcmp(what, "json") == 0 && argc >= 5) {
        up_json(&r, tool_number("ROWS", argv[3], 1, SIDE_MAX), tool_number("COLS", argv[4], 1, SIDE_MAX));
    } else if (strcmp(what, "form") == 0 && argc >= 5) {
        up_form(&r, argv + 3);
    } else if (strcmp(what, "blob") == 0 && argc == 4) {
        up_blob(&r, argv[3]);
    } else if (strcmp(what, "get") == 0 && argc == 5) {
        puts("start");
        fflush(stdout);
        r.start_us = tool_mono_us();
        down(&r, argv[3], argv[4]);
    } else {
        tool_die("'%s' cannot be done with %d arguments", what, argc - 3);
    }
    if (argc == 6)
        down_result(&r, argv[5]);
    say(&r);
    return 0;
}
