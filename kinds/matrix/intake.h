/* SPDX-License-Identifier: Apache-2.0 */
/* intake.h - the ways in which two operands come as one body: a JSON document, or a form. */
#ifndef MILLRACE_MATRIX_INTAKE_H
#define MILLRACE_MATRIX_INTAKE_H

#include "kinds/kind.h"

/* Ends with a row whose begin is NULL. */
extern const struct intake matrix_intakes[];

#endif
