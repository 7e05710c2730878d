/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - millrace, the client of a gateway: reads the command line and hands over to a verb. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/http.h"
#include "cli/interrupt.h"
#include "common/buf.h"
#include "common/text.h"

#define KEY_BYTES_MAX 4096

const struct verb *const verbs[] = {
#define VERB(name) &verb_##name,
#include "cli/verbs.def"
#undef VERB
    NULL,
};

const struct verb *verb_find(const char *name)
{
    for (const struct verb *const *v = verbs; *v; v++)
        if (!strcmp((*v)->name, name))
            return *v;
    return NULL;
}

static void complain_about(const char *fmt, va_list args)
{
    struct buf line = {0};

    buf_vprintf(&line, fmt, args);
    text_tame(line.data, line.len);
    fprintf(stderr, "millrace: %.*s\n", (int)line.len, line.data);
    buf_free(&line);
}

void complain(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    complain_about(fmt, args);
    va_end(args);
}

enum outcome give_up(enum outcome how, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    complain_about(fmt, args);
    va_end(args);
    return how;
}

/* ---- the gateway ------------------------------------------------------------ */

/* The first line of the file; owned by the caller, NULL after a complaint. */
static char *read_key(const char *file)
{
    char    text[KEY_BYTES_MAX + 1];
    int     fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, KEY_BYTES_MAX);

    if (got < 0)
        complain("the file of the key, %s: %s", file, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return NULL;
    text[got] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    return xstrdup(text);
}

static void notice(void *ctx, const char *reason)
{
    (void)ctx;
    complain("%s; trying again", reason);
}

static enum outcome connect_gateway(struct cli *cli)
{
    const char        *url = getenv("MILLRACE_URL"), *key = getenv("MILLRACE_API_KEY");
    char              *text = NULL;
    struct http_config config = {.patience_ms = line_count(&cli->line, OPTION_PATIENCE, 10) * 1000};
    struct fault       why;
    enum outcome       o;

    config.url = line_text(&cli->line, OPTION_URL, url && *url ? url : "http://127.0.0.1:8080");
    config.key = line_text(&cli->line, OPTION_KEY, key && *key ? key : NULL);
    config.notice = isatty(STDERR_FILENO) ? notice : NULL;
    if (config.key && config.key[0] == '@') {
        config.key = text = read_key(config.key + 1);
        if (!text)
            return EXIT_LOCAL;
    }
    o = http_new(&config, &cli->http, &why);
    free(text);
    return o ? give_up(o, "%s", why.detail) : EXIT_OK;
}

/* ---- the program ------------------------------------------------------------ */

static enum outcome run(struct cli *cli)
{
    const struct verb *verb = cli->line.verb;
    enum outcome       o;

    if (line_has(&cli->line, OPTION_VERSION)) {
        puts("millrace " MILLRACE_VERSION);
        return EXIT_OK;
    }
    if (line_has(&cli->line, OPTION_HELP)) {
        help_print(stdout, verb);
        return EXIT_OK;
    }
    if (!verb) {
        help_print(stderr, NULL);
        return EXIT_USAGE;
    }
    o = verb->is_offline ? EXIT_OK : connect_gateway(cli);
    return o ? o : verb->run(cli);
}

/* A standard descriptor that was closed is opened so that using it is a fault: what this program opens would have its
 * number, and what is printed would go there. */
static void fill_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* it gets the lowest number */
}

int main(int argc, char **argv)
{
    struct cli   cli = {0};
    struct fault why;
    enum outcome o;

    fill_standard();
    interrupt_init();
    if (line_parse(argc, argv, &cli.line, &why)) {
        cli.is_json = line_has(&cli.line, OPTION_JSON);
        o = run(&cli);
    } else {
        o = give_up(EXIT_USAGE, "%s", why.detail);
    }
    if ((fflush(stdout) || ferror(stdout)) && !o)
        o = give_up(EXIT_LOCAL, "output: %s", strerror(errno));
    http_free(cli.http);
    line_free(&cli.line);
    return (int)o;
}
