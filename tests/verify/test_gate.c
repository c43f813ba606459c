/* Gates: what is read, what is refused, what breaks a limit, what is written; and the bootstrap. */
#include "new_file.h"
#include "stored.h"
#include "test_support.h"
#include "family.h"
#include "gate.h"
#include "json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mq_view *demo(void)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    return view;
}

/* A result made up: one model, three layers with routers. */
struct made_up {
    struct mq_comparison result;
    struct mq_baseline baseline;
    struct mq_comparison_row rows[2];
    struct mq_routing_layer layers[3];
    struct mq_view *view, file;
};

static void make_up(struct made_up *m)
{
    memset(m, 0, sizeof *m);
    m->view = demo();
    struct mq_arm_result *r = &m->rows[1].result;
    r->ppl_ratio = (struct mq_estimate){1.01, 0.002};
    r->kld.mean = (struct mq_estimate){0.02, 0.001};
    r->kld.p99 = 0.5;
    r->same_top = (struct mq_estimate){0.95, 0.01};
    r->has_routing = true;
    r->routing.layers = m->layers;
    r->routing.layers_count = 3;
    for (int k = 0; k < MQ_ROUTING_COUNT; k++)
        r->routing.overall.metric[k] = (struct mq_estimate){0.9, 0.01};
    for (uint32_t l = 0; l < 3; l++) {
        m->layers[l].layer = l;
        for (int k = 0; k < MQ_ROUTING_COUNT; k++)
            m->layers[l].rates.metric[k] = (struct mq_estimate){0.8 + 0.05 * l, 0.01};
    }
    m->rows[1].file_bytes = 1000;
    m->file = *m->view;
    m->file.path = "folder/a <b> & \"c\"\x01.moeq";
    m->rows[1].kind = MQ_ROW_FILE;
    m->rows[1].file = &m->file;
    m->baseline = mq_baseline_of(m->view);
    m->result = (struct mq_comparison){.baseline = &m->baseline,
                                       .rows = m->rows,
                                       .rows_count = 2,
                                       .candidates_count = 1,
                                       .files_count = 1,
                                       .text = {.ids_crc32 = 0xabcd1234}};
}

static const char *write_text(const char *name, const char *text)
{
    const char *path = mq_test_temporary(name);
    moeq_error err = {0};
    ck_assert_ok(mq_file_replace(path, text, strlen(text), &err));
    return path;
}

/* Reads and resolves; NULL and a message if that fails. */
static struct mq_gate *read_gate(const char *text, const struct mq_view *view, moeq_error *err)
{
    struct mq_gate *gate;
    memset(err, 0, sizeof *err);
    if (mq_gate_read(write_text("gate.json", text), &gate, err) != MOEQ_OK)
        return NULL;
    if (mq_gate_resolve(gate, view, false, err) != MOEQ_OK) {
        mq_gate_free(gate);
        return NULL;
    }
    return gate;
}

