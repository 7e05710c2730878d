/* SPDX-License-Identifier: Apache-2.0 */
/* reader.c - a table for the structure, a loop for the numbers.
 *
 * The structure is a machine of few states, each of which takes white space
 * and one or two bytes (rules[]). Two places leave it: inside a key, and where
 * a number stands; nearly all bytes are numbers, so read_numbers() goes from
 * one to the next in place. Only a literal that a piece cuts in two is copied,
 * into r->literal, and judged by the same judge() when its end arrives.
 */
#include "kinds/matrix/reader.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/numtext.h"
#include "kinds/matrix/notation.h"

#define KEY_SHOWN 40     /* bytes of a key kept for the detail */
#define TEXT_PER_BYTE 64 /* the text may be so much larger than its numbers ... */
#define TEXT_MORE 1024   /* ... and a little, for small limits */
#define LITERAL_MAX 4096 /* characters of a number; no float64, nor any half-way to the next, needs 1,100 */
#define OPERANDS 2

enum state {
    START,
    FIRST_KEY,
    NEXT_KEY,
    IN_KEY,
    AFTER_KEY,
    MATRIX,
    FIRST_ROW,
    NEXT_ROW,
    AFTER_ROW,
    FIRST_NUMBER,
    NEXT_NUMBER,
    IN_NUMBER,
    AFTER_NUMBER,
    AFTER_MATRIX,
    END,
    STATES
};

/* Where in a key: a \u counts its hex digits from ESCAPE_HEX on. */
enum escape { ESCAPE_NONE, ESCAPE_BACKSLASH, ESCAPE_HEX };

struct part {
    size_t rows;
    size_t cols;
    bool   is_given;
};

struct matrix_reader {
    enum state     state;
    struct fault   fault; /* of the call that failed */
    size_t         inline_max;
    size_t         text_max;
    size_t         offset;  /* of the piece at hand within the document */
    const char    *piece;   /* borrowed while it is fed */
    struct buf     numbers; /* of the operands in the document's order */
    struct part operands[OPERANDS];
    int            current;    /* operand being read */
    bool           is_swapped; /* B came first */
    size_t         row_len;    /* numbers so far in the row at hand */

    struct buf literal;    /* first part of a number that a piece cut in two */
    size_t     literal_at; /* its offset */

    enum escape escape;
    int         escape_digits;
    unsigned    unit; /* last UTF-16 unit of the key, or byte */
    size_t      key_units;
    size_t      key_at;
    char        key[KEY_SHOWN + 1]; /* as written */
    size_t      key_len;
};

static char operand_name(const struct matrix_reader *r) { return (char)('A' + r->current); }

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

static size_t offset_of(const struct matrix_reader *r, const char *p) { return r->offset + (size_t)(p - r->piece); }

/* How a byte appears in a detail. */
static const char *show_byte(char c, char out[8])
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
    struct part *o = &r->operands[r->current];

    if (r->current == 1 && !r->operands[0].is_given)
        r->is_swapped = true;
    o->is_given = true;
    return ERR_OK;
}

static enum err open_row(struct matrix_reader *r)
{
    r->row_len = 0;
    return ERR_OK;
}

static enum err close_row(struct matrix_reader *r)
{
    struct part *o = &r->operands[r->current];

    if (!o->rows)
        o->cols = r->row_len;
    if (r->row_len != o->cols)
        return fault_set(&r->fault, ERR_SHAPE, "row %zu of %c has %zu number%s, row 0 has %zu", o->rows,
                         operand_name(r), r->row_len, r->row_len == 1 ? "" : "s", o->cols);
    o->rows++;
    return ERR_OK;
}

static enum err refuse_empty_row(struct matrix_reader *r)
{
    return fault_set(&r->fault, ERR_SHAPE, "row %zu of %c is empty", r->operands[r->current].rows, operand_name(r));
}

static enum err refuse_empty_matrix(struct matrix_reader *r)
{
    return fault_set(&r->fault, ERR_SHAPE, "%c is empty: it has no rows", operand_name(r));
}

