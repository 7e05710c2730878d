/* SPDX-License-Identifier: Apache-2.0 */
/* address.c - see the header. */
#include "common/address.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

enum err address_read(const char *text, int port, struct sockaddr_storage *out, struct fault *why)
{
    struct sockaddr_in  *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        return ERR_OK;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1
               ? ERR_OK
               : fault_set(why, ERR_CONFIG, "MILLRACE_LISTEN is '%.60s', which is no IP address", text);
}