START_TEST(refusals)
{
    static const struct {
        const char *limits, *message; /* limits NULL: message's text is the whole */
        const char *whole;
    } cases[] = {
        {"", "has no \"limits\"", NULL},
        {"\"kld.mean\": {}", "neither \"min\" nor \"max\"", NULL},
        {"\"kld.mean\": 3", "expected an object", NULL},
        {"\"kld.mean\": {\"maxx\": 1}", "unknown key 'maxx'", NULL},
        {"\"kld.mean\": {\"max\": \"1\"}", "is no number", NULL},
        {"\"kld.mean\": {\"max\": null}", "is no number", NULL},
        {"\"kld.mean\": {\"max\": 1, \"min\": 2}", "nothing passes", NULL},
        {"\"kld.mean\": {\"max\": 1, \"max\": 2}", "max", NULL},
        {"\"kld.mean\": {\"max\": 1}, \"kld.mean\": {\"max\": 2}", "kld.mean", NULL},
        {"\"kld.meen\": {\"max\": 1}", "did you mean 'kld.mean'?", NULL},
        {"\"exact_set_rate\": {\"min\": 1}", "did you mean 'routing.exact_set'?", NULL},
        {"\"kld_nats.p99\": {\"max\": 1}", "did you mean 'kld.p99'?", NULL},
        {"\"routing.layer.2.exact_set\": {\"min\": 1}", "'routing.layers.2.exact_set'?", NULL},
        {"\"routing.layers.3.exact_set\": {\"min\": 1}", "no router in that layer", NULL},
        {"\"routing.layers.03.exact_set\": {\"min\": 1}", "unknown metric", NULL},
        {"\"routing.layers.{n}.exact_set\": {\"min\": 1}", "unknown metric", NULL},
        {"\"routing.layers.99999999999.exact_set\": {\"min\": 1}", "unknown metric", NULL},
        {"\"kld.changed_layers.9\": {\"max\": 1}", "there is no such number", NULL},
        {"\"b_minus_a.kld.mean\": {\"max\": 1}", "needs two models", NULL},
        {"\"zzzzzzzzzzzzzzzzzzzzzzzz\": {\"max\": 1}", "docs/gates.md", NULL},
        {"\"\": {\"max\": 1}", "unknown metric", NULL},
        {NULL, "unknown key 'limit'", "{\"moeq_gate\":1,\"limit\":{}}"},
        {NULL, "version 1", "{\"moeq_gate\":2,\"limits\":{\"ppl\":{\"max\":1}}}"},
        {NULL, "is no gate", "{\"limits\":{\"ppl\":{\"max\":1}}}"},
        {NULL, "is no gate", "[1]"},
        {NULL, "JSON", "{\"moeq_gate\":1,"},
        {NULL, "JSON", ""},
        {NULL, "hexadecimal", "{\"moeq_gate\":1,\"token_ids_crc32\":7,\"limits\":{}}"},
        {NULL, "\"f32\" or \"int8\"", "{\"moeq_gate\":1,\"compute\":\"int4\",\"limits\":{}}"},
        {NULL, "\"baseline_compute\": expected",
         "{\"moeq_gate\":1,\"baseline_compute\":8,\"limits\":{}}"},
    };
    struct mq_view *view = demo();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        moeq_error err;
        snprintf(text, sizeof text, "{\"moeq_gate\": 1, \"limits\": {%s}}",
                 cases[i].limits ? cases[i].limits : "");
        struct mq_gate *gate = read_gate(cases[i].whole ? cases[i].whole : text, view, &err);
        ck_assert_msg(gate == NULL, "%s", text);
        ck_assert_msg(strstr(err.message, cases[i].message) && strstr(err.message, "gate.json"),
                      "%s: %s", text, err.message);
    }
    mq_view_close(view);
}
END_TEST

static void check_line(const struct mq_gate *gate, size_t limit, const char *expected)
{
    char line[256];
    mq_gate_describe(&gate->limits[limit], line, sizeof line);
    ck_assert_str_eq(line, expected);
}

START_TEST(judgement)
{
    struct made_up m;
    moeq_error err;
    make_up(&m);
    struct mq_gate *gate = read_gate("{\"moeq_gate\": 1, \"made\": {\"by\": [1]}, \"limits\": {"
                                     "\"kld.mean\": {\"max\": 0.02, \"min\": 0.0},"
                                     "\"ppl.ratio\": {\"max\": 1.0099},"
                                     "\"routing.layers.1.exact_set\": {\"min\": 0.93},"
                                     "\"kld.changed_layers.8\": {\"max\": 1000},"
                                     "\"file_bytes\": {\"max\": 999}}}",
                                     m.view, &err);
    ck_assert_msg(gate != NULL, "%s", err.message);
    ck_assert_ok(mq_gate_judge(gate, &m.result, &err));
    ck_assert_uint_eq(gate->count, 6);
    ck_assert_uint_eq(gate->broken, 4);
    check_line(gate, 0, "kld.mean 0.02, max 0.02 (se 0.001)"); /* the bound itself is kept */
    check_line(gate, 2, "ppl.ratio 1.01 > max 1.0099 by 0.0001 (se 0.002)");
    check_line(gate, 3, "routing.layers.1.exact_set 0.85 < min 0.93 by 0.08 (se 0.01)");
    check_line(gate, 4, "kld.changed_layers.8 is not defined here, max 1000");
    check_line(gate, 5, "file_bytes 1000 > max 999 by 1 (se 0)");
    mq_gate_free(gate);

    gate = read_gate("{\"moeq_gate\": 1, \"token_ids_crc32\": \"abcd1235\", \"limits\": {"
                     "\"ppl.ratio\": {\"max\": 2}}}",
                     m.view, &err);
    ck_assert_ptr_nonnull(gate);
    ck_assert_int_eq(mq_gate_judge(gate, &m.result, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "other tokens"));
    mq_gate_free(gate);
    mq_view_close(m.view);
}
END_TEST

