/* SPDX-License-Identifier: Apache-2.0 */
/* place.c - millrace place -f batchJob.json: jobs for the nodes of a cluster that have most room for them;
 * docs/place.md.
 *
 * 1. The batch and the cluster are read. 2. The nodes are ranked by what the
 * batch wants most. 3. The packing is worked out. 4. It is explained, or the
 * Kubernetes Jobs are printed or handed to kubectl. 5. What fits nowhere is
 * told last, and is the exit status.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/place/explain.h"
#include "cli/place/kubectl.h"
#include "cli/place/render.h"

#define COMPLAINTS_MAX 20

enum { FILE_OPTION, CLUSTER_OPTION, APPLY_OPTION, PENDING_OPTION, EXPLAIN_OPTION, NAMESPACE_OPTION };

static const struct option options[] = {
    [FILE_OPTION] = {"file", 'f', OPTION_FILE, "FILE", "the list of jobs; - for stdin", 0, 0, NULL},
    [CLUSTER_OPTION] = {"cluster", 0, OPTION_FILE, "PATH",
                        "what `kubectl get nodes,pods -A -o json` printed, or a folder with nodes.json and pods.json; "
                        "else kubectl is asked",
                        0, 0, NULL},
    [APPLY_OPTION] = {"apply", 0, OPTION_FLAG, NULL, "create the Jobs by kubectl instead of printing them", 0, 0, NULL},
    [PENDING_OPTION] = {"allow-pending", 0, OPTION_FLAG, NULL,
                        "apply also when some pods fit nowhere now: they wait for room", 0, 0, NULL},
    [EXPLAIN_OPTION] = {"explain", 0, OPTION_FLAG, NULL,
                        "print where each job is expected and why, and what the scheduler would do, not the Jobs", 0, 0,
                        NULL},
    [NAMESPACE_OPTION] = {"namespace", 'n', OPTION_TEXT, "NAME", "of the Jobs; else kubectl's own", 0, 0, NULL},
    {0},
};

/* ---- reading -------------------------------------------------------------------- */

static enum outcome read_file(const char *name, json_t **out)
{
    json_error_t error;
    bool         is_stdin = !strcmp(name, "-");
    FILE        *file = is_stdin ? stdin : fopen(name, "re");

    if (!file)
        return give_up(EXIT_LOCAL, "%s: %s", name, strerror(errno));
    *out = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    if (!is_stdin)
        fclose(file);
    return *out ? EXIT_OK : give_up(EXIT_LOCAL, "%s: line %d: %s", name, error.line, error.text);
}

static enum outcome add_file(struct cluster *c, const char *name)
{
    json_t      *doc;
    struct fault why;
    enum outcome o = read_file(name, &doc);

    if (o)
        return o;
    return cluster_add(c, doc, name, &why) ? give_up(EXIT_LOCAL, "%s", why.detail) : EXIT_OK;
}

static enum outcome add_folder(struct cluster *c, const char *folder)
{
    static const char *const names[] = {"nodes.json", "pods.json"};
    enum outcome             o = EXIT_OK;

    for (size_t i = 0; !o && i < sizeof names / sizeof *names; i++) {
        struct buf path = {0};

        buf_printf(&path, "%s/%s", folder, names[i]);
        o = add_file(c, path.data);
        buf_free(&path);
    }
    return o;
}

/* Of kubectl: what went wrong is told, unless it was Ctrl-C. */
static enum outcome failed(const struct fault *why)
{
    return interrupt_count() ? give_up(EXIT_INTERRUPTED, "interrupted") : give_up(EXIT_KUBECTL, "%s", why->detail);
}

static enum outcome add_live(struct cluster *c)
{
    static const char *const words[] = {"kubectl", "get", "nodes,pods", "--all-namespaces", "-o", "json", NULL};
    struct buf               text = {0};
    struct fault             why;
    json_error_t             error;
    json_t                  *doc = NULL;
    enum outcome             o = EXIT_OK;

    if (kubectl_run(words, NULL, &text, &why))
        o = failed(&why);
    else
        doc = json_loadb(text.data ? text.data : "", text.len, 0, &error);
    buf_free(&text);
    if (o)
        return o;
    if (!doc)
        return give_up(EXIT_KUBECTL, "kubectl get printed what is no JSON: line %d: %s", error.line, error.text);
    return cluster_add(c, doc, "kubectl get", &why) ? give_up(EXIT_KUBECTL, "%s", why.detail) : EXIT_OK;
}

static enum outcome read_cluster(const struct line *line, struct cluster *c)
{
    const char  *path = line_text(line, CLUSTER_OPTION, NULL);
    struct stat  st;
    struct fault why;
    enum outcome o;

    if (!path)
        o = add_live(c);
    else if (!stat(path, &st) && S_ISDIR(st.st_mode))
        o = add_folder(c, path);
    else
        o = add_file(c, path);
    if (o)
        return o;
    if (cluster_settle(c, &why))
        o = give_up(path ? EXIT_LOCAL : EXIT_KUBECTL, "%s: %s", path ? path : "kubectl get", why.detail);
    return o;
}

static enum outcome read_batch(const struct line *line, struct batch *b)
{
    const char  *name = line_text(line, FILE_OPTION, NULL);
    json_t      *doc;
    struct fault why;
    enum outcome o = read_file(name, &doc);

    if (o)
        return o;
    return batch_read(doc, b, &why) ? give_up(EXIT_LOCAL, "%s: %s", name, why.detail) : EXIT_OK;
}

