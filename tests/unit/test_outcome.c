/* SPDX-License-Identifier: Apache-2.0 */
/* test_outcome.c - how the ends of executors and their answers are classified. */
#include <signal.h>
#include <string.h>

#include "tests/unit/check.h"
#include "worker/outcome.h"

/* Wait statuses as Linux lays them out. */
#define EXITED(code) ((code) << 8)
#define SIGNALED(number) (number)

static void outcome__a_crash_is_a_loss_that_names_the_signal(void **state)
{
    struct fault why;

    (void)state;
    outcome_of_end(SIGNALED(SIGSEGV), KILL_NOT, 60, &why);
    assert_int_equal(why.err, ERR_EXECUTOR);
    assert_int_equal(err_class(why.err), ERR_CLASS_LOSS);
    assert_non_null(strstr(why.detail, "SIGSEGV"));
    assert_non_null(strstr(why.detail, "crashed"));
}

static void outcome__a_kill_from_outside_may_be_the_lack_of_memory(void **state)
{
    struct fault why;

    (void)state;
    outcome_of_end(SIGNALED(SIGKILL), KILL_NOT, 60, &why);
    assert_int_equal(why.err, ERR_EXECUTOR);
    assert_non_null(strstr(why.detail, "out of memory"));
}

static void outcome__an_exit_in_the_middle_of_a_job_is_a_loss(void **state)
{
    struct fault why;

    (void)state;
    outcome_of_end(EXITED(3), KILL_NOT, 60, &why);
    assert_int_equal(why.err, ERR_EXECUTOR);
    assert_non_null(strstr(why.detail, "status 3"));
}

static void outcome__our_own_kill_at_the_time_limit_is_a_timeout(void **state)
{
    struct fault why;

    (void)state;
    outcome_of_end(SIGNALED(SIGKILL), KILL_TIMEOUT, 90, &why);
    assert_int_equal(why.err, ERR_TIMEOUT);
    assert_int_equal(err_class(why.err), ERR_CLASS_TRANSIENT);
    assert_non_null(strstr(why.detail, "90 s"));
}

static void outcome__every_reason_has_a_fault_that_ends_an_attempt(void **state)
{
    (void)state;
    for (int reason = 0; reason < KILL_REASON_COUNT; reason++) {
        struct fault why = {0};
        outcome_of_end(SIGNALED(SIGKILL), (enum kill_reason)reason, 1, &why);
        assert_int_not_equal(err_class(why.err), ERR_CLASS_NONE);
        assert_true(why.detail[0] != '\0');
    }
}

static void outcome__only_ends_that_we_did_not_want_space_out_the_starts(void **state)
{
    (void)state;
    assert_true(outcome_is_abnormal(KILL_NOT));
    assert_true(outcome_is_abnormal(KILL_SILENT));
    assert_true(outcome_is_abnormal(KILL_GARBLED));
    assert_false(outcome_is_abnormal(KILL_TIMEOUT));
    assert_false(outcome_is_abnormal(KILL_JOB));
    assert_false(outcome_is_abnormal(KILL_RECYCLE));
    assert_false(outcome_is_abnormal(KILL_END));
}

/* What most kinds have: a bound of bytes in memory, or a file of just as many. */
static enum err judge(const struct frame_done *done, uint64_t bytes, bool is_file, struct fault *why)
{
    struct result_bounds bounds = {
        .room_max = is_file ? 0 : bytes, .file_bytes = is_file ? (int64_t)bytes : -1, .file_max = bytes};

    return outcome_of_done(done, &bounds, why);
}

static void outcome__a_result_within_its_bound_is_taken(void **state)
{
    struct frame_done done = {.type = FRAME_DONE, .err = ERR_OK, .output_len = 64};
    struct fault      why = {0};

    (void)state;
    assert_int_equal(judge(&done, 64, false, &why), ERR_OK);
    assert_int_equal(judge(&done, 63, false, &why), ERR_INTERNAL);
    assert_non_null(strstr(why.detail, "64 bytes"));
}