static enum err open_key(struct matrix_reader *r)
{
    r->key_len = 0;
    r->key_units = 0;
    r->escape = ESCAPE_NONE;
    return ERR_OK;
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
    [FIRST_KEY] = {"a key in quotes", {{'"', IN_KEY, open_key}, {'}', END, NULL}}},
    [NEXT_KEY] = {"a key in quotes", {{'"', IN_KEY, open_key}}},
    [AFTER_KEY] = {"':'", {{':', MATRIX, NULL}}},
    [MATRIX] = {"'[', an array of rows", {{'[', FIRST_ROW, open_matrix}}},
    [FIRST_ROW] = {"'[', a row", {{'[', FIRST_NUMBER, open_row}, {']', END, refuse_empty_matrix}}},
    [NEXT_ROW] = {"'[', a row", {{'[', FIRST_NUMBER, open_row}}},
    [AFTER_ROW] = {"',' or ']'", {{',', NEXT_ROW, NULL}, {']', AFTER_MATRIX, NULL}}},
    [FIRST_NUMBER] = {"a number", {{']', END, refuse_empty_row}}},
    [NEXT_NUMBER] = {"a number", {{0}}},
    [AFTER_NUMBER] = {"',' or ']'", {{',', NEXT_NUMBER, NULL}, {']', AFTER_ROW, close_row}}},
    [AFTER_MATRIX] = {"',' or '}'", {{',', NEXT_KEY, NULL}, {'}', END, NULL}}},
    [END] = {"nothing more", {{0}}},
};

static bool wants_number(const struct matrix_reader *r) { return r->state == FIRST_NUMBER || r->state == NEXT_NUMBER; }

static enum err refuse_byte(struct matrix_reader *r, char c, size_t at)
{
    const char *expected = states[r->state].expected;
    char        shown[8];

    if (wants_number(r) && (c == 'N' || c == 'n' || c == 'I' || c == 'i'))
        return fault_set(&r->fault, ERR_JSON,
                         "byte %zu: expected a number; NaN and Infinity are not JSON numbers, "
                         "null is none either",
                         at);
    if (r->state == START && at == 0 && c == '\xef')
        return fault_set(&r->fault, ERR_JSON, "byte 0: a byte order mark is not part of JSON");
    return fault_set(&r->fault, ERR_JSON, "byte %zu: expected %s, found %s", at, expected, show_byte(c, shown));
}

/* Takes one structural byte. */
static enum err step(struct matrix_reader *r, const char *p)
{
    const struct rule *rule = states[r->state].rules;

    for (int i = 0; i < 2; i++, rule++) {
        if (rule->byte != *p || !rule->byte)
            continue;
        if (rule->act && rule->act(r))
            return r->fault.err;
        r->state = rule->next;
        return ERR_OK;
    }
    return refuse_byte(r, *p, offset_of(r, p));
}

/* ---- keys ---- */

static enum err close_key(struct matrix_reader *r)
{
    r->key[r->key_len] = 0;
    if (r->key_units != 1 || r->unit < 'A' || r->unit >= 'A' + OPERANDS)
        return fault_set(&r->fault, ERR_JSON, "byte %zu: unknown key \"%s\"%s; there are only \"A\" and \"B\"",
                         r->key_at, r->key, r->key_len == KEY_SHOWN ? "..." : "");
    r->current = (int)(r->unit - 'A');
    if (r->operands[r->current].is_given)
        return fault_set(&r->fault, ERR_JSON, "byte %zu: the key \"%c\" is given twice", r->key_at, operand_name(r));
    r->state = AFTER_KEY;
    return ERR_OK;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void end_unit(struct matrix_reader *r, unsigned unit)
{
    r->unit = unit;
    r->key_units++;
    r->escape = ESCAPE_NONE;
}

/* The byte behind a backslash, or a hex digit. */
static enum err read_escape(struct matrix_reader *r, const char *p)
{
    static const char letters[] = "\"\"\\\\//b\bf\fn\nr\rt\t"; /* pairs: as written, as meant */
    char              shown[8];

