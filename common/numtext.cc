// SPDX-License-Identifier: Apache-2.0
// numtext.cc - the one C++ file: see numtext.h.
#include "common/numtext.h"

#include <charconv>
#include <system_error>

// from_chars says result_out_of_range for both ends of the range. The decimal
// exponent of the first significant digit tells which: no float64 literal
// overflows below 1e308, and none underflows above 1e-300.
static bool is_tiny(const char *p, const char *end)
{
    long exponent = 0, point = 0;
    bool seen_digit = false, seen_point = false;

    if (p < end && *p == '-')
        p++;
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            seen_point = true;
            continue;
        }
        if (*p != '0')
            seen_digit = true;
        if (seen_digit && !seen_point)
            point++;
        else if (!seen_digit && seen_point)
            point--;
    }
    if (p < end) {
        bool is_negative = false;

        p++;
        if (*p == '-' || *p == '+')
            is_negative = *p++ == '-';
        for (; p < end && exponent < 1000000000; p++)
            exponent = exponent * 10 + (*p - '0');
        if (is_negative)
            exponent = -exponent;
    }
    return exponent + point < 0;
}

bool numtext_read(const char *text, const char *end, double *out)
{
    auto [stop, error] = std::from_chars(text, end, *out);

    if (error == std::errc::result_out_of_range) {
        if (!is_tiny(text, end))
            return false;
        *out = *text == '-' ? -0.0 : 0.0;
        return true;
    }
    return error == std::errc() && stop == end;
}

const char *numtext_scan(const char *text, const char *end, double *out)
{
    auto [stop, error] = std::from_chars(text, end, *out);

    return error == std::errc() ? stop : nullptr;
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