static void outcome__a_file_has_just_its_bytes_and_a_checksum(void **state)
{
    struct frame_done done = {.type = FRAME_DONE, .err = ERR_OK, .output_len = 64};
    struct fault      why = {0};

    (void)state;
    strcpy(done.sum, "0123456789abcdef0123456789abcdef");
    assert_int_equal(judge(&done, 64, true, &why), ERR_OK);
    assert_int_equal(judge(&done, 65, true, &why), ERR_INTERNAL);
    assert_int_equal(judge(&done, 63, true, &why), ERR_INTERNAL);
    done.sum[31] = 'g';
    assert_int_equal(judge(&done, 64, true, &why), ERR_INTERNAL);
    memset(done.sum, 'a', sizeof done.sum); /* no NUL */
    assert_int_equal(judge(&done, 64, true, &why), ERR_INTERNAL);
    done.sum[0] = '\0';
    assert_int_equal(judge(&done, 64, true, &why), ERR_INTERNAL);
    assert_int_equal(judge(&done, 64, false, &why), ERR_OK);
}

static void outcome__an_open_ended_result_is_where_its_executor_says(void **state)
{
    struct result_bounds bounds = {.room_max = 100, .file_bytes = 0, .file_max = 1000, .is_open_ended = true};
    struct frame_done    done = {.type = FRAME_DONE, .err = ERR_OK, .output_len = 100, .media = "image/png"};
    struct fault         why = {0};

    (void)state;
    assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_OK);
    done.output_len = 101; /* beyond the room */
    assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL);
    done.is_file = 1; /* the file has no byte, and there is no checksum */
    assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL);
    bounds.file_bytes = 101;
    assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL);
    strcpy(done.sum, "0123456789abcdef0123456789abcdef");
    assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_OK);
    done.output_len = 100;
    assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL);
    assert_non_null(strstr(why.detail, "100 bytes, and its file 101"));
    done.output_len = 1001;
    bounds.file_bytes = 1001;
    assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL);
    done.output_len = UINT64_MAX;
    bounds.file_bytes = -1;
    assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL); /* it got no file */
    done.output_len = 10;
    for (done.is_file = 2; done.is_file; done.is_file *= 2) {
        assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL);
        bounds.file_bytes = 10;
        assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL);
    }
}

static void outcome__a_type_is_one_that_a_header_can_carry(void **state)
{
    static const char *const taken[] = {"", "image/png", "text/plain; charset=utf-8", "a/b"};
    static const char *const refused[] = {"png",   "/png", "image/", "image/png\r\nX: 1", "image/p\xc3\xa9",
                                          "a/b\t", "/"};
    struct result_bounds     bounds = {.room_max = 100, .file_bytes = -1, .is_open_ended = true};
    struct frame_done        done = {.type = FRAME_DONE, .err = ERR_OK, .output_len = 10};
    struct fault             why = {0};

    (void)state;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        strcpy(done.media, taken[i]);
        assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_OK);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        strcpy(done.media, refused[i]);
        assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL);
    }
    memset(done.media, '/', sizeof done.media); /* no NUL */
    assert_int_equal(outcome_of_done(&done, &bounds, &why), ERR_INTERNAL);
}

static void outcome__only_open_ended_kinds_may_choose(void **state)
{
    struct frame_done done = {.type = FRAME_DONE, .err = ERR_OK, .output_len = 64};
    struct fault      why = {0};

    (void)state;
    done.is_file = 1;
    assert_int_equal(judge(&done, 64, false, &why), ERR_INTERNAL);
    done.is_file = 0;
    strcpy(done.media, "text/html");
    assert_int_equal(judge(&done, 64, false, &why), ERR_INTERNAL);
}

static void outcome__what_goes_into_the_record_is_json(void **state)
{
    static const char *const refused[] = {"x", "{", "[]", "{} {}", "\"a\"", " "};
    struct frame_done        done = {.type = FRAME_DONE, .err = ERR_OK, .output_len = 64};
    struct fault             why = {0};

    (void)state;
    strcpy(done.verified, "{\"method\":\"freivalds\",\"probes\":2}");
    assert_int_equal(judge(&done, 64, false, &why), ERR_OK);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        strcpy(done.verified, refused[i]);
        assert_int_equal(judge(&done, 64, false, &why), ERR_INTERNAL);
    }
    memset(done.verified, ' ', sizeof done.verified); /* no NUL */
    assert_int_equal(judge(&done, 64, false, &why), ERR_INTERNAL);
}

