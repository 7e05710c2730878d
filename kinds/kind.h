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
#include "common/msg.h"

enum param_type {
    PARAM_END,
    PARAM_INT,
    PARAM_REAL,
    PARAM_TEXT, /* min and max: bytes */
    PARAM_REST, /* what no other row is called: names of [a-z0-9_] with a text each, of min to max bytes */
};

/* One parameter: a row from which checks, help and the API description come. */
struct param {
    const char     *name;
    enum param_type type;
    double          min, max; /* inclusive; exact for integers up to 2^53; of texts: bytes */
    bool            is_required;
    double          fallback; /* when absent and not required; NAN: stays absent */
    const char     *unit;     /* "" when it is a plain count */
    const char     *help;     /* one sentence */
};

#define PARAMS_MAX 16
#define PARAMS_TEXT_BYTES 1024 /* of all texts of one job, NULs included, and of all that PARAM_REST took */

/* Values in the order of kind_param: the kind's own rows, then the common ones. Texts are what JSON and a command
 * line can carry alike: UTF-8 without control characters. */
struct args {
    double   real[PARAMS_MAX];    /* NAN: absent */
    int64_t  integer[PARAMS_MAX]; /* of PARAM_INT rows; of PARAM_TEXT rows where in text it begins */
    uint32_t text_len, rest_len;
    char     text[PARAMS_TEXT_BYTES];
    char     rest[PARAMS_TEXT_BYTES]; /* name NUL value NUL, ..., by name */
};

struct commands; /* kinds/command/list.h */

/* What one installation takes; from its settings. */
struct limits {
    size_t                 inline_max; /* bytes of an input or result that travels in message and record */
    int64_t                side_max;   /* rows or columns of a matrix; 0, here and below: no limit */
    uint64_t               result_max; /* bytes of a result */
    uint64_t               upload_max; /* bytes of one body */
    bool                   has_blobs;  /* false: what is beyond inline_max is refused */
    const struct commands *commands;   /* of the kind command; NULL: none */
};

/* An input as it travels: a body, references to blobs, or both. Borrowed. */
struct input {
    const void *body; /* NULL when only its length matters */
    size_t      body_len;
    /* "" or a JSON object, shorter than MSG_REFS_BYTES. Its "blobs" is an array of names, INPUT_BLOBS_MAX at
     * most: they are opened for the executor in that order. All else in it is the kind's own. */
    const char *refs;
};
#define INPUT_BLOBS_MAX 4
#define RESULT_TYPE_BYTES 128 /* of a result's content type, NUL included */
#define VERIFIED_BYTES 128    /* of the JSON that a record says about the check of its result, NUL included */

/* Blobs for an intake: given by the gateway, or by a test that writes files. */
struct blobs_face {
    void *ctx;
    /* Begins a blob with `head` bytes left free in front. *out lives until whoever gave the face ends it: the
     * intake seals nothing and frees nothing. *name is borrowed for as long. */
    enum err (*create)(void *ctx, size_t head, void **out, const char **name, struct fault *why);
    enum err (*append)(void *out, const void *bytes, size_t len, struct fault *why);
    void (*set_head)(void *out, const void *head); /* as many bytes as were left free; copied */
    /* Reads up to len bytes at the start of a blob that is there already; *got of its *size. ERR_NO_BLOB. */
    enum err (*peek)(void *ctx, const char *name, void *bytes, size_t len, size_t *got, uint64_t *size,
                     struct fault *why);
};

/* What an intake made of the body. */
struct taken {
    struct buf body;
    struct buf refs; /* JSON text without a NUL; empty: none */
};

/* Reads an input while it arrives, so that the gateway never holds its text.
 * ctx comes from begin and ends with end or abort, exactly one of them. feed
 * may be called from any thread, by one at a time, and uses of ctx and of the
 * face alone, but not peek: that is for end. */
struct intake {
    const char *content_type; /* media type it reads */
    void *(*begin)(const struct limits *limits, const struct blobs_face *blobs);
    /* Any number of pieces of any size. part: the name of the form's part the piece belongs to, is_first whether
     * the part begins with it; NULL where the body is no form. */
    enum err (*feed)(void *ctx, const char *part, bool is_first, const char *bytes, size_t len, struct fault *why);
    /* The input, and values that the document itself defines put into args. */
    enum err (*end)(void *ctx, struct args *args, struct taken *out, struct fault *why);
    void (*abort)(void *ctx);
};

/* What one member of a group may take, and how many should be had. */
struct share {
    uint64_t memory_bytes; /* of one executor */
    int      slots;        /* of the fleet, as far as is known; >= 1 */
};

