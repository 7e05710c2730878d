/* SPDX-License-Identifier: Apache-2.0 */
/* image_driver.c - kind image without a fleet: runs one file through it.
 *
 *   image_driver jailed|free IN OUT MEMORY_MAX ROOM_MAX [NAME=VALUE ...]
 *
 * Prints where the result lay, "room" or "file" (of a free run alone: nobody raises the limits of a jailed one), its
 * content type, its checksum or "-", and the seconds that the job took. Exit status 1: refused; the sentence is on
 * standard error as "CODE: DETAIL". 128 + N: signal N ended it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "kinds/image/prepare.h"
#include "kinds/task.h"
#include "worker/executor/jail.h"

#define RESULT_MAX ((uint64_t)1 << 30)
#define OUT_FD 3

/* What the process in the jail leaves. */
struct left {
    char           type[RESULT_TYPE_BYTES], sum[CHECKSUM_BYTES];
    bool           is_file;
    uint64_t       len;
    int64_t        ms;
    _Atomic double progress;
    char           room[] __attribute__((aligned(64)));
};

struct call {
    bool        is_jailed;
    struct buf  input;
    uint64_t    memory_max, room_max;
    struct args args;
};

_Noreturn static void give_up(const struct fault *why)
{
    fprintf(stderr, "%s: %s\n", err_code(why->err), why->detail);
    exit(1);
}

_Noreturn static void stop(const char *what)
{
    perror(what);
    exit(2);
}

static void read_file(const char *path, struct buf *out)
{
    FILE  *f = fopen(path, "rb");
    size_t got;

    if (!f)
        stop(path);
    while ((got = fread(buf_reserve(out, 65536), 1, 65536, f)) > 0)
        out->len += got;
    fclose(f);
}

static void read_call(int argc, char **argv, struct call *c)
{
    struct fault  why;
    struct limits limits = {.inline_max = RESULT_MAX, .has_blobs = true};
    struct input  in = {.refs = ""};
    uint64_t      bytes;

    c->is_jailed = strcmp(argv[1], "jailed") == 0;
    read_file(argv[2], &c->input);
    c->memory_max = strtoull(argv[4], NULL, 10);
    c->room_max = strtoull(argv[5], NULL, 10);
    args_init(&c->args);
    for (int i = 6; i < argc; i++) {
        char *value = strchr(argv[i], '=');

        *value = '\0';
        if (args_set(&image_spec, &c->args, argv[i], value + 1, &why))
            give_up(&why);
    }
    in.body_len = c->input.len;
    if (args_complete(&image_spec, &c->args, &why) || image_spec.check(&c->args, &in, &limits, &bytes, &why))
        give_up(&why);
}

/* The process that does it, as an executor would. */
_Noreturn static void work(const struct call *c, struct left *left)
{
    struct fault why;
    struct task  task = {.args = &c->args,
                         .input = c->input.data,
                         .input_len = c->input.len,
                         .refs = "",
                         .output = left->room,
                         .output_fd = c->is_jailed ? -1 : OUT_FD,
                         .output_max = RESULT_MAX,
                         .room_max = c->room_max,
                         .memory_max = c->memory_max,
                         .threads = 1,
                         .progress = &left->progress};
    int64_t      begin;

    if (image_prepare(&why) || image_warm_up(c->memory_max, &why) ||
        (c->is_jailed && jail_enter(OUT_FD, c->memory_max, JAIL_MAKES_THREADS, &why)))
        give_up(&why);
    begin = mono_ms();
    if (image_run(&task))
        give_up(&task.why);
    left->ms = mono_ms() - begin;
    left->is_file = task.is_file;
    left->len = task.output_len;
    memcpy(left->type, task.type, sizeof left->type);
    memcpy(left->sum, task.sum, sizeof left->sum);
    exit(0);
}

int main(int argc, char **argv)
{
    static struct call c;
    struct left       *left;
    int                status;
    pid_t              pid;

    if (argc < 6)
        return 2;
    read_call(argc, argv, &c);
    left = mmap(NULL, sizeof *left + c.room_max, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (left == MAP_FAILED || open(argv[3], O_RDWR | O_CREAT | O_TRUNC, 0600) != OUT_FD)
        stop(argv[3]);
    pid = fork();
    if (pid == 0)
        work(&c, left);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        stop("fork");
    if (WIFSIGNALED(status))
        return 128 + WTERMSIG(status);
    if (WEXITSTATUS(status))
        return WEXITSTATUS(status);
    if (!left->is_file && write(OUT_FD, left->room, left->len) != (ssize_t)left->len)
        stop(argv[3]);
    printf("%s %s %s %.3f\n", left->is_file ? "file" : "room", left->type, *left->sum ? left->sum : "-",
           (double)left->ms / 1000);
    return left->progress == 1 ? 0 : 3;
}