/* Which arithmetic a gate is about, and that it is refused of any other. */
START_TEST(arithmetic)
{
    static const struct {
        const char *keys;
        enum mq_compute models, baseline; /* of the result that it is about */
    } cases[] = {
        {"", MQ_COMPUTE_F32, MQ_COMPUTE_F32},
        {"\"compute\": \"f32\",", MQ_COMPUTE_F32, MQ_COMPUTE_F32},
        {"\"compute\": \"int8\",", MQ_COMPUTE_INT8, MQ_COMPUTE_INT8},
        {"\"baseline_compute\": \"f32\", \"compute\": \"int8\",", MQ_COMPUTE_INT8, MQ_COMPUTE_F32},
        {"\"baseline_compute\": \"int8\",", MQ_COMPUTE_F32, MQ_COMPUTE_INT8},
    };
    struct made_up m;
    make_up(&m);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        moeq_error err;
        snprintf(text, sizeof text,
                 "{\"moeq_gate\": 1, %s \"limits\": {\"ppl.ratio\": {\"max\": 2}}}", cases[i].keys);
        struct mq_gate *gate = read_gate(text, m.view, &err);
        ck_assert_msg(gate != NULL, "%s", err.message);
        for (int k = 0; k < 4; k++) {
            m.result.compute = k & 1 ? MQ_COMPUTE_INT8 : MQ_COMPUTE_F32;
            m.rows[0].compute = k & 2 ? MQ_COMPUTE_INT8 : MQ_COMPUTE_F32;
            const bool same =
                m.result.compute == cases[i].models && m.rows[0].compute == cases[i].baseline;
            err = (moeq_error){0};
            ck_assert_int_eq(mq_gate_judge(gate, &m.result, &err),
                             same ? MOEQ_OK : MOEQ_INVALID_ARGUMENT);
            ck_assert(same || strstr(err.message, "use the same arithmetic"));
        }
        /* what is written of such a result is about it */
        struct mq_gate *written;
        const char *path = mq_test_temporary("arithmetic.json");
        m.result.compute = cases[i].models;
        m.rows[0].compute = cases[i].baseline;
        ck_assert_ok(mq_gate_write(path, &m.result, 0.1, false, NULL, &err));
        ck_assert_msg(mq_gate_read(path, &written, &err) == MOEQ_OK, "%s", err.message);
        ck_assert_int_eq(written->compute, cases[i].models);
        ck_assert_int_eq(written->baseline_compute, cases[i].baseline);
        mq_gate_free(written);
        mq_gate_free(gate);
    }
    mq_view_close(m.view);
}
END_TEST

/* Routing of a dense model: known names without values. */
START_TEST(undefined)
{
    struct made_up m;
    moeq_error err;
    make_up(&m);
    m.rows[1].result.has_routing = false;
    m.rows[1].result.kld.mean.value = NAN;
    struct mq_gate *gate = read_gate("{\"moeq_gate\": 1, \"limits\": {"
                                     "\"kld.mean\": {\"max\": 1e300},"
                                     "\"routing.exact_set\": {\"min\": -1}}}",
                                     m.view, &err);
    ck_assert_ptr_nonnull(gate);
    ck_assert_ok(mq_gate_judge(gate, &m.result, &err));
    ck_assert_uint_eq(gate->broken, 2);
    mq_gate_free(gate);
    mq_view_close(m.view);
}
END_TEST

static double bound_of(const struct mq_gate *gate, const char *name, bool is_max)
{
    for (size_t i = 0; i < gate->count; i++)
        if (strcmp(gate->limits[i].name, name) == 0 && gate->limits[i].is_max == is_max)
            return gate->limits[i].bound;
    ck_abort_msg("no limit %s", name);
}