/* A raw result as it lies: in one piece (in the store or a blob), or in as many as its group had members. */
struct result_face {
    void       *ctx;
    const char *layout; /* "" for one piece */
    int64_t     piece_count;
    uint64_t (*size)(void *ctx, int64_t piece);
    /* Fills out with the bytes at offset; false when they cannot be had. */
    bool (*read)(void *ctx, int64_t piece, uint64_t offset, void *out, size_t len);
};

#define RENDER_SIZE_UNKNOWN UINT64_MAX

/* One form in which a result can be had, produced while it is sent. */
struct rendering {
    const char *content_type; /* "": that of the result, as its record says */
    bool        is_seekable;  /* its size is known and it can be read from anywhere: ranges are served */
    /* Begins; face is borrowed until close. rows, cols: the window as the query has it ("a:b"), NULL: all.
     * *size: bytes that will come, or RENDER_SIZE_UNKNOWN. ERR_PARAM (no such window), ERR_ACCEPT (this result
     * cannot be said in this form), ERR_RESULT_GONE. */
    enum err (*open)(const struct result_face *face, const char *rows, const char *cols, void **stream, uint64_t *size,
                     struct fault *why);
    /* Up to len bytes from offset on, in order unless is_seekable; 0: the end, -1: it broke off (why). */
    int64_t (*read)(void *stream, uint64_t offset, char *out, size_t len, struct fault *why);
    void (*close)(void *stream);
};

struct kind_spec {
    const char             *name;
    const char             *help;
    const struct param     *params;      /* ends with PARAM_END */
    const struct intake    *intakes;     /* ends with a row whose begin is NULL; none fits: raw bytes */
    uint64_t                raw_max;     /* of a body of raw bytes; 0: what travels inline, no more */
    const struct rendering *renderings;  /* first is the default; ends with content_type NULL */
    const char             *result_type; /* content type of the raw result */
    bool                    is_pulled;   /* finished jobs are handed out by pullCompleted */
    bool                    takes_body;  /* false: a body is refused, the input is empty */
    /* The result's size is known only when it is there, and result_bytes of check is no more than a bound: it is made
     * in memory or in a file, as it comes (task.h), and its content type may be another than result_type. */
    bool is_open_ended;
    /* What the rows cannot say: sizes that must agree. Called at submit, by the worker, and by run.
     * result_bytes: upper bound of the raw result. */
    enum err (*check)(const struct args *args, const struct input *in, const struct limits *limits,
                      uint64_t *result_bytes, struct fault *why);
    /* Into how many members of a group the job falls; 1: it runs as it is. Sets args that fix the cut, so that
     * a later call with them finds the same. layout: appended, how the members' results make one (for the
     * gateway's rendering; opaque elsewhere). NULL: this kind has no groups. */
    int64_t (*split)(struct args *args, const struct input *in, const struct share *share, struct buf *layout);
    int member_param; /* row of the parameter that numbers the members; used where split is given */
};

/* Reads "blobs" out of refs: count of names, or -1 when refs are no such JSON. names: owned by the caller. */
int input_blobs(const char *refs, char *names[INPUT_BLOBS_MAX]);

/* Checks an input of raw bytes: a body within inline_max, or beyond that one blob, {"blobs":["ID"],"size":N} without a
 * body. Either has one byte at least, and as many as the kind takes (raw_max) at most. ERR_BODY, ERR_TOO_LARGE. */
enum err input_check_raw(const struct kind_spec *kind, const struct input *in, const struct limits *limits,
                         struct fault *why) MUST_CHECK;

#define KIND(name, program) extern const struct kind_spec name##_spec;
#include "kinds/kinds.def"
#undef KIND

enum kind_id {
#define KIND(name, program) KIND_ID_##name,
#include "kinds/kinds.def"
#undef KIND
    KIND_COUNT
};

enum program_id {
#define PROGRAM(name, file) PROGRAM_##name,
#include "kinds/programs.def"
#undef PROGRAM
    PROGRAM_COUNT
};

/* File names of the programs, and who computes each kind. */
extern const char *const     program_files[PROGRAM_COUNT];
extern const enum program_id kind_programs[KIND_COUNT];

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

/* The text of row i, a PARAM_TEXT; NULL when it is absent. */
const char *args_text(const struct args *args, int i);

/* The value of a name that a PARAM_REST took; NULL when it is absent. */
const char *args_rest(const struct args *args, const char *name);

/* Walks those names: *at is 0 to begin with; false behind the last. */
bool args_next_rest(const struct args *args, size_t *at, const char **name, const char **value);

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

/* Value of a common parameter ("timeout", "deadline": seconds; "attempts"), or -1 when absent. */
int64_t args_common(const struct kind_spec *kind, const struct args *args, const char *name);

#endif
