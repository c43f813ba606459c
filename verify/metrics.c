/* metrics.c: the table of metrics, and how to get at their values. */
#include "metrics.h"

#include "error.h"
#include "nearest.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stands at a metric's offset: from the start of struct mq_sweep_row, mq_routing_layer or
 * mq_flip_group, by scope. A pair's offset is the number of its figure. */
enum { ESTIMATE, DOUBLE, COUNT, CHANGED_RATE, DIFFERENCE };

#define LESS false
#define MORE true
/* A rate may move by 0.05 points, a divergence by a millionth of a nat, whatever the margin. */
#define RATE_SLACK 5e-4
#define NATS_SLACK 1e-6

#define ROW(field) offsetof(struct mq_sweep_row, result.field)
#define OVERALL(id) ROW(routing.overall.metric[MQ_ROUTING_##id])
#define LAYER(id) offsetof(struct mq_routing_layer, rates.metric[MQ_ROUTING_##id])

/* name, id, direction, ideal, slack, written overall, written per layer, what */
#define ROUTING_METRICS(X)                                                                   \
    X("exact_set", EXACT_SET, MORE, 1, RATE_SLACK, true, true, "same set of experts")        \
    X("overlap", OVERLAP, MORE, 1, RATE_SLACK, false, false, "share of experts kept")        \
    X("top1_expert", TOP1, MORE, 1, RATE_SLACK, true, false, "same first expert")            \
    X("weighted_agreement", WEIGHTED, MORE, 1, RATE_SLACK, true, false,                      \
      "sum of the smaller of the two weights")                                               \
    X("cr1", CR1, LESS, 0, RATE_SLACK, false, false, "all experts changed")                  \
    X("cr2", CR2, LESS, 0, RATE_SLACK, false, false, "at least one expert changed")          \
    X("cr3", CR3, LESS, 0, RATE_SLACK, false, false, "at least half of the experts changed") \
    X("router_kl", ROUTER_KL, LESS, 0, NATS_SLACK, true, false,                              \
      "KL divergence of the routers, nats")

