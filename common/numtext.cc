// SPDX-License-Identifier: Apache-2.0
// numtext.cc - the one C++ file: see numtext.h.
#include "common/numtext.h"

#include <charconv>
#include <cmath>
#include <fast_float/fast_float.h>
#include <system_error>

// Older releases of fast_float answer infinity and zero beyond the range without an error, newer ones with one:
// what the number became tells either way.
static const char *scan(const char *text, const char *end, double *out)
{
    auto [stop, error] = fast_float::from_chars(text, end, *out);
    bool is_read = error == std::errc() || error == std::errc::result_out_of_range;

    return is_read && std::isfinite(*out) ? stop : nullptr;
}

bool numtext_read(const char *text, const char *end, double *out) { return scan(text, end, out) == end; }

const char *numtext_scan(const char *text, const char *end, double *out) { return scan(text, end, out); }

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// [text, stop) was taken, and *stop is a comma: what fast_float takes and JSON does not.
static bool is_json(const char *text, const char *stop)
{
    text += *text == '-';
    if (!is_digit(*text) || (*text == '0' && is_digit(text[1])))
        return false;
    while (text < stop && is_digit(*text))
        text++;
    return *text != '.' || is_digit(text[1]);
}

const char *numtext_scan_list(const char *text, const char *end, double *out, size_t max, size_t *count)
{
    size_t n = 0;

    for (; n < max; n++) {
        const char *stop = scan(text, end, &out[n]);

        if (!stop || stop == end || *stop != ',' || stop - text > NUMTEXT_BYTES || !is_json(text, stop))
            break;
        text = stop + 1;
        text += text < end && *text == ' ';
    }
    *count = n;
    return text;
}

size_t numtext_print(double value, char out[NUMTEXT_BYTES])
{
    return static_cast<size_t>(std::to_chars(out, out + NUMTEXT_BYTES, value).ptr - out);
}

size_t numtext_print_f32(float value, char out[NUMTEXT_BYTES])
{
    return static_cast<size_t>(std::to_chars(out, out + NUMTEXT_BYTES, value).ptr - out);
}

size_t numtext_print_int(int64_t value, char out[NUMTEXT_BYTES])
{
    return static_cast<size_t>(std::to_chars(out, out + NUMTEXT_BYTES, value).ptr - out);
}
