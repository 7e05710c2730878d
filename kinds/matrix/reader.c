/* SPDX-License-Identifier: Apache-2.0 */
/* reader.c - a table for the structure of the document.
 *
 * The structure is a machine of few states, each of which takes white space
 * and one or two bytes (rules[]). Three places leave it: inside a key (key.c),
 * where a number stands (literal.c), and inside an operand that is an object,
 * whose text is collected for origin.c.
 */
#include "kinds/matrix/reader.h"

#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/notation.h"
#include "kinds/matrix/reader_impl.h"

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

const char *show_byte(char c, char out[8])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char     u = (unsigned char)c;

    if (u > 0x20 && u < 0x7f)
        memcpy(out, (char[]){'\'', c, '\'', 0}, 4);
    else
        memcpy(out, (char[]){'0', 'x', hex[u >> 4], hex[u & 15], 0}, 5);
    return out;
}

/* ---- what the structure means ---- */

static enum err open_matrix(struct matrix_reader *r)
{
    gather_open(r->gather, r->current);
    r->numbers = &r->gather->parts[r->current].numbers;
    r->rows = r->cols = 0;
    return ERR_OK;
}

static enum err close_matrix(struct matrix_reader *r)
{
    enum err e = gather_shape(r->gather, r->current, r->rows, r->cols, &r->fault);

    return e ? e : gather_close(r->gather, r->current, &r->fault);
}

static enum err open_row(struct matrix_reader *r)
{
    r->row_len = 0;
    if (r->rows == r->side_max)
        return fault_set(&r->fault, ERR_TOO_LARGE, "%c has more than %llu rows, which is the limit", operand_name(r),
                         (ull)r->side_max);
    return ERR_OK;
}

static enum err close_row(struct matrix_reader *r)
{
    if (!r->rows)
        r->cols = r->row_len;
    if (r->row_len != r->cols)
        return fault_set(&r->fault, ERR_SHAPE, "row %llu of %c has %llu number%s, row 0 has %llu", (ull)r->rows,
                         operand_name(r), (ull)r->row_len, r->row_len == 1 ? "" : "s", (ull)r->cols);
    r->rows++;
    return ERR_OK;
}

static enum err refuse_empty_row(struct matrix_reader *r)
{
    return fault_set(&r->fault, ERR_SHAPE, "row %llu of %c is empty", (ull)r->rows, operand_name(r));
}

static enum err refuse_empty_matrix(struct matrix_reader *r)
{
    return fault_set(&r->fault, ERR_SHAPE, "%c is empty: it has no rows", operand_name(r));
}

/* One of the bytes that a state takes: where it leads, and what to do first. */
struct rule {
    char       byte;
    enum state next;
    enum err (*act)(struct matrix_reader *r);
};

static const struct state_row {
    const char *expected;
    struct rule rules[2];
} states[STATES] = {
    [START] = {"'{'", {{'{', FIRST_KEY, NULL}}},
    [FIRST_KEY] = {"a key in quotes", {{'"', IN_KEY, key_open}, {'}', END, NULL}}},
    [NEXT_KEY] = {"a key in quotes", {{'"', IN_KEY, key_open}}},
    [AFTER_KEY] = {"':'", {{':', MATRIX, NULL}}},
    [MATRIX] = {"'[', an array of rows, or '{'", {{'[', FIRST_ROW, open_matrix}}},
    [FIRST_ROW] = {"'[', a row", {{'[', FIRST_NUMBER, open_row}, {']', END, refuse_empty_matrix}}},
    [NEXT_ROW] = {"'[', a row", {{'[', FIRST_NUMBER, open_row}}},
    [AFTER_ROW] = {"',' or ']'", {{',', NEXT_ROW, NULL}, {']', AFTER_MATRIX, close_matrix}}},
    [FIRST_NUMBER] = {"a number", {{']', END, refuse_empty_row}}},
    [NEXT_NUMBER] = {"a number", {{0}}},
    [AFTER_NUMBER] = {"',' or ']'", {{',', NEXT_NUMBER, NULL}, {']', AFTER_ROW, close_row}}},
    [AFTER_MATRIX] = {"',' or '}'", {{',', NEXT_KEY, NULL}, {'}', END, NULL}}},
    [END] = {"nothing more", {{0}}},
};

