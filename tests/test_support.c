/* test_support.c: what every test program shares. */
#include "test_support.h"
#include "text_input.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *test_name = "test";
static int skipped;

int mq_test_main(const char *name, void (*add_tests)(TCase *tests))
{
    test_name = name;
    Suite *suite = suite_create(name);
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 600);
    add_tests(tests);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : skipped ? 77 : 0;
}

static const char *join(const char *folder, const char *relative)
{
    static char ring[8][1024];
    static unsigned next;
    char *path = ring[next++ % 8];
    snprintf(path, sizeof ring[0], "%s/%s", folder, relative);
    return path;
}

int mq_test_main_reference(int argc, char **argv, const char *name, void (*add_tests)(TCase *tests),
                           void (*add_reference_tests)(TCase *tests))
{
    if (argc < 2 || strcmp(argv[1], "reference") != 0)
        return mq_test_main(name, add_tests);
    /* A name of its own: the two entries run at the same time, and the name is that of their folder. */
    static char reference[128];
    snprintf(reference, sizeof reference, "%s_reference", name);
    test_name = reference;
    if (!mq_test_shared("."))
        mq_test_skip("the reference models and tokenizers are not beside the source tree");
    return skipped ? 77 : mq_test_main(reference, add_reference_tests);
}

const char *mq_test_source(const char *relative)
{
    return join(MQ_TEST_SOURCE_DIR, relative);
}

const char *mq_test_shared(const char *relative)
{
    const char *path = join(MQ_TEST_SOURCE_DIR "/../shared", relative);
    if (access(path, R_OK) == 0)
        return path;
    fprintf(stderr, "%s: no reference data at %s\n", test_name, path);
    return NULL;
}

const struct mq_text *mq_test_text(const char *path)
{
    static struct mq_text texts[16];
    static char paths[16][1024];
    size_t i = 0;
    if (!path)
        return NULL;
    while (i < 15 && paths[i][0] && strcmp(paths[i], path) != 0)
        i++;
    if (!paths[i][0]) {
        const char *kept = paths[i];
        moeq_error err = {0};
        snprintf(paths[i], sizeof paths[i], "%s", path);
        ck_assert_msg(mq_text_read(&kept, 1, &texts[i], &err) == MOEQ_OK, "%s", err.message);
    }
    ck_assert_str_eq(paths[i], path);
    return &texts[i];
}

const char *mq_test_temporary(const char *name)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s/tmp/%s", MQ_TEST_BINARY_DIR, test_name);
    mkdir(MQ_TEST_BINARY_DIR "/tmp", 0777);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        ck_abort_msg("cannot make %s", folder);
    return join(folder, name);
}

static bool is_sanitized(void)
{
#ifdef __SANITIZE_ADDRESS__
    return true;
#else
    return false;
#endif
}

bool mq_test_sampled(void)
{
    const char *all = getenv("MOEQ_TEST_ALL");
    return is_sanitized() && !(all && all[0]);
}

bool mq_test_skip_if_sampled(void)
{
    if (mq_test_sampled())
        mq_test_skip("a measurement for the optimized build (MOEQ_TEST_ALL=1 runs it here too)");
    return mq_test_sampled();
}

void mq_test_left_out(const char *what_and_why)
{
    fprintf(stderr, "%s: left out: %s\n", test_name, what_and_why);
}

void mq_test_skip(const char *why)
{
    fprintf(stderr, "%s: skipped: %s\n", test_name, why);
    skipped = 1;
}

uint64_t mq_test_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

float mq_test_uniform(uint64_t *state)
{
    return (float)(mq_test_random(state) >> 40) * 0x1p-24f;
}

float mq_test_gauss(uint64_t *state)
{
    const double u = (double)(mq_test_random(state) >> 11) * 0x1p-53 + 0x1p-54;
    const double v = (double)(mq_test_random(state) >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

void *mq_test_guarded(size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = (n + page - 1) / page * page;
    char *p = mmap(NULL, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    ck_assert_int_eq(mprotect(p + body, page, PROT_NONE), 0);
    return p + body - n;
}
