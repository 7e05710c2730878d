/* SPDX-License-Identifier: Apache-2.0 */
/* reader_impl.h - what the three files of the reader share: the structure
 * (reader.c), keys (key.c), numbers (literal.c). */
#ifndef MILLRACE_MATRIX_READER_IMPL_H
#define MILLRACE_MATRIX_READER_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "kinds/matrix/gather.h"
#include "kinds/matrix/origin.h"
#include "kinds/matrix/reader.h"

#define KEY_SHOWN 40 /* bytes of a key or a number kept for the detail */

enum state {
    START,
    FIRST_KEY,
    NEXT_KEY,
    IN_KEY,
    AFTER_KEY,
    MATRIX,
    IN_OBJECT,
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

struct matrix_reader {
    enum state     state;
    struct fault   fault; /* of the call that failed */
    struct gather *gather;
    uint64_t       text_max;
    uint64_t       offset; /* of the piece at hand within the document */
    const char    *piece;  /* borrowed while it is fed */

    int         current; /* operand being read */
    struct buf *numbers; /* its numbers, within gather */
    uint64_t    rows, cols;
    uint64_t    row_len; /* numbers so far in the row at hand */
    uint64_t    side_max;

    struct buf literal;    /* first part of a number that a piece cut in two */
    uint64_t   literal_at; /* its offset */

    struct origin object; /* an operand that is no array */
    uint64_t      object_at;

    enum escape escape;
    int         escape_digits;
    unsigned    unit; /* last UTF-16 unit of the key, or byte */
    uint64_t    key_units;
    uint64_t    key_at;
    char        key[KEY_SHOWN + 1]; /* as written */
    size_t      key_len;
};

static inline char operand_name(const struct matrix_reader *r) { return (char)('A' + r->current); }

/* For details, which are printed with %llu. */
static inline unsigned long long offset_of(const struct matrix_reader *r, const char *p)
{
    return r->offset + (uint64_t)(p - r->piece);
}

static inline bool wants_number(const struct matrix_reader *r)
{
    return r->state == FIRST_NUMBER || r->state == NEXT_NUMBER;
}

/* How a byte appears in a detail. */
const char *show_byte(char c, char out[8]);

/* Says that the state at hand does not take this byte. */
enum err refuse_byte(struct matrix_reader *r, char c, unsigned long long at) MUST_CHECK;

/* key.c: a key begins; takes one byte of it. */
enum err key_open(struct matrix_reader *r) MUST_CHECK;
enum err key_read(struct matrix_reader *r, const char *p) MUST_CHECK;

/* literal.c: numbers and the commas between them, as far as they go; the rest of one that an earlier piece began. */
enum err numbers_read(struct matrix_reader *r, const char **at, const char *end) MUST_CHECK;
enum err number_resume(struct matrix_reader *r, const char **at, const char *end) MUST_CHECK;

#endif