const struct mq_metric mq_metrics[] = {
    {"ppl.ratio", MQ_SCOPE_MODEL, LESS, 1, 1e-4, true, "perplexity / the baseline's", ESTIMATE,
     ROW(ppl_ratio)},
    {"ppl.log_ratio", MQ_SCOPE_MODEL, LESS, 0, 1e-4, false, "its logarithm: paired, nats", ESTIMATE,
     ROW(log_ppl_ratio)},
    {"ppl", MQ_SCOPE_MODEL, LESS, 0, 0, false, "perplexity", ESTIMATE, ROW(perplexity.ppl)},
    {"nll", MQ_SCOPE_MODEL, LESS, 0, 0, false, "mean -ln p, nats a token", ESTIMATE,
     ROW(perplexity.nll)},
    {"kld.mean", MQ_SCOPE_MODEL, LESS, 0, NATS_SLACK, true,
     "KL divergence of the output, nats a token", ESTIMATE, ROW(kld.mean)},
    {"kld.median", MQ_SCOPE_MODEL, LESS, 0, NATS_SLACK, false, "its median", DOUBLE,
     ROW(kld.median)},
    {"kld.p90", MQ_SCOPE_MODEL, LESS, 0, NATS_SLACK, false, "its 90th percentile", DOUBLE,
     ROW(kld.p90)},
    {"kld.p99", MQ_SCOPE_MODEL, LESS, 0, NATS_SLACK, true, "its 99th percentile", DOUBLE,
     ROW(kld.p99)},
    {"kld.p99_9", MQ_SCOPE_MODEL, LESS, 0, NATS_SLACK, false, "its 99.9th percentile", DOUBLE,
     ROW(kld.p99_9)},
    {"kld.max", MQ_SCOPE_MODEL, LESS, 0, NATS_SLACK, false, "its maximum", DOUBLE, ROW(kld.max)},
    {"kld.changed_layers.{n}", MQ_SCOPE_CHANGED, LESS, 0, NATS_SLACK, false,
     "its mean where {n} layers chose other experts (8: or more)", ESTIMATE,
     offsetof(struct mq_flip_group, kld)},
    {"same_top", MQ_SCOPE_MODEL, MORE, 1, RATE_SLACK, true, "same most likely token", ESTIMATE,
     ROW(same_top)},
#define OVERALL_ROW(name, id, better, ideal, slack, written, per_layer, what) \
    {"routing." name, MQ_SCOPE_ROUTING, better, ideal, slack, written, what, ESTIMATE, OVERALL(id)},
    ROUTING_METRICS(OVERALL_ROW)
#undef OVERALL_ROW
        {"routing.load_shift", MQ_SCOPE_ROUTING, LESS, 0, RATE_SLACK, false,
         "share of the choices that moved to other experts, whichever tokens'", DOUBLE,
         ROW(routing.load_shift)},
#define LAYER_ROW(name, id, better, ideal, slack, written, per_layer, what)         \
    {"routing.layers.{n}." name, MQ_SCOPE_LAYER, better,   ideal, slack, per_layer, \
     what " in layer {n}",       ESTIMATE,       LAYER(id)},
    ROUTING_METRICS(LAYER_ROW)
#undef LAYER_ROW
        {"routing.layers.{n}.load_shift", MQ_SCOPE_LAYER, LESS, 0, RATE_SLACK, false,
         "share of the choices that moved in layer {n}", DOUBLE,
         offsetof(struct mq_routing_layer, load_shift)},
    {"routing.margins.{n}.changed", MQ_SCOPE_MARGIN, LESS, 0, RATE_SLACK, false,
     "changed share of the choices in margin bin {n}, 0 to 8", CHANGED_RATE, 0},
    {"bits_per_weight", MQ_SCOPE_MODEL, LESS, 0, 0, false, "8 weight_bytes / weights", DOUBLE,
     offsetof(struct mq_sweep_row, bits_per_weight)},
    {"weight_bytes", MQ_SCOPE_MODEL, LESS, 0, 0, false, "bytes of all weights", COUNT,
     offsetof(struct mq_sweep_row, weight_bytes)},
    {"file_bytes", MQ_SCOPE_MODEL, LESS, 0, 0, false, "bytes of the model's files", COUNT,
     offsetof(struct mq_sweep_row, file_bytes)},
    {"b_minus_a.nll", MQ_SCOPE_PAIR, LESS, 0, NATS_SLACK, false, "nats a token", DIFFERENCE,
     MQ_WINDOW_NLL},
    {"b_minus_a.kld.mean", MQ_SCOPE_PAIR, LESS, 0, NATS_SLACK, false, "nats a token", DIFFERENCE,
     MQ_WINDOW_KLD},
    {"b_minus_a.same_top", MQ_SCOPE_PAIR, MORE, 0, RATE_SLACK, false, "same most likely token",
     DIFFERENCE, MQ_WINDOW_SAME_TOP},
#define PAIR_ROW(name, id, better, ideal, slack, written, per_layer, what)                         \
    {"b_minus_a.routing." name,          MQ_SCOPE_PAIR, better, 0, slack, false, what, DIFFERENCE, \
     MQ_WINDOW_ROUTING + MQ_ROUTING_##id},
    ROUTING_METRICS(PAIR_ROW)
#undef PAIR_ROW
};
const size_t mq_metrics_count = sizeof mq_metrics / sizeof *mq_metrics;

/* ---- names ---- */

#define NUMBER "{n}"

void mq_metric_print(const struct mq_metric *metric, uint32_t n, char name[MQ_METRIC_NAME])
{
    const char *at = strstr(metric->name, NUMBER);
    if (at)
        snprintf(name, MQ_METRIC_NAME, "%.*s%" PRIu32 "%s", (int)(at - metric->name), metric->name,
                 n, at + strlen(NUMBER));
    else
        snprintf(name, MQ_METRIC_NAME, "%s", metric->name);
}

/* Whether a name is the metric's, with any number (in canonical form) for {n}. */
static bool matches(const struct mq_metric *metric, const char *name, uint32_t *n)
{
    const char *at = strstr(metric->name, NUMBER);
    const size_t before = at ? (size_t)(at - metric->name) : 0;
    *n = 0;
    if (!at)
        return strcmp(metric->name, name) == 0;
    if (strncmp(metric->name, name, before) != 0)
        return false;
    const char *digits = name + before;
    const size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 9 || (count > 1 && digits[0] == '0'))
        return false;
    *n = (uint32_t)strtoul(digits, NULL, 10);
    return strcmp(digits + count, at + strlen(NUMBER)) == 0;
}

