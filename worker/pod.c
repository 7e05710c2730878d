/* SPDX-License-Identifier: Apache-2.0 */
/* pod.c - see the header. The request blocks a thread of libuv's pool for as
 * long as the cluster's API takes, and no longer than CHANGE_MAX_MS. */
#include "worker/pod.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/curl.h"
#include "common/log.h"

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount/"
#define TOKEN_BYTES 16384
#define COST_OF_A_SLOT 100
#define BETWEEN_MS 10000    /* two changes */
#define FIRST_ZERO_MS 30000 /* a predecessor in this pod may have left a cost; a new pod has none, and no hurry */
#define AGAIN_MAX_MS 300000 /* after failures */
#define CHANGE_MAX_MS 5000L

struct pod {
    uv_loop_t  *loop;
    char       *url;
    int         told;
    int64_t     opened_ms, next_ms; /* mono; opened_ms 0: not ticked yet */
    int64_t     changed, failed, failed_in_a_row;
    bool        is_asked, is_closed;
    atomic_bool is_closing;

    /* The pool's while is_asked. */
    uv_work_t    work;
    int          cost;
    struct fault fault;
};

int pod_cost(int busy, int busy_for_long, int told)
{
    int kept = busy * COST_OF_A_SLOT < told ? busy * COST_OF_A_SLOT : told;
    int raised = busy_for_long * COST_OF_A_SLOT;

    return raised > kept ? raised : kept > 0 ? kept : 0;
}

/* ---- one change, on the pool ------------------------------------------------------ */

static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    (void)down_total, (void)down, (void)up_total, (void)up;
    return atomic_load(&((struct pod *)ctx)->is_closing);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    (void)bytes, (void)ctx;
    return size * count; /* the status says enough */
}

static enum err read_token(char header[TOKEN_BYTES], struct fault *why)
{
    int   len = snprintf(header, TOKEN_BYTES, "Authorization: Bearer ");
    FILE *file = fopen(ACCOUNT "token", "re");
    bool  is_read = file && fgets(header + len, TOKEN_BYTES - len, file);

    if (file)
        fclose(file);
    header[strcspn(header, "\r\n")] = '\0';
    return is_read ? ERR_OK : fault_set(why, ERR_IO, "no token can be read from " ACCOUNT "token");
}

static void set_options(CURL *easy, const struct pod *p, struct curl_slist *headers, const char *body)
{
    curl.easy_setopt(easy, CURLOPT_URL, p->url);
    curl.easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PATCH");
    curl.easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl.easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl.easy_setopt(easy, CURLOPT_CAINFO, ACCOUNT "ca.crt");
    curl.easy_setopt(easy, CURLOPT_USERAGENT, "millrace-worker/" MILLRACE_VERSION);
    curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl.easy_setopt(easy, CURLOPT_TIMEOUT_MS, CHANGE_MAX_MS);
    curl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl.easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl.easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl.easy_setopt(easy, CURLOPT_XFERINFODATA, p);
}

static enum err change(struct pod *p, struct fault *why)
{
    char               bearer[TOKEN_BYTES], body[128];
    struct curl_slist *headers = NULL;
    CURL              *easy;
    CURLcode           code;
    long               status = 0;

    if (read_token(bearer, why))
        return why->err;
    easy = curl.easy_init();
    if (!easy)
        return fault_set(why, ERR_IO, "libcurl has no memory");
    snprintf(body, sizeof body,
             "{\"metadata\":{\"annotations\":{\"controller.kubernetes.io/pod-deletion-cost\":\"%d\"}}}", p->cost);
    headers = curl.slist_append(headers, bearer);
    headers = curl.slist_append(headers, "Content-Type: application/merge-patch+json");
    set_options(easy, p, headers, body);
    code = curl.easy_perform(easy);
    curl.easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl.easy_cleanup(easy);
    curl.slist_free_all(headers);
    if (code)
        return fault_set(why, ERR_IO, "%s", curl.easy_strerror(code));
    return status == 200 ? ERR_OK : fault_set(why, ERR_IO, "the cluster's API answered with status %ld", status);
}

static void on_pool(uv_work_t *work)
{
    struct pod *p = work->data;

    p->fault.err = change(p, &p->fault);
}

/* ---- on the loop ------------------------------------------------------------------- */

static void destroy(struct pod *p)
{
    free(p->url);
    free(p);
}

static int64_t wait_after_failures(int64_t failures)
{
    int64_t wait = BETWEEN_MS;

    while (--failures > 0 && wait < AGAIN_MAX_MS)
        wait *= 2;
    return wait < AGAIN_MAX_MS ? wait : AGAIN_MAX_MS;
}

static void after_change(uv_work_t *work, int status)
{
    struct pod *p = work->data;

    (void)status; /* nobody cancels */
    p->is_asked = false;
    if (p->is_closed) {
        destroy(p);
        return;
    }
    if (!p->fault.err) {
        p->told = p->cost;
        p->changed++;
        p->failed_in_a_row = 0;
        log_event(EVENT_POD_COST, LOG_INT("cost", p->cost));
        return;
    }
    if (!p->failed_in_a_row) /* the first of a row is said, the others are counted */
        log_event(EVENT_POD_COST_NOT_TOLD, LOG_INT("cost", p->cost), LOG_TEXT("reason", p->fault.detail));
    p->failed++;
    p->next_ms += wait_after_failures(++p->failed_in_a_row) - BETWEEN_MS;
}

static void start_change(struct pod *p, int cost, int64_t now_ms)
{
    p->cost = cost;
    p->fault = (struct fault){0};
    p->next_ms = now_ms + BETWEEN_MS;
    p->work.data = p;
    p->is_asked = uv_queue_work(p->loop, &p->work, on_pool, after_change) == 0;
}

void pod_tick(struct pod *p, int busy, int busy_for_long, int64_t now_ms)
{
    int cost = pod_cost(busy, busy_for_long, p->told);

    if (!p->opened_ms)
        p->opened_ms = now_ms;
    if (p->is_asked || cost == p->told || now_ms < p->next_ms)
        return;
    if (p->told < 0 && !cost && now_ms < p->opened_ms + FIRST_ZERO_MS)
        return;
    start_change(p, cost, now_ms);
}

struct pod_numbers pod_numbers(const struct pod *p)
{
    return (struct pod_numbers){.told = p->told, .changed = p->changed, .failed = p->failed};
}

/* A name as Kubernetes allows it, which is also one that a URL takes as it stands. */
static bool is_name(const char *text)
{
    return text[0] && text[0] != '.' && !text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-")];
}

enum err pod_open(uv_loop_t *loop, const char *name, const char *namespace, struct pod **out, struct fault *why)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    bool        is_v6 = host && strchr(host, ':');
    struct pod *p;

    *out = NULL;
    if (!host || !host[0])
        return ERR_OK;
    if (!is_name(name) || !is_name(namespace))
        return fault_set(why, ERR_CONFIG, "MILLRACE_POD_NAME and MILLRACE_POD_NAMESPACE are to name this pod, both");
    if (curl_load("MILLRACE_POD_NAME", why))
        return ERR_CONFIG;
    p = xcalloc(1, sizeof *p);
    if (asprintf(&p->url, "https://%s%s%s:%s/api/v1/namespaces/%s/pods/%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
                 port && port[0] ? port : "443", namespace, name) < 0)
        abort(); /* out of memory */
    p->loop = loop;
    p->told = -1;
    *out = p;
    return ERR_OK;
}

void pod_close(struct pod *p)
{
    if (!p)
        return;
    p->is_closed = true;
    atomic_store(&p->is_closing, true);
    if (!p->is_asked)
        destroy(p);
}
