/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - characters that others made, before they are shown or passed on. */
#ifndef MILLRACE_TEXT_H
#define MILLRACE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes (1 to 4) of the UTF-8 character that text begins with, of len bytes, one at least; 0: it is malformed,
 * overlong, a surrogate, beyond U+10FFFF or cut short. A NUL ends a character, so TEXT_ENDED will do as len of what
 * ends with one. */
size_t text_character(const char *text, size_t len);
#define TEXT_ENDED 4

bool text_is_control(char c);

/* Makes what is to stay on one line, and is for a terminal too, fit for it: control characters become '?', also the two
 * bytes of one beyond ASCII, which some terminals obey. */
void text_tame(char *text, size_t len);

#endif
