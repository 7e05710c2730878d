/* SPDX-License-Identifier: Apache-2.0 */
/* key.c - the keys of the document, a byte at a time, with their escapes. */
#include "kinds/matrix/notation.h"
#include "kinds/matrix/reader_impl.h"

enum err key_open(struct matrix_reader *r)
{
    r->key_len = 0;
    r->key_units = 0;
    r->escape = ESCAPE_NONE;
    return ERR_OK;
}

static enum err close_key(struct matrix_reader *r)
{
    r->key[r->key_len] = 0;
    if (r->key_units != 1 || r->unit < 'A' || r->unit >= 'A' + OPERANDS)
        return fault_set(&r->fault, ERR_JSON, "byte %llu: unknown key \"%s\"%s; there are only \"A\" and \"B\"",
                         (ull)r->key_at, r->key, r->key_len == KEY_SHOWN ? "..." : "");
    r->current = (int)(r->unit - 'A');
    if (r->gather->parts[r->current].is_given)
        return fault_set(&r->fault, ERR_JSON, "byte %llu: the key \"%c\" is given twice", (ull)r->key_at,
                         operand_name(r));
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
            return fault_set(&r->fault, ERR_JSON, "byte %llu: expected a hex digit, found %s", offset_of(r, p),
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
    return fault_set(&r->fault, ERR_JSON, "byte %llu: no escape starts with %s", offset_of(r, p), show_byte(*p, shown));
}

enum err key_read(struct matrix_reader *r, const char *p)
{
    char shown[8];

    if (!r->key_units && r->escape == ESCAPE_NONE)
        r->key_at = offset_of(r, p) - 1;
    if (*p == '"' && r->escape == ESCAPE_NONE)
        return close_key(r);
    if ((unsigned char)*p < 0x20)
        return fault_set(&r->fault, ERR_JSON, "byte %llu: a control character (%s) in a key", offset_of(r, p),
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
