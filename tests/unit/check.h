/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - cmocka with the includes that it wants in front. */
#ifndef MILLRACE_CHECK_H
#define MILLRACE_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