    if (r->escape == ESCAPE_HEX) {
        int value = hex_value(*p);

        if (value < 0)
            return fault_set(&r->fault, ERR_JSON, "byte %zu: expected a hex digit, found %s", offset_of(r, p),
                             show_byte(*p, shown));
        r->unit = r->unit << 4 | (unsigned)value;
        if (++r->escape_digits == 4)
            end_unit(r, r->unit);
        return ERR_OK;
    }
    if (*p == 'u') {
        r->escape = ESCAPE_HEX;
        r->escape_digits = 0;
        r->unit = 0;
        return ERR_OK;
    }
    for (size_t i = 0; i < sizeof(letters) - 1; i += 2)
        if (letters[i] == *p) {
            end_unit(r, (unsigned char)letters[i + 1]);
            return ERR_OK;
        }
    return fault_set(&r->fault, ERR_JSON, "byte %zu: no escape starts with %s", offset_of(r, p), show_byte(*p, shown));
}

static enum err read_key_byte(struct matrix_reader *r, const char *p)
{
    char shown[8];

    if (!r->key_units && r->escape == ESCAPE_NONE)
        r->key_at = offset_of(r, p) - 1;
    if (*p == '"' && r->escape == ESCAPE_NONE)
        return close_key(r);
    if ((unsigned char)*p < 0x20)
        return fault_set(&r->fault, ERR_JSON, "byte %zu: a control character (%s) in a key", offset_of(r, p),
                         show_byte(*p, shown));
    if (r->key_len < KEY_SHOWN)
        r->key[r->key_len++] = *p;
    if (r->escape != ESCAPE_NONE)
        return read_escape(r, p);
    if (*p == '\\')
        r->escape = ESCAPE_BACKSLASH;
    else
        end_unit(r, (unsigned char)*p);
    return ERR_OK;
}

/* ---- numbers ---- */

static enum err push(struct matrix_reader *r, double value)
{
    if (r->inline_max - r->numbers.len < sizeof(value))
        return fault_set(&r->fault, ERR_TOO_LARGE,
                         "the operands take more than %zu bytes as float64, which is the limit", r->inline_max);
    if (r->numbers.cap - r->numbers.len < sizeof(value))
        buf_reserve(&r->numbers, sizeof(value));
    memcpy(r->numbers.data + r->numbers.len, &value, sizeof(value));
    r->numbers.len += sizeof(value);
    r->row_len++;
    r->state = AFTER_NUMBER;
    return ERR_OK;
}

/* Before all else that may be wrong with it: a literal is given up as soon as
 * it is too long, whether or not its end is at hand. */
static enum err refuse_long(struct matrix_reader *r, size_t at)
{
    return fault_set(&r->fault, ERR_JSON, "byte %zu: a number of more than %d characters, which is the limit", at,
                     LITERAL_MAX);
}

/* Takes the whole literal [text, end) at offset at; next follows it. */
static enum err judge(struct matrix_reader *r, const char *text, const char *end, char next, size_t at)
{
    const char *fault = notation_fault(text, end);
    double      value;

    if (fault == end && (next == 'I' || next == 'N'))
        return refuse_byte(r, next, at);
    if (fault)
        return fault_set(&r->fault, ERR_JSON, "byte %zu: '%.*s' is not a number as JSON writes them",
                         at + (size_t)(fault - text), (int)(end - text > KEY_SHOWN ? KEY_SHOWN : end - text), text);
    if (!numtext_read(text, end, &value))
        return fault_set(&r->fault, ERR_JSON, "byte %zu: the number %.*s lies beyond the range of float64", at,
                         (int)(end - text > KEY_SHOWN ? KEY_SHOWN : end - text), text);
    return push(r, value);
}

/* Reads the literal that starts at p, or keeps what the piece has of it. The
 * common case first: one pass over a literal that ends within the piece. */
static enum err read_number(struct matrix_reader *r, const char **at, const char *end)
{
    const char *text = *at, *p;
    double      value;

    p = numtext_scan(text, end, &value);
    if (p && p < end && p - text <= LITERAL_MAX && !notation_has(*p) && notation_is_json(text, p)) {
        *at = p;
        return push(r, value);
    }
    p = text;
    while (p < end && notation_has(*p))
        p++;
    *at = p;
    if (p - text > LITERAL_MAX)
        return refuse_long(r, offset_of(r, text));
    if (p < end)
        return judge(r, text, p, *p, offset_of(r, text));
    buf_append(&r->literal, text, (size_t)(p - text));
    r->literal_at = offset_of(r, text);
    r->state = IN_NUMBER;
    return ERR_OK;
}

/* The rest of a literal that an earlier piece began. */
static enum err resume_number(struct matrix_reader *r, const char **at, const char *end)
{
    const char *text = *at, *p = text;
    enum err    e;

