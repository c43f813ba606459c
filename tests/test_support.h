/* test_support.h: what every test program shares. */
#ifndef MQ_TEST_SUPPORT_H
#define MQ_TEST_SUPPORT_H

#include "moeq.h"

#include <check.h>

/* Check notes the place of every assertion that holds, by a system call or two: in loops over
 * millions of values that is most of a test's time. Failures bring their own place. */
#define _mark_point(file, line) ((void)0)

/* Runs the one test case that `add_tests` fills; the whole of main(). Check runs in this process
 * (no fork), so that sanitizers and debuggers see everything. */
int mq_test_main(const char *name, void (*add_tests)(TCase *tests));

/* The same for a program that also has tests on reference data outside the source tree: those run
 * where the first argument is "reference", as a CTest entry of their own (moeq_reference_test),
 * which is skipped with a message where the data is not there. */
int mq_test_main_reference(int argc, char **argv, const char *name, void (*add_tests)(TCase *tests),
                           void (*add_reference_tests)(TCase *tests));

/* The path of something in the source tree: mq_test_source("demo/model"). Static storage, a ring
 * of 8. */
const char *mq_test_source(const char *relative);

/* As above for the folder of reference models and tokenizers that may stand beside the source tree;
 * NULL, after a message on stderr, if it is not there. */
const char *mq_test_shared(const char *relative);

/* A text file, read; kept until the program ends. NULL of NULL. */
const struct mq_text *mq_test_text(const char *path);

/* A path for a temporary file of this test program; its folder exists. */
const char *mq_test_temporary(const char *name);

/* Marks the whole program as skipped: main returns 77 if nothing failed. */
void mq_test_skip(const char *why);

/* True where a test should run a sample of its cases, not all: in a build with a sanitizer, which
 * is five to twenty times slower and looks for faults in the code that runs, not in its results.
 * Set MOEQ_TEST_ALL (./test.sh --all) for all cases there too. */
bool mq_test_sampled(void);

/* Says that a part of a test does not run, and why; ./test.sh repeats it at its end. */
void mq_test_left_out(const char *what_and_why);

/* For measurements of quality, which cost minutes under a sanitizer and whose code other tests run
 * there too: skips the program where samples are run, and returns true. */
bool mq_test_skip_if_sampled(void);

/* A fixed-seed generator for test data: splitmix64. */
uint64_t mq_test_random(uint64_t *state);
float mq_test_uniform(uint64_t *state); /* in [0, 1) */
float mq_test_gauss(uint64_t *state);   /* mean 0, variance 1 */

/* n bytes whose end touches an inaccessible page: reading one too many faults. Never freed. */
void *mq_test_guarded(size_t n);

#define ck_assert_ok(expression)                                                                   \
    do {                                                                                           \
        moeq_status ck_status_ = (expression);                                                     \
        ck_assert_msg(ck_status_ == MOEQ_OK, "%s: %s", #expression, moeq_status_text(ck_status_)); \
    } while (0)

#endif
