/* SPDX-License-Identifier: Apache-2.0 */
/* kind.h - what can be computed: one line in kinds.def, one folder each.
 *
 * KIND/spec.c describes a kind (parameters, what it takes, what it gives) and
 * is linked by every program; KIND/run.c does the work and is linked by the
 * executor alone.
 */
#ifndef MILLRACE_KIND_H
#define MILLRACE_KIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum param_type { PARAM_END, PARAM_INT, PARAM_REAL };

/* One parameter: a row from which checks, help and the API description come. */
struct param {
    const char     *name;
    enum param_type type;
    double          min, max; /* inclusive; exact for integers up to 2^53 */
    bool            is_required;
    double          fallback; /* when absent and not required; NAN: stays absent */
    const char     *unit;     /* "" when it is a plain count */
    const char     *help;     /* one sentence */
};

#define PARAMS_MAX 16

/* Values in the order of kind_param: the kind's own rows, then the common ones. */
struct args {
    double  real[PARAMS_MAX];    /* NAN: absent */
    int64_t integer[PARAMS_MAX]; /* of PARAM_INT rows */
};

/* Reads an input while it arrives, so that the gateway never holds its text.
 * ctx comes from begin and ends with end or abort, exactly one of them. */
struct intake {
    const char *content_type; /* media type it reads; NULL: any other */
    void *(*begin)(size_t inline_max);
    /* Any number of pieces of any size. */
    enum err (*feed)(void *ctx, const char *bytes, size_t len, struct fault *why);
    /* The raw input, and values that the document itself defines put into args. */
    enum err (*end)(void *ctx, struct args *args, struct buf *input, struct fault *why);
    void (*abort)(void *ctx);
};

/* One form in which a result can be had. */
struct rendering {
    const char *content_type;
    /* Appends the result in this form; raw is as run.c left it. NULL: the raw bytes themselves. */
    enum err (*render)(const void *raw, size_t len, struct buf *out, struct fault *why);
};

struct kind_spec {
    const char             *name;
    const char             *help;
    const struct param     *params;      /* ends with PARAM_END */
    const struct intake    *intakes;     /* ends with a row whose begin is NULL; none fits: raw bytes */
    const struct rendering *renderings;  /* first is the default; ends with content_type NULL */
    const char             *result_type; /* content type of the raw result */
    bool                    is_pulled;   /* finished jobs are handed out by pullCompleted */
    bool                    takes_body;  /* false: a body is refused, the input is empty */
    /* What the rows cannot say: sizes that must agree. Called at submit (input_len known) and again by the
     * worker. result_bytes: upper bound of the raw result. */
    enum err (*check)(const struct args *args, size_t input_len, size_t inline_max, size_t *result_bytes,
                      struct fault *why);
};

#define KIND(name) extern const struct kind_spec name##_spec;
#include "kinds/kinds.def"
#undef KIND

enum kind_id {
#define KIND(name) KIND_ID_##name,
#include "kinds/kinds.def"
#undef KIND
    KIND_COUNT
};

/* All kinds, in the order of kinds.def, KIND_COUNT of them. */
extern const struct kind_spec *const kinds[KIND_COUNT];

/* Index of the kind of this name, or -1. */
int kind_find(const char *name);

/* The parameters every kind takes behind its own: timeout (seconds, one
 * attempt), deadline (seconds from submit until it must have started). */
extern const struct param common_params[];

/* Row i of the kind's own and then the common parameters; NULL behind the last. */
const struct param *kind_param(const struct kind_spec *kind, int i);

/* Index of the parameter of this name, or -1. */
int kind_param_find(const struct kind_spec *kind, const char *name);

/* Sets one value from text (plain decimal; no sign, blanks or exponent for
 * PARAM_INT). Refuses unknown and repeated names: all values start absent
 * (args_init). */
void     args_init(struct args *args);
enum err args_set(const struct kind_spec *kind, struct args *args, const char *name, const char *text,
                  struct fault *why) MUST_CHECK;

/* Fills fallbacks, refuses what is required and absent. */
enum err args_complete(const struct kind_spec *kind, struct args *args, struct fault *why) MUST_CHECK;

/* The canonical JSON object: present values in row order. Reading it back. */
void     args_to_json(const struct kind_spec *kind, const struct args *args, struct buf *out);
enum err args_from_json(const struct kind_spec *kind, const char *json, struct args *args,
                        struct fault *why) MUST_CHECK;

/* Value of a common parameter ("timeout", "deadline") in seconds, or -1 when absent. */
int64_t args_common(const struct kind_spec *kind, const struct args *args, const char *name);

#endif
