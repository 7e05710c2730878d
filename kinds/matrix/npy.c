/* SPDX-License-Identifier: Apache-2.0 */
/* npy.c - magic, version, length of the header, and a Python literal:
 *
 *   {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }
 */
#include "kinds/matrix/npy.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
#define PREFIX_BYTES 10       /* of version 1: magic 6, version 2, length of the literal 2 */
#define PREFIX_BYTES_LATER 12 /* of versions 2 and 3: the length has 4 */
#define LITERAL_MAX (NPY_HEADER_MAX - PREFIX_BYTES_LATER)
#define DIMENSIONS_MAX 32 /* NumPy's own bound */
#define SHOWN 40          /* bytes of what was found that a detail repeats */

void npy_write_header(char out[NPY_HEADER_BYTES], enum dtype dtype, uint64_t rows, uint64_t cols)
{
    const unsigned rest = NPY_HEADER_BYTES - PREFIX_BYTES;
    char           literal[NPY_HEADER_BYTES];
    int len = snprintf(literal, sizeof(literal), "{'descr': '<%s', 'fortran_order': False, 'shape': (%llu, %llu), }",
                       dtype_name(dtype), (unsigned long long)rows, (unsigned long long)cols);

    assert(len > 0 && (unsigned)len < rest);
    memcpy(out, MAGIC "\x01\x00", MAGIC_BYTES + 2);
    out[8] = (char)(rest & 0xff);
    out[9] = (char)(rest >> 8);
    memset(out + PREFIX_BYTES, ' ', rest);
    memcpy(out + PREFIX_BYTES, literal, (size_t)len);
    out[NPY_HEADER_BYTES - 1] = '\n';
}

/* ---- the literal -------------------------------------------------------- */

struct cursor {
    const char   *p, *end;
    struct fault *why;
};

struct text {
    const char *at;
    size_t      len;
};

static bool text_is(struct text t, const char *word) { return t.len == strlen(word) && !memcmp(t.at, word, t.len); }

static enum err malformed(const struct cursor *c, const char *expected)
{
    size_t left = (size_t)(c->end - c->p);

    return fault_set(c->why, ERR_BODY, "the NumPy header cannot be read: expected %s at '%.*s'", expected,
                     (int)(left < SHOWN ? left : SHOWN), c->p);
}

static void skip_blanks(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t' || *c->p == '\r'))
        c->p++;
}

/* Takes the byte, and the blanks around it, if it comes next. */
static bool take(struct cursor *c, char byte)
{
    skip_blanks(c);
    if (c->p == c->end || *c->p != byte)
        return false;
    c->p++;
    skip_blanks(c);
    return true;
}

/* A string in either quotes. None that is wanted has an escape in it. */
static bool take_string(struct cursor *c, struct text *out)
{
    char        quote = c->p < c->end ? *c->p : 0;
    const char *close;

    if (quote != '\'' && quote != '"')
        return false;
    close = memchr(c->p + 1, quote, (size_t)(c->end - c->p - 1));
    if (!close)
        return false;
    *out = (struct text){c->p + 1, (size_t)(close - c->p - 1)};
    c->p = close + 1;
    return true;
}

static bool take_word(struct cursor *c, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(c->end - c->p) < len || memcmp(c->p, word, len) != 0)
        return false;
    c->p += len;
    return true;
}

/* A side; one that does not fit is UINT64_MAX. Python 2 wrote its long integers with an L behind them. */
static bool take_side(struct cursor *c, uint64_t *out)
{
    const char *start = c->p;
    uint64_t    value = 0;
    bool        is_beyond = false;

    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        is_beyond |= __builtin_mul_overflow(value, 10u, &value) ||
                     __builtin_add_overflow(value, (unsigned)(*c->p - '0'), &value);
    *out = is_beyond ? UINT64_MAX : value;
    if (c->p == start || (*start == '0' && c->p > start + 1)) {
        c->p = start;
        return false;
    }
    take_word(c, "L");
    return true;
}

static enum err read_descr(struct cursor *c, struct npy *n)
{
    static const char taken[] = "taken are '<f8', '<f4', '<i8' and '<i4'";
    struct text       descr;
    char              name[3];

    if (c->p < c->end && *c->p == '[')
        return fault_set(c->why, ERR_BODY, "the NumPy file has records of several fields; %s", taken);
    if (!take_string(c, &descr))
        return malformed(c, "the type of the numbers");
    if (descr.len && *descr.at == '>')
        return fault_set(c->why, ERR_BODY, "the numbers of the NumPy file are '%.*s', which is big-endian; %s",
                         (int)(descr.len < SHOWN ? descr.len : SHOWN), descr.at, taken);
    n->dtype = DTYPE_COUNT;
    if (descr.len == 3 && *descr.at == '<') {
        memcpy(name, descr.at + 1, 2);
        name[2] = 0;
        n->dtype = dtype_from_name(name);
    }
    if (n->dtype == DTYPE_COUNT)
        return fault_set(c->why, ERR_BODY, "the numbers of the NumPy file are '%.*s'; %s",
                         (int)(descr.len < SHOWN ? descr.len : SHOWN), descr.at, taken);
    return ERR_OK;
}

static enum err read_order(struct cursor *c, struct npy *n)
{
    n->is_fortran = take_word(c, "True");
    return n->is_fortran || take_word(c, "False") ? ERR_OK : malformed(c, "True or False");
}

