/* SPDX-License-Identifier: Apache-2.0 */
/* outcome.c - see the header. */
#include "worker/outcome.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/retry.h"

#define RESTART_FIRST_MS 100
#define RESTART_CAP_MS 5000

static const struct {
    bool        is_abnormal;
    enum err    err;
    const char *detail;
} reasons[KILL_REASON_COUNT] = {
    [KILL_NOT] = {true, ERR_EXECUTOR, NULL}, /* the wait status says it */
    [KILL_TIMEOUT] = {false, ERR_TIMEOUT, NULL},
    [KILL_JOB] = {false, ERR_EXECUTOR, "the executor was stopped because the attempt was over"},
    [KILL_RECYCLE] = {false, ERR_EXECUTOR, "the executor was replaced"},
    [KILL_REST] = {false, ERR_EXECUTOR, "the executor was not needed"},
    [KILL_SILENT] = {true, ERR_EXECUTOR, "the executor did not become ready"},
    [KILL_GARBLED] = {true, ERR_EXECUTOR, "the executor sent an answer that makes no sense"},
    [KILL_END] = {false, ERR_EXECUTOR, "the worker ended"},
};

/* What people look for when they see the signal. */
static const char *signal_hint(int number)
{
    switch (number) {
    case SIGKILL:
        return ": out of memory, or killed from outside";
    case SIGSYS:
        return ": a system call that its jail does not allow";
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
    case SIGABRT:
        return ": it crashed";
    default:
        return "";
    }
}

bool outcome_is_abnormal(enum kill_reason reason) { return reasons[reason].is_abnormal; }

void outcome_of_end(int status, enum kill_reason reason, int64_t limit_s, struct fault *why)
{
    if (reason == KILL_TIMEOUT)
        fault_set(why, ERR_TIMEOUT, "the attempt took longer than its time limit of %" PRId64 " s", limit_s);
    else if (reasons[reason].detail)
        fault_set(why, reasons[reason].err, "%s", reasons[reason].detail);
    else if (WIFSIGNALED(status))
        fault_set(why, ERR_EXECUTOR, "the executor was ended by signal %d (SIG%s)%s", WTERMSIG(status),
                  sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?", signal_hint(WTERMSIG(status)));
    else
        fault_set(why, ERR_EXECUTOR, "the executor exited with status %d", WEXITSTATUS(status));
}

static bool is_checksum(const char sum[CHECKSUM_BYTES])
{
    return strnlen(sum, CHECKSUM_BYTES) == CHECKSUM_BYTES - 1 && strspn(sum, "0123456789abcdef") == CHECKSUM_BYTES - 1;
}

static bool is_object_or_empty(const char verified[VERIFIED_BYTES])
{
    size_t  len = strnlen(verified, VERIFIED_BYTES);
    json_t *doc = len > 0 && len < VERIFIED_BYTES ? json_loads(verified, 0, NULL) : NULL;
    bool    is_object = json_is_object(doc);

    json_decref(doc);
    return len == 0 || is_object;
}

/* A media type: it goes into the record, and from there into a header. */
static bool is_media_or_empty(const char media[RESULT_TYPE_BYTES])
{
    size_t      len = strnlen(media, RESULT_TYPE_BYTES);
    const char *slash = memchr(media, '/', len);

    if (len == 0)
        return true;
    for (size_t i = 0; i < len; i++)
        if (media[i] < ' ' || media[i] > '~')
            return false;
    return len < RESULT_TYPE_BYTES && slash && slash > media && slash < media + len - 1;
}

static enum err judge_file(const struct frame_done *done, const struct result_bounds *bounds, struct fault *why)
{
    if (bounds->file_bytes < 0)
        return fault_set(why, ERR_INTERNAL, "the executor speaks of a file that it was not given");
    if (done->output_len > bounds->file_max || (!bounds->is_open_ended && done->output_len < bounds->file_max))
        return fault_set(why, ERR_INTERNAL, "the result has %" PRIu64 " bytes where %s %" PRIu64 " can be",
                         done->output_len, bounds->is_open_ended ? "at most" : "just", bounds->file_max);
    if (done->output_len != (uint64_t)bounds->file_bytes)
        return fault_set(why, ERR_INTERNAL, "the result has %" PRIu64 " bytes, and its file %" PRId64, done->output_len,
                         bounds->file_bytes);
    if (!is_checksum(done->sum))
        return fault_set(why, ERR_INTERNAL, "the executor wrote a result without its checksum");
    return ERR_OK;
}

static enum err judge_result(const struct frame_done *done, const struct result_bounds *bounds, struct fault *why)
{
    bool     is_file = bounds->is_open_ended ? done->is_file == 1 : bounds->file_bytes >= 0;
    enum err e = is_file ? judge_file(done, bounds, why) : ERR_OK;

    if (e)
        return e;
    if (!is_file && done->output_len > bounds->room_max)
        return fault_set(why, ERR_INTERNAL, "the result has %" PRIu64 " bytes where at most %" PRIu64 " can be",
                         done->output_len, bounds->room_max);
    if (done->is_file > 1 || (!bounds->is_open_ended && (done->is_file || done->media[0])))
        return fault_set(why, ERR_INTERNAL, "the executor says where its result is, and that makes no sense");
    if (!is_media_or_empty(done->media))
        return fault_set(why, ERR_INTERNAL, "the executor says of which type its result is, but names no media type");
    if (!is_object_or_empty(done->verified))
        return fault_set(why, ERR_INTERNAL, "the executor says how it checked its result, but not in JSON");
    return ERR_OK;
}

enum err outcome_of_done(const struct frame_done *done, const struct result_bounds *bounds, struct fault *why)
{
    if (done->err == ERR_OK)
        return judge_result(done, bounds, why);
    if (done->err >= ERR_COUNT || err_class((enum err)done->err) == ERR_CLASS_NONE)
        return fault_set(why, ERR_INTERNAL, "the executor answered with error %" PRIu32 ", which ends no attempt",
                         done->err);
    return fault_set(why, (enum err)done->err, "%.*s", (int)strnlen(done->why.detail, sizeof done->why.detail),
                     done->why.detail);
}

int outcome_rung(enum err err, int64_t errors, int64_t base_s, int64_t cap_s, double dice)
{
    return err_class(err) == ERR_CLASS_TRANSIENT ? retry_backoff_rung(errors + 1, base_s, cap_s, dice) : 0;
}

int64_t outcome_restart_ms(int failures)
{
    int64_t wait_ms = RESTART_FIRST_MS;

    if (failures <= 1)
        return 0;
    for (int i = 2; i < failures && wait_ms < RESTART_CAP_MS; i++)
        wait_ms *= 2;
    return wait_ms < RESTART_CAP_MS ? wait_ms : RESTART_CAP_MS;
}