    while (p < end && notation_has(*p))
        p++;
    *at = p;
    if ((size_t)(p - text) > LITERAL_MAX - r->literal.len)
        return refuse_long(r, r->literal_at);
    buf_append(&r->literal, text, (size_t)(p - text));
    if (p == end)
        return ERR_OK;
    r->state = NEXT_NUMBER;
    e = judge(r, r->literal.data, r->literal.data + r->literal.len, *p, r->literal_at);
    r->literal.len = 0;
    return e;
}

/* Numbers and the commas between them, as far as they go. */
static enum err read_numbers(struct matrix_reader *r, const char **at, const char *end)
{
    const char *p = *at;
    enum err    e = ERR_OK;

    while (p < end && (is_digit(*p) || *p == '-')) {
        e = read_number(r, &p, end);
        if (e || p == end || *p != ',')
            break;
        r->state = NEXT_NUMBER;
        p++;
        if (p < end && *p == ' ')
            p++;
    }
    *at = p;
    return e;
}

/* ---- the document ---- */

static enum err read_piece(struct matrix_reader *r, const char *p, const char *end)
{
    enum err e = ERR_OK;

    while (p < end && !e) {
        if (r->state == IN_KEY)
            e = read_key_byte(r, p++);
        else if (r->state == IN_NUMBER)
            e = resume_number(r, &p, end);
        else if (is_space(*p))
            p++;
        else if (wants_number(r) && (is_digit(*p) || *p == '-'))
            e = read_numbers(r, &p, end);
        else
            e = step(r, p++);
    }
    return e;
}

struct matrix_reader *matrix_reader_new(size_t inline_max)
{
    struct matrix_reader *r = xcalloc(1, sizeof(*r));

    r->inline_max = inline_max;
    r->text_max = inline_max * TEXT_PER_BYTE + TEXT_MORE;
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
    size_t room = r->text_max - r->offset;

    if (r->fault.err || !len)
        return report(r, why);
    r->piece = bytes;
    if (!read_piece(r, bytes, bytes + (len < room ? len : room)) && len > room)
        fault_set(&r->fault, ERR_TOO_LARGE, "the document is longer than %zu bytes of text", r->text_max);
    r->offset += len;
    r->piece = NULL;
    return report(r, why);
}

static enum err check_shapes(struct matrix_reader *r)
{
    const struct part *a = &r->operands[0], *b = &r->operands[1];

    if (r->state != END)
        return fault_set(&r->fault, ERR_JSON, "byte %zu: the document ends too early", r->offset);
    if (!a->is_given || !b->is_given)
        return fault_set(&r->fault, ERR_JSON, "the key \"%c\" is missing", a->is_given ? 'B' : 'A');
    if (a->cols != b->rows)
        return fault_set(&r->fault, ERR_SHAPE,
                         "A is %zu x %zu and B is %zu x %zu: A must have as many columns as B rows", a->rows, a->cols,
                         b->rows, b->cols);
    return ERR_OK;
}

enum err matrix_reader_finish(struct matrix_reader *r, size_t sides[MATRIX_SIDES], struct buf *input, struct fault *why)
{
    size_t a_bytes, b_bytes;

    if (r->fault.err || check_shapes(r))
        return report(r, why);
    sides[MATRIX_M] = r->operands[0].rows;
    sides[MATRIX_K] = r->operands[0].cols;
    sides[MATRIX_N] = r->operands[1].cols;
    a_bytes = sides[MATRIX_M] * sides[MATRIX_K] * sizeof(double);
    b_bytes = sides[MATRIX_K] * sides[MATRIX_N] * sizeof(double);
    if (r->is_swapped) {
        buf_append(input, r->numbers.data + b_bytes, a_bytes);
        buf_append(input, r->numbers.data, b_bytes);
    } else if (!input->data) { /* nothing to add to: give away what is at hand */
        *input = r->numbers;
        r->numbers = (struct buf){0};
    } else {
        buf_append(input, r->numbers.data, a_bytes + b_bytes);
    }
    return ERR_OK;
}

void matrix_reader_free(struct matrix_reader *r)
{
    if (!r)
        return;
    buf_free(&r->numbers);
    buf_free(&r->literal);
    free(r);
}
