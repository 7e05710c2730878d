/* SPDX-License-Identifier: Apache-2.0 */
/* routes.c - every call of the gateway, a row each. A named route that submits
 * is a kind and a content type in front of the same handler as POST /jobs/KIND. */
#include "api/gateway.h"

/*   method    path                       handler              kind      content type        open */
const struct route gateway_routes[] = {
    {"POST",   "/matrix_multiplication", &submit_handler,     "matrix", "application/json", false},
    {"PUT",    "/enqueue",               &submit_handler,     "hash",   NULL,               false},
    {"POST",   "/pullCompleted",         &pull_handler,       NULL,     NULL,               false},
    {"POST",   "/jobs/*/retry",          &job_retry_handler,  NULL,     NULL,               false},
    {"GET",    "/jobs",                  &job_list_handler,   NULL,     NULL,               false},
    {"GET",    "/jobs/*/result",         &result_handler,     NULL,     NULL,               false},
    {"POST",   "/jobs/*",                &submit_handler,     NULL,     NULL,               false},
    {"GET",    "/jobs/*",                &job_get_handler,    NULL,     NULL,               false},
    {"DELETE", "/jobs/*",                &job_cancel_handler, NULL,     NULL,               false},
    {"POST",   "/groups",                &group_post_handler, NULL,     NULL,               false},
    {"POST",   "/groups/*/close",        &group_close_handler, NULL,    NULL,               false},
    {"GET",    "/groups/*/ends",         &group_ends_handler, NULL,     NULL,               false},
    {"GET",    "/groups/*",              &group_get_handler,  NULL,     NULL,               false},
    {"DELETE", "/groups/*",              &group_delete_handler, NULL,     NULL,               false},
    {"PUT",    "/blobs",                 &blob_put_handler,   NULL,     NULL,               false},
    {"GET",    "/blobs",                 &blob_list_handler,  NULL,     NULL,               false},
    {"PUT",    "/blobs/*",               &blob_put_handler,   NULL,     NULL,               false},
    {"GET",    "/blobs/*",               &blob_get_handler,   NULL,     NULL,               false},
    {"DELETE", "/blobs/*",               &blob_delete_handler, NULL,    NULL,               false},
    {"GET",    "/dead",                  &dead_list_handler,  NULL,     NULL,               false},
    {"POST",   "/dead/*/replay",         &dead_replay_handler, NULL,    NULL,               false},
    {"GET",    "/audit",                 &audit_handler,      NULL,     NULL,               false},
    {"GET",    "/stats",                 &stats_handler,      NULL,     NULL,               false},
    {"GET",    "/metrics",               &metrics_handler,    NULL,     NULL,               false},
    {"GET",    "/healthz",               &healthz_handler,    NULL,     NULL,               true},
    {"GET",    "/readyz",                &readyz_handler,     NULL,     NULL,               true},
    {0},
};

/* Clients can take every connection of the other port: whoever watches over the gateway is not to take that for its end. */
const struct route metrics_routes[] = {
    {"GET",    "/metrics",               &metrics_handler,    NULL,     NULL,               true},
    {"GET",    "/healthz",               &healthz_handler,    NULL,     NULL,               true},
    {"GET",    "/readyz",                &readyz_handler,     NULL,     NULL,               true},
    {0},
};