enum err refuse_byte(struct matrix_reader *r, char c, unsigned long long at)
{
    const char *expected = states[r->state].expected;
    char        shown[8];

    if (wants_number(r) && (c == 'N' || c == 'n' || c == 'I' || c == 'i'))
        return fault_set(&r->fault, ERR_JSON,
                         "byte %llu: expected a number; NaN and Infinity are not JSON numbers, "
                         "null is none either",
                         at);
    if (r->state == START && at == 0 && c == '\xef')
        return fault_set(&r->fault, ERR_JSON, "byte 0: a byte order mark is not part of JSON");
    return fault_set(&r->fault, ERR_JSON, "byte %llu: expected %s, found %s", at, expected, show_byte(c, shown));
}

/* Takes one structural byte. */
static enum err step(struct matrix_reader *r, const char *p)
{
    const struct rule *rule = states[r->state].rules;
    enum err           e;

    for (int i = 0; i < 2; i++, rule++) {
        if (rule->byte != *p || !rule->byte)
            continue;
        e = rule->act ? rule->act(r) : ERR_OK;
        if (!e)
            r->state = rule->next;
        return e;
    }
    return refuse_byte(r, *p, offset_of(r, p));
}

/* ---- an operand that is an object ---- */

static void open_object(struct matrix_reader *r, const char *p)
{
    r->object_at = offset_of(r, p);
    r->object.text.len = 0;
    r->state = IN_OBJECT;
}

static enum err read_object(struct matrix_reader *r, const char **at, const char *end)
{
    bool is_whole;

    *at += origin_take(&r->object, *at, (size_t)(end - *at), &is_whole);
    if (!is_whole && r->object.text.len <= ORIGIN_MAX)
        return ERR_OK;
    r->state = AFTER_MATRIX;
    return origin_read(&r->object.text, r->object_at, r->gather, r->current, &r->fault);
}

/* ---- the document ---- */

static enum err read_piece(struct matrix_reader *r, const char *p, const char *end)
{
    enum err e = ERR_OK;

    while (p < end && !e) {
        if (r->state == IN_KEY)
            e = key_read(r, p++);
        else if (r->state == IN_NUMBER)
            e = number_resume(r, &p, end);
        else if (r->state == IN_OBJECT)
            e = read_object(r, &p, end);
        else if (is_space(*p))
            p++;
        else if (wants_number(r) && (is_digit(*p) || *p == '-'))
            e = numbers_read(r, &p, end);
        else if (r->state == MATRIX && *p == '{')
            open_object(r, p);
        else
            e = step(r, p++);
    }
    return e;
}

struct matrix_reader *matrix_reader_new(struct gather *g)
{
    struct matrix_reader *r = xcalloc(1, sizeof(*r));

    r->gather = g;
    r->side_max = gather_side_max(g);
    r->text_max = g->limits.upload_max ? g->limits.upload_max : UINT64_MAX;
    return r;
}

static enum err report(const struct matrix_reader *r, struct fault *why)
{
    if (r->fault.err && why)
        *why = r->fault;
    return r->fault.err;
}

enum err matrix_reader_feed(struct matrix_reader *r, const char *bytes, size_t len, struct fault *why)
{
    uint64_t room = r->text_max - r->offset;

    if (r->fault.err || !len)
        return report(r, why);
    r->piece = bytes;
    r->fault.err = read_piece(r, bytes, bytes + (len < room ? len : room));
    if (!r->fault.err && len > room)
        fault_set(&r->fault, ERR_TOO_LARGE, "the document is longer than %llu bytes of text", (ull)r->text_max);
    r->offset += len;
    r->piece = NULL;
    return report(r, why);
}

enum err matrix_reader_finish(struct matrix_reader *r, struct fault *why)
{
    bool has_a = r->gather->parts[0].is_given, has_b = r->gather->parts[1].is_given;

    if (!r->fault.err && r->state != END)
        fault_set(&r->fault, ERR_JSON, "byte %llu: the document ends too early", (ull)r->offset);
    else if (!r->fault.err && !(has_a && has_b))
        fault_set(&r->fault, ERR_JSON, "the key \"%c\" is missing", has_a ? 'B' : 'A');
    return report(r, why);
}

void matrix_reader_free(struct matrix_reader *r)
{
    if (!r)
        return;
    buf_free(&r->literal);
    buf_free(&r->object.text);
    free(r);
}