/* A tuple of sides. */
static enum err read_shape(struct cursor *c, struct npy *n)
{
    uint64_t sides[DIMENSIONS_MAX];
    int      count = 0;
    bool     has_comma = true; /* (3) is a number, not a tuple */

    if (!take(c, '('))
        return malformed(c, "a shape in parentheses");
    while (count < DIMENSIONS_MAX && has_comma && take_side(c, &sides[count])) {
        count++;
        has_comma = take(c, ',');
    }
    if (!take(c, ')') || (count == 1 && !has_comma))
        return malformed(c, "the sides of the array");
    if (count != 2)
        return fault_set(c->why, ERR_SHAPE,
                         "the array of the NumPy file has %d dimension%s; an operand has two, rows and columns", count,
                         count == 1 ? "" : "s");
    n->rows = sides[0];
    n->cols = sides[1];
    return ERR_OK;
}

static const struct key {
    const char *name;
    enum err (*read)(struct cursor *c, struct npy *n);
} keys[] = {{"descr", read_descr}, {"fortran_order", read_order}, {"shape", read_shape}};
#define KEY_COUNT (sizeof keys / sizeof *keys)

/* One key and its value; seen has a bit for each key that was there. */
static enum err read_pair(struct cursor *c, struct npy *n, unsigned *seen)
{
    struct text name;
    size_t      i = 0;

    if (!take_string(c, &name))
        return malformed(c, "a key in quotes");
    while (i < KEY_COUNT && !text_is(name, keys[i].name))
        i++;
    if (i == KEY_COUNT || *seen & 1u << i)
        return fault_set(c->why, ERR_BODY, "the NumPy header has the key '%.*s'%s",
                         (int)(name.len < SHOWN ? name.len : SHOWN), name.at,
                         i == KEY_COUNT ? ", which the format does not know" : " twice");
    *seen |= 1u << i;
    return take(c, ':') ? keys[i].read(c, n) : malformed(c, "':'");
}

static enum err read_literal(struct cursor *c, struct npy *n)
{
    unsigned seen = 0;
    bool     goes_on = true;
    enum err e = take(c, '{') ? ERR_OK : malformed(c, "'{'");

    while (!e && goes_on && !take(c, '}')) {
        e = read_pair(c, n, &seen);
        goes_on = !e && take(c, ',');
        if (!e && !goes_on && !take(c, '}'))
            e = malformed(c, "',' or '}'");
    }
    skip_blanks(c);
    if (!e && c->p != c->end)
        e = malformed(c, "nothing more");
    for (size_t i = 0; i < KEY_COUNT && !e; i++)
        if (!(seen & 1u << i))
            e = fault_set(c->why, ERR_BODY, "the NumPy header has no '%s'", keys[i].name);
    return e;
}

/* ---- the header ---------------------------------------------------------- */

/* How long the header is, or how many bytes it takes to know that. */
static enum err measure(const unsigned char *bytes, size_t len, size_t *prefix, size_t *need, struct fault *why)
{
    uint32_t literal;

    if (len && memcmp(bytes, MAGIC, len < MAGIC_BYTES ? len : MAGIC_BYTES) != 0)
        return fault_set(why, ERR_BODY, "this is no NumPy file (.npy): it does not begin as such");
    *need = PREFIX_BYTES;
    if (len < PREFIX_BYTES)
        return ERR_OK;
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7])
        return fault_set(why, ERR_BODY, "the NumPy file has version %d.%d of the format; taken are 1.0, 2.0 and 3.0",
                         bytes[6], bytes[7]);
    *prefix = bytes[6] == 1 ? PREFIX_BYTES : PREFIX_BYTES_LATER;
    *need = *prefix;
    if (len < *prefix)
        return ERR_OK;
    literal = (uint32_t)bytes[8] | (uint32_t)bytes[9] << 8;
    if (*prefix == PREFIX_BYTES_LATER)
        literal |= (uint32_t)bytes[10] << 16 | (uint32_t)bytes[11] << 24;
    if (literal > LITERAL_MAX)
        return fault_set(why, ERR_BODY, "the NumPy header has %u bytes; at most %d are read", literal, LITERAL_MAX);
    *need = *prefix + literal;
    return ERR_OK;
}

/* A matrix that can be counted in bytes. */
static enum err check_sides(const struct npy *n, struct fault *why)
{
    uint64_t numbers;

    if (!n->rows || !n->cols)
        return fault_set(why, ERR_SHAPE, "the array of the NumPy file is empty: %llu x %llu",
                         (unsigned long long)n->rows, (unsigned long long)n->cols);
    if (__builtin_mul_overflow(n->rows, n->cols, &numbers) || numbers > (uint64_t)INT64_MAX / dtype_bytes(n->dtype))
        return fault_set(why, ERR_SHAPE, "the array of the NumPy file has more numbers than any file holds");
    return ERR_OK;
}

enum err npy_read_header(const void *bytes, size_t len, struct npy *out, size_t *need, struct fault *why)
{
    size_t     prefix = 0;
    struct npy n = {0};
    enum err   e = measure(bytes, len, &prefix, need, why);

    if (e || *need > len)
        return e;
    e = read_literal(&(struct cursor){(const char *)bytes + prefix, (const char *)bytes + *need, why}, &n);
    if (!e)
        e = check_sides(&n, why);
    if (e)
        return e;
    n.data_at = *need;
    *out = n;
    return ERR_OK;
}

uint64_t npy_data_bytes(const struct npy *n) { return n->rows * n->cols * dtype_bytes(n->dtype); }