static void outcome__an_error_keeps_its_detail(void **state)
{
    struct frame_done done = {.type = FRAME_DONE, .err = ERR_OVERFLOW};
    struct fault      why = {0};

    (void)state;
    strcpy(done.why.detail, "row 3");
    assert_int_equal(judge(&done, 64, false, &why), ERR_OVERFLOW);
    assert_string_equal(why.detail, "row 3");
}

static void outcome__an_answer_is_not_trusted(void **state)
{
    struct frame_done done = {.type = FRAME_DONE, .err = ERR_COUNT};
    struct fault      why = {0};

    (void)state;
    assert_int_equal(judge(&done, 64, false, &why), ERR_INTERNAL);
    done.err = UINT32_MAX;
    assert_int_equal(judge(&done, 64, false, &why), ERR_INTERNAL);
    done.err = ERR_NOT_FOUND; /* an error, but none that ends an attempt */
    assert_int_equal(judge(&done, 64, false, &why), ERR_INTERNAL);
    done.err = ERR_MEMORY;
    memset(done.why.detail, 'x', sizeof done.why.detail); /* no NUL */
    assert_int_equal(judge(&done, 64, false, &why), ERR_MEMORY);
    assert_int_equal(strlen(why.detail), sizeof why.detail - 1);
}

static void outcome__transient_errors_climb_the_rungs_and_losses_do_not(void **state)
{
    (void)state;
    assert_true(outcome_rung(ERR_TIMEOUT, 4, 2, 256, 0.9) > outcome_rung(ERR_TIMEOUT, 0, 2, 256, 0.9));
    assert_int_equal(outcome_rung(ERR_EXECUTOR, 9, 2, 256, 0.5), 0);
    assert_int_equal(outcome_rung(ERR_PARAM, 9, 2, 256, 0.5), 0);
}

static void outcome__a_crash_loop_is_slowed_down_and_a_single_crash_is_not(void **state)
{
    (void)state;
    assert_int_equal(outcome_restart_ms(0), 0);
    assert_int_equal(outcome_restart_ms(1), 0);
    assert_int_equal(outcome_restart_ms(2), 100);
    assert_int_equal(outcome_restart_ms(3), 200);
    assert_int_equal(outcome_restart_ms(7), 3200);
    assert_int_equal(outcome_restart_ms(8), 5000);
    assert_int_equal(outcome_restart_ms(2000000000), 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcome__a_crash_is_a_loss_that_names_the_signal),
        cmocka_unit_test(outcome__a_kill_from_outside_may_be_the_lack_of_memory),
        cmocka_unit_test(outcome__an_exit_in_the_middle_of_a_job_is_a_loss),
        cmocka_unit_test(outcome__our_own_kill_at_the_time_limit_is_a_timeout),
        cmocka_unit_test(outcome__every_reason_has_a_fault_that_ends_an_attempt),
        cmocka_unit_test(outcome__only_ends_that_we_did_not_want_space_out_the_starts),
        cmocka_unit_test(outcome__a_result_within_its_bound_is_taken),
        cmocka_unit_test(outcome__a_file_has_just_its_bytes_and_a_checksum),
        cmocka_unit_test(outcome__an_open_ended_result_is_where_its_executor_says),
        cmocka_unit_test(outcome__a_type_is_one_that_a_header_can_carry),
        cmocka_unit_test(outcome__only_open_ended_kinds_may_choose),
        cmocka_unit_test(outcome__what_goes_into_the_record_is_json),
        cmocka_unit_test(outcome__an_error_keeps_its_detail),
        cmocka_unit_test(outcome__an_answer_is_not_trusted),
        cmocka_unit_test(outcome__transient_errors_climb_the_rungs_and_losses_do_not),
        cmocka_unit_test(outcome__a_crash_loop_is_slowed_down_and_a_single_crash_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
