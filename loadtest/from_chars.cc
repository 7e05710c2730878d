// SPDX-License-Identifier: Apache-2.0
// from_chars.cc - see the header.
#include "loadtest/from_chars.h"

#include <charconv>
#include <system_error>

const char *from_chars(const char *text, const char *end, double *out)
{
    auto [stop, error] = std::from_chars(text, end, *out);

    return error == std::errc() ? stop : nullptr;
}
