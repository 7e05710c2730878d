/* SPDX-License-Identifier: Apache-2.0 */
/* quantity.c - see the header. The number is kept as decimal digits until its place in nano is known: nothing is
 * rounded but once, at the end. */
#include "cli/place/quantity.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define TEXT_BYTES_MAX 200
#define SHIFT_MAX 100000            /* of an exponent; beyond it all are too large, or all the smallest there is */
#define DIGITS_MAX 30               /* of an amount in nano that can be within bounds */
#define ROOM (TEXT_BYTES_MAX + 24)  /* 2^60 brings 19 digits more */
#define WHOLE_MAX ((wide)INT64_MAX) /* cores or bytes */

/* The sum of digit[i] * 10^(low + i). */
struct decimal {
    unsigned char digit[ROOM];
    int           count;
    int           low;
};

static const struct suffix {
    const char *text;
    int         ten, two; /* exponents */
} suffixes[] = {
    {"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0},  {"", 0, 0},    {"k", 3, 0},   {"M", 6, 0},
    {"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0},  {"Ki", 0, 10}, {"Mi", 0, 20},
    {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60},
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Takes "12.5" from the front, also "12.", ".5" and nothing at all, which is zero. */
static const char *take_number(const char *text, struct decimal *out)
{
    char kept[TEXT_BYTES_MAX];
    int  count = 0, fraction = 0;

    while (is_digit(*text))
        kept[count++] = *text++;
    if (*text == '.')
        for (text++; is_digit(*text); fraction++)
            kept[count++] = *text++;
    for (int i = 0; i < count; i++)
        out->digit[i] = (unsigned char)(kept[count - 1 - i] - '0');
    out->count = count;
    out->low = -fraction;
    return text;
}

/* "e3", "E-3": a sign is allowed, and digits there must be. */
static bool read_exponent(const char *text, int *ten)
{
    bool is_negative = text[1] == '-';
    int  value = 0;

    text += 1 + (text[1] == '-' || text[1] == '+');
    if (!is_digit(*text))
        return false;
    for (; is_digit(*text); text++)
        value = value < SHIFT_MAX ? value * 10 + (*text - '0') : SHIFT_MAX;
    *ten = is_negative ? -value : value;
    return !*text;
}

static bool read_suffix(const char *text, struct suffix *out)
{
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (!strcmp(suffixes[i].text, text)) {
            *out = suffixes[i];
            return true;
        }
    *out = (struct suffix){text, 0, 0};
    return (*text == 'e' || *text == 'E') && read_exponent(text, &out->ten);
}

static void double_it(struct decimal *d)
{
    int carry = 0;

    for (int i = 0; i < d->count; i++) {
        int value = d->digit[i] * 2 + carry;

        d->digit[i] = (unsigned char)(value % 10);
        carry = value / 10;
    }
    if (carry)
        d->digit[d->count++] = (unsigned char)carry;
}

/* The number times 1e9, rounded up; false: it is beyond all bounds. */
static bool to_nano(struct decimal *d, wide *out)
{
    int  shift = d->low + 9;
    bool is_rounded = false;
    wide value = 0;

    while (d->count && !d->digit[d->count - 1])
        d->count--;
    if (d->count && d->count + shift > DIGITS_MAX)
        return false;
    for (int i = d->count - 1; i >= 0; i--)
        if (i + shift >= 0)
            value = value * 10 + d->digit[i];
        else
            is_rounded |= d->digit[i] > 0;
    for (int i = 0; value && i < shift; i++)
        value *= 10;
    *out = value + is_rounded;
    return *out <= WHOLE_MAX * QUANTITY_ONE;
}

enum err quantity_read(const char *text, wide *nano, struct fault *why)
{
    struct decimal number;
    struct suffix  suffix;
    bool           is_negative = *text == '-';
    const char    *behind;
    wide           value;

    if (strlen(text) >= TEXT_BYTES_MAX)
        return fault_set(why, ERR_PARAM, "'%.40s...' is too long for a quantity", text);
    behind = take_number(text + (*text == '-' || *text == '+'), &number);
    if (!*text || !read_suffix(behind, &suffix))
        return fault_set(
            why, ERR_PARAM,
            "'%.40s' is no quantity; one is a number with n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei "
            "or an exponent behind it, as 500m, 3.5Gi or 2e3",
            text);
    number.low += suffix.ten;
    for (int i = 0; i < suffix.two; i++)
        double_it(&number);
    if (!to_nano(&number, &value))
        return fault_set(why, ERR_PARAM, "'%.40s' is more than 9223372036854775807, the most that a quantity can be",
                         text);
    *nano = is_negative ? -value : value;
    return ERR_OK;
}

wide quantity_in(wide nano, wide unit)
{
    wide whole = nano / unit, rest = nano % unit;

    return whole + (rest > 0) - (rest < 0);
}
