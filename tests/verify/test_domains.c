/* Texts with names: each is cut by itself and has the figures that it has alone; together they are the windows of
 * all; a recording gives them again; and the rule of the warning. */
#include "buffer.h"
#include "comparison_json.h"
#include "domains.h"
#include "json.h"
#include "record.h"
#include "stored.h"
#include "test_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 64, TOKENS = 192 };

/* The demo's text twice: its beginning as "tide", and from a later line on as "rest". */
static const struct mq_text *two_texts(void)
{
    static struct mq_text text;
    static struct mq_text_source sources[2];
    const struct mq_text *demo = mq_test_text(mq_test_source("demo/text.txt"));
    const char *later = strchr(demo->data + 20000, '\n') + 1;
    sources[0] = (struct mq_text_source){
        .name = "tide.txt", .size = (size_t)(later - demo->data), .domain = "tide"};
    sources[1] = (struct mq_text_source){.name = "rest.txt",
                                         .offset = sources[0].size,
                                         .size = demo->size - sources[0].size,
                                         .domain = "rest"};
    text = (struct mq_text){"tide.txt + rest.txt", demo->data, demo->size, sources, 2};
    return &text;
}

static struct mq_comparison compare(const struct mq_baseline *baseline,
                                    const struct mq_candidate *arm, const struct mq_text *text)
{
    const struct mq_context ctx = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_comparison_options options = {
        .text = text, .protocol = {.context = LENGTH, .max_tokens = TOKENS}};
    struct mq_comparison result;
    moeq_error err = {0};
    ck_assert_msg(mq_compare(&ctx, baseline, arm, 1, &options, &result, &err) == MOEQ_OK, "%s",
                  err.message);
    return result;
}

static void same_figures(const struct mq_arm_result *domain, const struct mq_arm_result *alone)
{
    ck_assert(domain->kld.mean.value == alone->kld.mean.value);
    ck_assert(domain->kld.mean.se == alone->kld.mean.se);
    ck_assert(domain->kld.p99 == alone->kld.p99);
    ck_assert(domain->same_top.value == alone->same_top.value);
    ck_assert(domain->delta_p_rms.value == alone->delta_p_rms.value);
    ck_assert(domain->ppl_ratio.value == alone->ppl_ratio.value);
    for (int k = 0; k < MQ_ROUTING_COUNT; k++)
        ck_assert(domain->routing.overall.metric[k].value ==
                  alone->routing.overall.metric[k].value);
}

START_TEST(each_by_itself)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    const struct mq_baseline baseline = mq_baseline_of(view);
    const struct mq_candidate arm = {.name = "q3_k",
                                     .policy = mq_policy_default(mq_level_find("q3_k"))};
    const struct mq_text *text = two_texts();
    struct mq_comparison both = compare(&baseline, &arm, text);
    ck_assert_uint_eq(both.text.domains_count, 2);
    ck_assert_uint_eq(both.text.windows.count, 6); /* --tokens is of each */
    ck_assert_uint_eq(both.rows[1].result.domains_count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct mq_text one = mq_text_domain(text, i);
        struct mq_text_source source = {.name = one.name, .size = one.size};
        one.sources = &source;
        one.count = 1;
        struct mq_comparison alone = compare(&baseline, &arm, &one);
        ck_assert_uint_eq(alone.text.domains_count, 0);
        ck_assert_int_eq(
            memcmp(alone.text.ids, both.text.ids + i * TOKENS, TOKENS * sizeof(int32_t)), 0);
        same_figures(&both.rows[1].result.domains[i].figures, &alone.rows[1].result);
        mq_comparison_free(&alone);
    }
    mq_comparison_free(&both);
    mq_view_close(view);
}
END_TEST

START_TEST(recorded)
{
    const struct mq_context ctx = {.isa = mq_isa_detect(), .threads = 2};
    const char *path = mq_test_temporary("domains.moeqref");
    const char *const paths[] = {mq_test_source("tests/fixtures/tasks/words.jsonl"), NULL};
    struct mq_task_files tasks;
    struct mq_view *view, *file;
    struct mq_baseline baseline;
    struct mq_record_result written;
    moeq_error err = {0};
    ck_assert_ok(mq_task_files_read(paths, &tasks, &err));
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &file, &err));
    const struct mq_record_options options = {
        .text = two_texts(),
        .output_path = path,
        .protocol = {.context = LENGTH, .max_tokens = TOKENS, .tasks = &tasks},
        .replace = true};
    ck_assert_msg(mq_record(&ctx, view, &options, &written, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_msg(mq_baseline_open(&ctx, path, NULL, &baseline, &err) == MOEQ_OK, "%s",
                  err.message);
    const struct mq_candidate arm = {.name = "A", .file = file};
    struct mq_comparison all = compare(&baseline, &arm, NULL);
    struct mq_comparison again = compare(&baseline, &arm, two_texts()); /* the same text is fine */
    const struct mq_arm_result *r = &all.rows[1].result;
    ck_assert_uint_eq(r->domains_count, 2);
    ck_assert_str_eq(r->domains[1].name, "rest");
    ck_assert_uint_eq(again.text.domains_count, 2);
    for (size_t i = 0; i < 2; i++) {
        ck_assert(r->domains[i].figures.kld.max == 0);
        ck_assert(r->domains[i].figures.routing.overall.metric[0].value == 1);
        ck_assert_uint_eq(all.text.domains[i].windows, TOKENS / LENGTH);
    }
    ck_assert_uint_eq(r->tasks.count, 30);
    ck_assert(r->tasks.agreement.value == 1 && r->tasks.agreement_norm.value == 1);
    ck_assert(r->tasks.accuracy.value == all.rows[0].result.tasks.accuracy.value);
    ck_assert_str_eq(r->task_groups[0].name, "words");
    mq_comparison_free(&all);
    mq_comparison_free(&again);
    mq_baseline_close(&baseline);
    mq_view_close(view);
    mq_view_close(file);
    mq_task_files_free(&tasks);
}
END_TEST

START_TEST(rule)
{
    struct mq_domain_result d[3] = {
        {.name = "chat", .kld = {0.01, 0.001, 0.009, 0.012}},
        {.name = "code", .kld = {0.08, 0.001, 0.07, 0.09}},
        {.name = "sql", .kld = {0.05, 0.001, 0.04, 0.06}},
    };
    struct mq_arm_result r = {.domains = d, .domains_count = 3};
    struct mq_buffer b = {0};
    ck_assert_int_eq(mq_domain_state(&d[0]), MQ_DOMAIN_FINE);
    ck_assert_int_eq(mq_domain_state(&d[1]), MQ_DOMAIN_NOT_FINE);
    ck_assert_int_eq(mq_domain_state(&d[2]), MQ_DOMAIN_UNKNOWN); /* the bound is within */
    ck_assert(mq_domains_warning(&r, &b));
    ck_assert_ptr_nonnull(strstr(b.data, "fine in chat (0.01 nats), but not in code (0.08 nats):"));
    d[1].kld = (struct mq_bootstrap){0.08, NAN, NAN, NAN}; /* one window: not known */
    ck_assert(!mq_domains_warning(&r, &b));
    mq_buffer_free(&b);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, each_by_itself);
    tcase_add_test(tests, recorded);
    tcase_add_test(tests, rule);
}

int main(void)
{
    return mq_test_main("domains", add);
}
