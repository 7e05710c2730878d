/* SPDX-License-Identifier: Apache-2.0 */
/* test_config.c - settings are checked row by row; a typing mistake is refused. */
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "tests/unit/check.h"

static int clean(void **state)
{
    (void)state;
    clearenv();
    return 0;
}

static void config__empty_environment_gives_the_defaults(void **state)
{
    struct settings s;
    struct fault    why;

    (void)state;
    assert_int_equal(config_load(&s, &why), ERR_OK);
    assert_string_equal(s.listen, "127.0.0.1");
    assert_int_equal(s.port, 8080);
    assert_int_equal(s.inline_max, 262144);
    assert_int_equal(s.queue_type, QUEUE_TYPE_QUORUM);
    assert_false(s.insecure);
}

static void config__values_are_taken(void **state)
{
    struct settings s;
    struct fault    why;

    (void)state;
    setenv("MILLRACE_OUTBOX_MAX", "8M", 1);
    setenv("MILLRACE_QUEUE_TYPE", "classic", 1);
    setenv("MILLRACE_INSECURE", "1", 1);
    setenv("PATH", "/bin", 1);
    assert_int_equal(config_load(&s, &why), ERR_OK);
    assert_int_equal(s.outbox_max, 8 << 20);
    assert_int_equal(s.queue_type, QUEUE_TYPE_CLASSIC);
    assert_true(s.insecure);
}

static void refused(const char *name, const char *value, const char *named)
{
    struct settings s;
    struct fault    why;

    clearenv();
    setenv(name, value, 1);
    assert_int_equal(config_load(&s, &why), ERR_CONFIG);
    assert_non_null(strstr(why.detail, name));
    assert_non_null(strstr(why.detail, named));
}

static void config__malformed_values_are_refused_by_name(void **state)
{
    (void)state;
    refused("MILLRACE_PORT", "http", "from 0 to 65535");
    refused("MILLRACE_PORT", "65536", "65536");
    refused("MILLRACE_PORT", "-1", "-1");
    refused("MILLRACE_PORT", " 80", " 80");
    refused("MILLRACE_PORT", "80 ", "80 ");
    refused("MILLRACE_PORT", "", "port");
    refused("MILLRACE_PORT", "99999999999999999999", "from 0");
    refused("MILLRACE_PORT", "1K", "1K"); /* a suffix is for bytes alone */
    refused("MILLRACE_OUTBOX_MAX", "9223372036854775807G", "bytes");
    refused("MILLRACE_OUTBOX_MAX", "1T", "1T");
    refused("MILLRACE_QUEUE_TYPE", "stream", "quorum|classic");
    refused("MILLRACE_QUEUE_TYPE", "", "quorum|classic");
    refused("MILLRACE_QUEUE_TYPE", "quor", "quorum|classic");
    refused("MILLRACE_INSECURE", "yes", "0 or 1");
    refused("MILLRACE_INSECURE", "2", "0 or 1");
    refused("MILLRACE_LISTEN", "", "characters");
}

static void config__an_unknown_name_is_refused(void **state)
{
    (void)state;
    refused("MILLRACE_PROT", "8080", "no setting");
    refused("MILLRACE_PORTS", "8080", "no setting");
    refused("MILLRACE_", "x", "no setting");
}

static void config__default_time_limit_may_not_exceed_the_largest(void **state)
{
    struct settings s;
    struct fault    why;

    (void)state;
    setenv("MILLRACE_TIMEOUT_MAX_SECONDS", "60", 1);
    assert_int_equal(config_load(&s, &why), ERR_CONFIG);
    setenv("MILLRACE_TIMEOUT_SECONDS", "60", 1);
    assert_int_equal(config_load(&s, &why), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(config__empty_environment_gives_the_defaults, clean),
        cmocka_unit_test_setup(config__values_are_taken, clean),
        cmocka_unit_test_setup(config__malformed_values_are_refused_by_name, clean),
        cmocka_unit_test_setup(config__an_unknown_name_is_refused, clean),
        cmocka_unit_test_setup(config__default_time_limit_may_not_exceed_the_largest, clean),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