/* The nearest metric that exists, with the number that the name has, or 0. */
static bool suggest(const char *name, const struct mq_view *view, bool pair,
                    char nearest[MQ_METRIC_NAME])
{
    char names[sizeof mq_metrics / sizeof *mq_metrics][MQ_METRIC_NAME];
    const char *pointers[sizeof mq_metrics / sizeof *mq_metrics];
    const char *digits = name + strcspn(name, "0123456789");
    const unsigned long typed = strtoul(digits, NULL, 10);
    size_t count = 0;
    for (size_t i = 0; i < mq_metrics_count; i++) {
        const struct mq_metric *m = &mq_metrics[i];
        const uint32_t n = typed < UINT32_MAX ? (uint32_t)typed : 0;
        if (m->scope == MQ_SCOPE_PAIR && !pair)
            continue;
        mq_metric_print(m, mq_metric_exists(m, n, view) ? n : 0, names[count]);
        pointers[count] = names[count];
        count++;
    }
    const char *found = mq_nearest(name, pointers, count);
    if (found)
        memcpy(nearest, found, strlen(found) + 1);
    return found != NULL;
}

moeq_status mq_metric_find(const char *name, const struct mq_view *view, bool pair,
                           const char *where, const struct mq_metric **metric, uint32_t *n,
                           moeq_error *err)
{
    char nearest[MQ_METRIC_NAME];
    for (size_t i = 0; i < mq_metrics_count; i++) {
        const struct mq_metric *m = &mq_metrics[i];
        if (!matches(m, name, n))
            continue;
        if (m->scope == MQ_SCOPE_PAIR && !pair)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, where,
                                "metric '%s' needs two models to compare", name);
        if (!mq_metric_exists(m, *n, view))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, where,
                                m->scope == MQ_SCOPE_LAYER
                                    ? "metric '%s': the model has no router in that layer (layers "
                                      "count from 0)"
                                    : "metric '%s': there is no such number",
                                name);
        *metric = m;
        return MOEQ_OK;
    }
    if (suggest(name, view, pair, nearest))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, where,
                            "unknown metric '%.60s'; did you mean '%s'?", name, nearest);
    return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, where,
                        "unknown metric '%.60s'; docs/gates.md lists the metrics, and so does "
                        "\"metrics\" in moeq verify --json",
                        name);
}

/* ---- values ---- */

uint32_t mq_metric_numbers(const struct mq_metric *metric, const struct mq_view *view)
{
    switch (metric->scope) {
    case MQ_SCOPE_LAYER:
        return view->hparams.layers;
    case MQ_SCOPE_CHANGED:
        return MQ_FLIP_GROUPS;
    case MQ_SCOPE_MARGIN:
        return MQ_MARGIN_BINS;
    default:
        return 1;
    }
}

bool mq_metric_exists(const struct mq_metric *metric, uint32_t n, const struct mq_view *view)
{
    return n < mq_metric_numbers(metric, view) &&
           (metric->scope != MQ_SCOPE_LAYER ||
            mq_view_find(view, MQ_ROLE_ROUTER, (int32_t)n, -1) != NULL);
}

static struct mq_estimate changed_rate(const struct mq_routing_result *routing, uint32_t bin)
{
    const double n = (double)routing->margin_choices[bin];
    const double p = n > 0 ? (double)routing->margin_flips[bin] / n : NAN;
    return (struct mq_estimate){p, n > 1 ? sqrt(p * (1 - p) / (n - 1)) : NAN};
}

struct mq_estimate mq_metric_value(const struct mq_metric *metric, uint32_t n,
                                   const struct mq_verify_result *result, size_t row)
{
    const struct mq_estimate undefined = {NAN, NAN};
    const struct mq_sweep_row *r = &result->sweep.rows[row];
    const struct mq_routing_result *routing = &r->result.routing;
    const void *from = r;
    if (metric->scope == MQ_SCOPE_PAIR) {
        if (metric->offset >= result->differences_count)
            return undefined;
        const struct mq_bootstrap *b = &result->differences[metric->offset].b_minus_a;
        return (struct mq_estimate){b->mean, b->se};
    }
    if (metric->scope != MQ_SCOPE_MODEL && !r->result.has_routing)
        return undefined;
    if (metric->scope == MQ_SCOPE_LAYER) {
        size_t i = 0;
        while (i < routing->layers_count && routing->layers[i].layer != n)
            i++;
        if (i == routing->layers_count)
            return undefined;
        from = &routing->layers[i];
    } else if (metric->scope == MQ_SCOPE_CHANGED) {
        if (n >= routing->flips_count)
            return undefined;
        from = &routing->flips[n];
    }
    const char *field = (const char *)from + metric->offset;
    switch (metric->kind) {
    case ESTIMATE:
        return *(const struct mq_estimate *)(const void *)field;
    case DOUBLE:
        return (struct mq_estimate){*(const double *)(const void *)field, NAN};
    case COUNT:
        return (struct mq_estimate){(double)*(const uint64_t *)(const void *)field, 0};
    default:
        return changed_rate(routing, n);
    }
}
