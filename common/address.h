/* SPDX-License-Identifier: Apache-2.0 */
/* address.h - MILLRACE_LISTEN and a port as sockets take them. */
#ifndef MILLRACE_ADDRESS_H
#define MILLRACE_ADDRESS_H

#include <sys/socket.h>

#include "common/err.h"

/* text: an IPv4 or IPv6 address in figures. ERR_CONFIG names the setting. out->ss_family tells which it is. */
enum err address_read(const char *text, int port, struct sockaddr_storage *out, struct fault *why) MUST_CHECK;

#endif
