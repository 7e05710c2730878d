/* SPDX-License-Identifier: Apache-2.0 */
/* top.c - millrace top: the fleet, live, on a terminal.
 *
 * Plain escape sequences on the alternate screen: each tick asks for /stats and
 * draws all of it again. Whatever ends it (q, a signal, a refusal), the terminal
 * is put back before anything else is said. Where stdout is no terminal, one
 * listing is printed.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/views.h"
#include "common/clock.h"

#define SCREEN_ON "\033[?1049h\033[?25l"
#define SCREEN_OFF "\033[?25h\033[?1049l"
#define PER_SECOND_MS 1000.0

enum { EVERY_OPTION };

static const struct option options[] = {
    [EVERY_OPTION] = {"every", 'e', OPTION_REAL, "SECONDS", "how often it is drawn (1)", 0.1, 3600, NULL},
    {0},
};

struct top {
    struct cli     *cli;
    struct transfer call;
    struct termios  before; /* valid while has_keys */
    bool            has_keys;
    char            trouble[REASON_BYTES]; /* of the last call that ended; "" */
    json_t         *stats;                 /* the last answer; NULL before the first */
    int64_t         stats_ms;              /* mono: when it came */
    double          in_rate, out_rate;     /* jobs per second accepted and ended, between the last two answers */
};

/* ---- the terminal ------------------------------------------------------------ */

/* Keys arrive one by one and unseen. Ctrl-C stays a signal; those that would leave the screen as it is do nothing. */
static void keys_open(struct top *top)
{
    struct termios raw;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &top->before))
        return;
    raw = top->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VSUSP] = raw.c_cc[VQUIT] = _POSIX_VDISABLE;
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    top->has_keys = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    if (top->has_keys)
        http_watch(top->cli->http, STDIN_FILENO);
}

static void terminal_open(struct top *top)
{
    keys_open(top);
    fputs(SCREEN_ON, stdout);
    fflush(stdout);
}

static void terminal_close(struct top *top)
{
    fputs(SCREEN_OFF, stdout);
    fflush(stdout);
    http_watch(top->cli->http, -1);
    if (top->has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
}

/* False when a key says that it is enough, or the terminal is gone. */
static bool read_keys(struct top *top)
{
    char    keys[16];
    ssize_t got = top->has_keys ? read(STDIN_FILENO, keys, sizeof keys) : 0;

    for (ssize_t i = 0; i < got; i++)
        if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == 4) /* Ctrl-D */
            return false;
    return got >= 0;
}

/* ---- drawing ------------------------------------------------------------------ */

static void view_head(const struct top *top, struct buf *out)
{
    const char *trouble = *top->call.reason ? top->call.reason : top->trouble;
    char        now[WALL_TEXT_BYTES];

    wall_format(wall_ms(), now);
    buf_printf(out, "%s   %.19sZ   q quits\n", http_url(top->cli->http), now);
    if (*trouble)
        buf_printf(out, "%s; trying again\n", trouble);
    else
        buf_printf(out, "%.1f jobs/s accepted, %.1f jobs/s ended\n", top->in_rate, top->out_rate);
    buf_text(out, "\n");
}

/* Adds text to the frame: as many lines, and of each as many characters, as the screen has. */
static void add_frame(struct buf *frame, const struct buf *text, const struct winsize *size)
{
    int row = 1, column = 0;

    buf_text(frame, "\033[H");
    for (size_t i = 0; i < text->len && row <= size->ws_row; i++) {
        unsigned char c = (unsigned char)text->data[i];

        if (c == '\n') {
            buf_text(frame, row++ < size->ws_row ? "\033[K\r\n" : "\033[K");
            column = 0;
            continue;
        }
        column += (c & 0xc0) != 0x80;
        if (column <= size->ws_col)
            buf_append(frame, &text->data[i], 1);
    }
    buf_text(frame, "\033[J");
}