START_TEST(written)
{
    struct made_up m;
    moeq_error err = {0};
    struct mq_gate *gate;
    const char *path = mq_test_temporary("written.json");
    make_up(&m);
    ck_assert_ok(mq_gate_write(path, &m.result, 0.1, false, NULL, &err));
    ck_assert_msg(mq_gate_read(path, &gate, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_ok(mq_gate_resolve(gate, m.view, false, &err));
    ck_assert_ok(mq_gate_judge(gate, &m.result, &err));
    ck_assert_uint_eq(gate->broken, 0);
    ck_assert_uint_eq(gate->count, 8 + 3);
    ck_assert(gate->has_ids_crc32 && gate->ids_crc32 == 0xabcd1234);
    ck_assert_double_eq_tol(bound_of(gate, "kld.mean", true), 0.022 + 1e-6, 1e-10);
    ck_assert_double_eq_tol(bound_of(gate, "ppl.ratio", true), 1.011 + 1e-4, 1e-8);
    ck_assert_double_eq_tol(bound_of(gate, "same_top", false), 1 - 0.055 - 5e-4, 1e-8);
    ck_assert_double_eq_tol(bound_of(gate, "routing.layers.2.exact_set", false), 0.89 - 5e-4, 1e-8);
    mq_gate_free(gate);
    m.rows[1].result.ppl_ratio.value = 0.99; /* luck: the baseline's own perplexity must pass */
    ck_assert_ok(mq_gate_write(path, &m.result, 0, false, NULL, &err));
    ck_assert_ok(mq_gate_read(path, &gate, &err));
    ck_assert_double_eq_tol(bound_of(gate, "ppl.ratio", true), 1 + 1e-4, 1e-8);
    mq_gate_free(gate);
    mq_view_close(m.view);
}
END_TEST

START_TEST(junit)
{
    struct made_up m;
    moeq_error err = {0};
    struct mq_buffer xml = {0};
    const char *path = mq_test_temporary("junit.xml");
    make_up(&m);
    struct mq_gate *gate = read_gate("{\"moeq_gate\": 1, \"limits\": {"
                                     "\"kld.mean\": {\"max\": 0.01},"
                                     "\"ppl.ratio\": {\"max\": 2}}}",
                                     m.view, &err);
    ck_assert_ptr_nonnull(gate);
    ck_assert_ok(mq_gate_judge(gate, &m.result, &err));
    ck_assert_ok(mq_gate_write_junit(path, gate, &m.result, NULL, &err));
    ck_assert_ok(mq_file_read_all(path, 10000, &xml, &err));
    ck_assert_str_eq(
        xml.data,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuites name=\"moeq verify\" tests=\"2\" failures=\"1\">\n"
        "  <testsuite name=\"moeq verify\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">\n"
        "    <testcase classname=\"moeq.verify.a &lt;b&gt; &amp; &quot;c&quot;?.moeq\" "
        "name=\"kld.mean max 0.01\">\n"
        "      <failure type=\"regression\" message=\"kld.mean 0.02 &gt; max 0.01 by 0.01 "
        "(se 0.001)\"/>\n"
        "    </testcase>\n"
        "    <testcase classname=\"moeq.verify.a &lt;b&gt; &amp; &quot;c&quot;?.moeq\" "
        "name=\"ppl.ratio max 2\"/>\n"
        "  </testsuite>\n"
        "</testsuites>\n");
    mq_buffer_free(&xml);
    mq_gate_free(gate);
    mq_view_close(m.view);
}
END_TEST

/* Every metric is found by the name that it prints. */
START_TEST(names)
{
    struct mq_view *view = demo();
    moeq_error err = {0};
    size_t count = 0;
    for (struct mq_metric metric = {0}; mq_metric_next(&metric, view, true); count++) {
        struct mq_metric found;
        char name[MQ_METRIC_NAME];
        mq_metric_print(metric.figure, metric.scope, metric.n, name);
        ck_assert_msg(mq_metric_find(name, view, true, "x", &found, &err) == MOEQ_OK, "%s",
                      err.message);
        ck_assert_ptr_eq(found.figure, metric.figure);
        ck_assert(found.scope == metric.scope && found.n == metric.n);
    }
    size_t expected = 0;
    for (size_t i = 0; i < MQ_FIGURE_COUNT; i++) {
        const struct mq_figure *f = &mq_figures[i];
        expected += f->scope == MQ_OF_MODEL ? 1 : 9; /* groups of tokens, bins of margins */
        expected += 3 * f->per_layer + (f->difference != NULL);
    }
    ck_assert_uint_eq(count, expected);
    mq_view_close(view);
}
END_TEST

/* The interval of a mean of n values with deviation s is about +-1.96 s / sqrt(n). */
START_TEST(bootstrap)
{
    double x[400];
    uint64_t seed = 1;
    for (int i = 0; i < 400; i++)
        x[i] = 3 + 2 * (double)mq_test_gauss(&seed);
    const struct mq_bootstrap a = mq_bootstrap_mean(x, 400), b = mq_bootstrap_mean(x, 400);
    ck_assert(memcmp(&a, &b, sizeof a) == 0);
    ck_assert(a.mean == mq_estimate_mean(x, 400).value);
    ck_assert_double_eq_tol(a.se, 0.1, 0.01);
    ck_assert_double_eq_tol(a.low, a.mean - 0.196, 0.03);
    ck_assert_double_eq_tol(a.high, a.mean + 0.196, 0.03);
    const double same[] = {0.1, 0.1, 0.1};
    const struct mq_bootstrap c = mq_bootstrap_mean(same, 3);
    ck_assert(c.se < 1e-12 && fabs(c.low - 0.1) < 1e-12 && fabs(c.high - 0.1) < 1e-12);
    const struct mq_bootstrap one = mq_bootstrap_mean(x, 1);
    ck_assert(one.mean == x[0] && isnan(one.se) && isnan(one.low) && isnan(one.high));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, judgement);
    tcase_add_test(tests, arithmetic);
    tcase_add_test(tests, undefined);
    tcase_add_test(tests, written);
    tcase_add_test(tests, junit);
    tcase_add_test(tests, names);
    tcase_add_test(tests, bootstrap);
}

int main(void)
{
    return mq_test_main("test_gate", add);
}