/* ---- telling ---------------------------------------------------------------------- */

static void print_explanation(const struct cli *cli, const struct batch *b, const struct cluster *c,
                              const size_t *order, const struct packing *p)
{
    json_t    *doc = explain(b, c, order, p);
    struct buf text = {0};
    char      *line = cli->is_json ? json_dumps(doc, JSON_COMPACT) : NULL;

    if (line)
        buf_printf(&text, "%s\n", line);
    else
        explain_print(doc, &text);
    fwrite(text.data, 1, text.len, stdout);
    fflush(stdout); /* before kubectl prints */
    buf_free(&text);
    free(line);
    json_decref(doc);
}

static void render(const struct cli *cli, const struct batch *b, const struct cluster *c, const size_t *order,
                   struct buf *out)
{
    json_t *jobs = render_jobs(b, c, order, line_text(&cli->line, NAMESPACE_OPTION, NULL));
    char   *text = json_dumps(jobs, cli->is_json ? JSON_COMPACT : JSON_INDENT(2));

    if (!text)
        abort(); /* out of memory */
    buf_printf(out, "%s\n", text);
    free(text);
    json_decref(jobs);
}

/* The exit status: whether all pods have a place. */
static enum outcome tell_unplaced(const struct batch *b, const struct packing *p)
{
    int64_t jobs = 0;

    for (size_t i = 0; i < b->count; i++) {
        if (!p->placed[i].nowhere)
            continue;
        if (jobs++ < COMPLAINTS_MAX)
            complain("%s: no node has room for %lld of %lld pods; --explain says why", b->tasks[i].name,
                     (long long)p->placed[i].nowhere, (long long)b->tasks[i].parallelism);
    }
    if (jobs > COMPLAINTS_MAX)
        complain("and of %lld more jobs", (long long)(jobs - COMPLAINTS_MAX));
    return jobs ? EXIT_NOWHERE : EXIT_OK;
}

static enum outcome apply(const struct buf *jobs)
{
    static const char *const words[] = {"kubectl", "apply", "-f", "-", NULL};
    struct fault             why;

    return kubectl_run(words, jobs, NULL, &why) ? failed(&why) : EXIT_OK;
}

/* Applies, or prints what would be applied. */
static enum outcome deliver(const struct cli *cli, const struct batch *b, const struct cluster *c, const size_t *order,
                            bool is_all_placed)
{
    bool         is_applying = line_has(&cli->line, APPLY_OPTION);
    struct buf   jobs = {0};
    enum outcome o = EXIT_OK;

    if (is_applying && !is_all_placed && !line_has(&cli->line, PENDING_OPTION)) {
        complain("nothing is applied; with --allow-pending such pods would wait for room");
        return EXIT_OK;
    }
    if (!is_applying && line_has(&cli->line, EXPLAIN_OPTION))
        return EXIT_OK;
    render(cli, b, c, order, &jobs);
    if (is_applying)
        o = apply(&jobs);
    else
        fwrite(jobs.data, 1, jobs.len, stdout);
    buf_free(&jobs);
    return o;
}

/* ---- the verb ----------------------------------------------------------------------- */

static enum outcome place(struct cli *cli, const struct batch *b, const struct cluster *c)
{
    size_t        *order = pack_rank(b, c);
    struct packing p;
    enum outcome   fits, o;

    pack_first_fit(b, c, order, &p);
    if (line_has(&cli->line, EXPLAIN_OPTION))
        print_explanation(cli, b, c, order, &p);
    fits = tell_unplaced(b, &p);
    o = deliver(cli, b, c, order, fits == EXIT_OK);
    packing_free(&p);
    free(order);
    return o ? o : fits;
}

static enum outcome check_line(const struct line *line)
{
    const char *space = line_text(line, NAMESPACE_OPTION, NULL);

    if (!line_has(line, FILE_OPTION))
        return give_up(EXIT_USAGE, "place needs -f FILE; see millrace help place");
    if (space && !is_dns_label(space))
        return give_up(EXIT_USAGE, "'%.70s' is no name of a namespace", space);
    if (line_has(line, APPLY_OPTION) && line_has(line, CLUSTER_OPTION))
        return give_up(EXIT_USAGE, "--apply goes by the cluster as it is now, and --cluster by a recorded one");
    if (line_has(line, PENDING_OPTION) && !line_has(line, APPLY_OPTION))
        return give_up(EXIT_USAGE, "--allow-pending is for --apply");
    return EXIT_OK;
}

static enum outcome run(struct cli *cli)
{
    struct batch   b = {0};
    struct cluster c = {0};
    enum outcome   o = check_line(&cli->line);

    if (!o)
        o = read_batch(&cli->line, &b);
    if (!o)
        o = read_cluster(&cli->line, &c);
    if (!o)
        o = place(cli, &b, &c);
    cluster_free(&c);
    batch_free(&b);
    return o;
}

const struct verb verb_place = {
    .name = "place",
    .operands = "",
    .summary = "Make Kubernetes Jobs that prefer the nodes with most room for them",
    .text =
        "Reads a list of jobs, each with a name, an image and what CPU and memory it wants. Nodes are ranked by free\n"
        "CPU when the jobs want a core or more for every 4 GB, else by free memory. The Jobs, printed as a List\n"
        "that kubectl apply takes, prefer the first node with weight 100, the next with 15, 14, 13 and so on.\n"
        "Pods for which there is no room are told, and the exit status says so. No gateway is needed.\n",
    .options = options,
    .operands_max = 0,
    .is_offline = true,
    .run = run,
};