/* False when nobody can see it any more: the terminal has gone, and its hangup was not for us or not heard. */
static bool draw(const struct top *top)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    struct buf     text = {0}, frame = {0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    view_head(top, &text);
    if (top->stats) {
        view_jobs(top->stats, &text);
        buf_text(&text, "\n");
        view_queues(top->stats, &text);
        buf_text(&text, "\n");
        view_workers(top->stats, &text);
    }
    add_frame(&frame, &text, &size);
    fwrite(frame.data, 1, frame.len, stdout);
    fflush(stdout);
    buf_free(&text);
    buf_free(&frame);
    return !ferror(stdout);
}

/* ---- asking -------------------------------------------------------------------- */

static int64_t ended_jobs(const json_t *stats)
{
    const json_t *jobs = json_object_get(stats, "jobs");

    return count_of(jobs, "completed") + count_of(jobs, "failed") + count_of(jobs, "cancelled");
}

/* fresh is taken. */
static void take_stats(struct top *top, json_t *fresh)
{
    int64_t now = mono_ms();
    double  seconds = (double)(now - top->stats_ms) / PER_SECOND_MS;

    if (top->stats && seconds > 0) {
        int64_t accepted = count_of(json_object_get(fresh, "jobs"), "accepted");

        top->in_rate = (double)(accepted - count_of(json_object_get(top->stats, "jobs"), "accepted")) / seconds;
        top->out_rate = (double)(ended_jobs(fresh) - ended_jobs(top->stats)) / seconds;
    }
    json_decref(top->stats);
    top->stats = fresh;
    top->stats_ms = now;
}

/* What has become of the call. A gateway that is away may come back; one that refuses will not change its mind. */
static enum outcome take_answer(struct top *top)
{
    json_t *fresh = NULL;

    memcpy(top->trouble, top->call.reason, sizeof top->trouble);
    if (top->call.outcome == EXIT_OK)
        fresh = json_loadb(top->call.answer.data, top->call.answer.len, 0, NULL);
    if (fresh)
        take_stats(top, fresh);
    return top->call.outcome == EXIT_REFUSED ? EXIT_REFUSED : EXIT_OK;
}

static enum outcome watch(struct top *top, int64_t every_ms)
{
    enum outcome o = EXIT_OK;
    int64_t      next_ms = 0;
    bool         is_asked = false;

    while (o == EXIT_OK) {
        int64_t now = mono_ms();

        if (!is_asked && now >= next_ms) {
            next_ms = now + every_ms;
            is_asked = true;
            http_start(top->cli->http, &top->call);
        }
        http_run(top->cli->http, next_ms > now ? next_ms - now : every_ms);
        if (interrupt_count() || !read_keys(top))
            break;
        if (is_asked && !top->call.exchange) {
            is_asked = false;
            o = take_answer(top);
        }
        if (!draw(top))
            break;
    }
    http_abort(top->cli->http, &top->call);
    return o == EXIT_OK && interrupt_count() ? EXIT_INTERRUPTED : o;
}

/* ---- the verb -------------------------------------------------------------------- */

static enum outcome list_once(struct cli *cli)
{
    json_t      *stats;
    struct buf   text = {0};
    enum outcome o = stats_get(cli, &stats);

    if (o)
        return o;
    view_jobs(stats, &text);
    buf_text(&text, "\n");
    view_queues(stats, &text);
    buf_text(&text, "\n");
    view_workers(stats, &text);
    if (cli->is_json)
        print_json(stats);
    else
        fwrite(text.data, 1, text.len, stdout);
    buf_free(&text);
    json_decref(stats);
    return EXIT_OK;
}

static enum outcome run(struct cli *cli)
{
    struct top   top = {.cli = cli};
    enum outcome o;

    if (cli->is_json || !isatty(STDOUT_FILENO))
        return list_once(cli);
    transfer_init(&top.call, "GET", "/stats");
    terminal_open(&top);
    o = watch(&top, (int64_t)(line_real(&cli->line, EVERY_OPTION, 1) * PER_SECOND_MS));
    terminal_close(&top);
    if (o == EXIT_REFUSED)
        complain("%s", top.call.reason);
    transfer_free(&top.call);
    json_decref(top.stats);
    return o;
}

const struct verb verb_top = {
    .name = "top",
    .operands = "",
    .summary = "Watch jobs, queues and workers live",
    .text = "The key q ends it, as does Ctrl-C (130). Where stdout is no terminal, the same is listed once.\n",
    .options = options,
    .run = run,
};
