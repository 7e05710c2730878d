/* SPDX-License-Identifier: Apache-2.0 */
/* literal.c - the numbers of the document, which are nearly all of it.
 *
 * numbers_read() goes from one to the next in place. Only a literal that a
 * piece cuts in two is copied, into r->literal, and judged by the same judge()
 * when its end arrives.
 */
#include <string.h>

#include "common/numtext.h"
#include "kinds/matrix/notation.h"
#include "kinds/matrix/reader_impl.h"

#define LITERAL_MAX 4096 /* characters of a number; no float64, nor any half-way to the next, needs 1,100 */

static enum err refuse_long_row(struct matrix_reader *r)
{
    return fault_set(&r->fault, ERR_TOO_LARGE, "row %llu of %c has more than %llu numbers, which is the limit",
                     (unsigned long long)r->rows, operand_name(r), (unsigned long long)r->side_max);
}

static enum err push(struct matrix_reader *r, double value)
{
    struct buf *numbers = r->numbers;

    if (r->row_len == r->side_max)
        return refuse_long_row(r);
    if (numbers->cap - numbers->len < sizeof(value)) {
        enum err e = gather_room(r->gather, r->current, &r->fault);

        if (e)
            return e;
    }
    memcpy(numbers->data + numbers->len, &value, sizeof(value));
    numbers->len += sizeof(value);
    r->row_len++;
    r->state = AFTER_NUMBER;
    return ERR_OK;
}

/* Before all else that may be wrong with it: a literal is given up as soon as
 * it is too long, whether or not its end is at hand. */
static enum err refuse_long(struct matrix_reader *r, unsigned long long at)
{
    return fault_set(&r->fault, ERR_JSON, "byte %llu: a number of more than %d characters, which is the limit", at,
                     LITERAL_MAX);
}

/* Takes the whole literal [text, end) at offset at; next follows it. */
static enum err judge(struct matrix_reader *r, const char *text, const char *end, char next, unsigned long long at)
{
    const char *fault = notation_fault(text, end);
    double      value;

    if (fault == end && (next == 'I' || next == 'N'))
        return refuse_byte(r, next, at);
    if (fault)
        return fault_set(&r->fault, ERR_JSON, "byte %llu: '%.*s' is not a number as JSON writes them",
                         at + (unsigned long long)(fault - text),
                         (int)(end - text > KEY_SHOWN ? KEY_SHOWN : end - text), text);
    if (!numtext_read(text, end, &value))
        return fault_set(&r->fault, ERR_JSON, "byte %llu: the number %.*s lies beyond the range of float64", at,
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
enum err number_resume(struct matrix_reader *r, const char **at, const char *end)
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

/* Plain numbers, as many as there is room for. */
static void read_list(struct matrix_reader *r, const char **at, const char *end)
{
    struct buf *numbers = r->numbers;
    size_t      room = (numbers->cap - numbers->len) / sizeof(double), count;

    if (room > r->side_max - r->row_len)
        room = (size_t)(r->side_max - r->row_len);
    if (!room)
        return;
    *at = numtext_scan_list(*at, end, (double *)(void *)(numbers->data + numbers->len), room, &count);
    if (!count)
        return;
    numbers->len += count * sizeof(double);
    r->row_len += count;
    r->state = NEXT_NUMBER;
}

/* Numbers and the commas between them, as far as they go. What read_list leaves
 * alone is looked at one by one. */
enum err numbers_read(struct matrix_reader *r, const char **at, const char *end)
{
    const char *p = *at;
    enum err    e = ERR_OK;

    while (p < end && (is_digit(*p) || *p == '-')) {
        read_list(r, &p, end);
        if (p == end || !(is_digit(*p) || *p == '-'))
            break;
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
