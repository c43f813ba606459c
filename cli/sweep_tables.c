/* sweep_tables.c: memory, output, routing and swap, in 80 columns. */
#include "sweep_tables.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const char *row_name(const struct mq_sweep_result *r, size_t i)
{
    switch (r->rows[i].kind) {
    case MQ_SWEEP_BASELINE:
        return "baseline";
    case MQ_SWEEP_NOISE_FLOOR:
        return "bf16 act"; /* the columns are narrow */
    case MQ_SWEEP_LEVEL:
    case MQ_SWEEP_STORED:
        break;
    }
    return r->rows[i].name;
}

static void print_memory(const struct mq_sweep_result *r)
{
    const bool levels = r->rows_count > 1 && r->rows[1].kind == MQ_SWEEP_LEVEL;
    printf("\nMemory%19s %9s %8s %9s%s\n", "file bytes", "GiB", "bits/w", "of source",
           levels ? "   expert RMSE" : "");
    for (size_t i = 0; i < r->rows_count; i++) {
        const struct mq_sweep_row *row = &r->rows[i];
        if (row->kind == MQ_SWEEP_NOISE_FLOOR)
            continue; /* it is the source's weights */
        printf("  %-9s %13" PRIu64 " %9.4f %8.4f %8.1f%%", row_name(r, i), row->file_bytes,
               (double)row->file_bytes / 0x1p30, row->bits_per_weight,
               100.0 * (double)row->file_bytes / (double)r->rows[0].file_bytes);
        if (row->kind == MQ_SWEEP_LEVEL)
            printf(" %12.3f%%", 100 * row->expert_relative_rmse);
        putchar('\n');
    }
}

static void print_output(const char *name, const struct mq_arm_result *a, bool baseline)
{
    printf("  %-8s %8.4f %6.4f", name, a->perplexity.ppl.value, a->perplexity.ppl.se);
    if (!baseline)
        printf(" %9.5f %7.5f %9.5f %7.5f %8.4f %7.2f%%", a->ppl_ratio.value, a->ppl_ratio.se,
               a->kld.mean.value, a->kld.median, a->kld.p99, 100 * a->same_top.value);
    putchar('\n');
}

static void print_quality(const struct mq_sweep_result *r)
{
    printf("\nOutput     %8s %7s %9s %8s %9s %7s %8s %8s\n", "PPL", "± se", "PPL ratio", "± se",
           "KLD mean", "median", "99 %", "same top");
    for (size_t i = 0; i < r->rows_count; i++) {
        print_output(row_name(r, i), &r->rows[i].result, i == 0);
        if (r->rows[i].int8)
            print_output("  int8", r->rows[i].int8, false);
    }
}

/* One line of rates; NaN where chance is not defined. */
static void print_rates(const char *name, const double *m)
{
    static const enum mq_routing_metric columns[] = {
        MQ_ROUTING_EXACT_SET, MQ_ROUTING_OVERLAP, MQ_ROUTING_TOP1, MQ_ROUTING_WEIGHTED,
        MQ_ROUTING_CR1,       MQ_ROUTING_CR2,     MQ_ROUTING_CR3};
    printf("  %-9s", name);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        if (isnan(m[columns[i]]))
            printf(" %7s", "-");
        else
            printf(" %6.2f%%", 100 * m[columns[i]]);
    }
    if (isnan(m[MQ_ROUTING_ROUTER_KL]))
        printf(" %9s\n", "-");
    else
        printf(" %9.6f\n", m[MQ_ROUTING_ROUTER_KL]);
}

static void print_estimates(const char *name, const struct mq_routing_estimates *e)
{
    double m[MQ_ROUTING_COUNT];
    for (int k = 0; k < MQ_ROUTING_COUNT; k++)
        m[k] = e->metric[k].value;
    print_rates(name, m);
}

static void print_routing(const struct mq_sweep_result *r, bool layers)
{
    if (r->rows_count < 2 || !r->rows[1].result.has_routing)
        return;
    const struct mq_hparams *h = &r->view->hparams;
    printf("\nRouting   %9s %7s %7s %7s %7s %7s %7s %9s\n", "exact set", "overlap", "top-1",
           "weight", "CR1 all", "CR2 any", "CR3 1/2", "router KL");
    for (size_t i = 1; i < r->rows_count; i++) {
        print_estimates(row_name(r, i), &r->rows[i].result.routing.overall);
        if (r->rows[i].int8)
            print_estimates("  int8", &r->rows[i].int8->routing.overall);
    }
    const struct mq_routing_figures chance = mq_routing_chance(h->experts, h->top_k);
    print_rates("chance", chance.metric);
    for (size_t i = 1; layers && i < r->rows_count; i++)
        for (size_t l = 0; l < r->rows[i].result.routing.layers_count; l++) {
            const struct mq_routing_layer *layer = &r->rows[i].result.routing.layers[l];
            char name[32];
            snprintf(name, sizeof name, "%.6s L%u", row_name(r, i), layer->layer);
            print_estimates(name, &layer->rates);
        }
    printf("  all %zu tokens of the windows; top-%u of %u experts\n",
           r->rows[1].result.routing.tokens, h->top_k, h->experts);
}

/* A cell of the 2x2 table, its shares where there are any; all dashes if it was not run. */
static void print_cell(const char *weights, const char *routes, const struct mq_arm_result *a,
                       const struct mq_estimate *nll_share, const struct mq_estimate *kld_share)
{
    if (!a) {
        printf("  %-9s %-9s %9s %8s %9s %8s %8s %8s\n", weights, routes, "-", "-", "-", "-", "-",
               "-");
        return;
    }
    printf("  %-9s %-9s %9.5f %8.5f %9.5f %8.5f", weights, routes, a->ppl_ratio.value,
           a->ppl_ratio.se, a->kld.mean.value, a->kld.mean.se);
    const struct mq_estimate *shares[] = {nll_share, kld_share};
    for (int i = 0; i < 2; i++) {
        if (isnan(shares[i]->value))
            printf(" %8s", "-");
        else
            printf(" %7.1f%%", 100 * shares[i]->value);
    }
    putchar('\n');
}

static void print_swap(const struct mq_sweep_result *r)
{
    static const struct mq_estimate all = {1, 0}, none = {NAN, NAN};
    bool all_cells = true;
    if (r->rows_count < 2 || !r->rows[1].swap || !r->rows[1].result.has_routing)
        return;
    printf("\nSwap\n  %-9s %-9s %9s %9s %9s %9s %8s %8s\n", "weights", "routes", "PPL ratio",
           "± se", "KLD mean", "± se", "of loss", "of KLD");
    for (size_t i = 1; i < r->rows_count && r->rows[i].swap; i++) {
        const struct mq_swap_result *s = r->rows[i].swap;
        const char *name = r->rows[i].name;
        const char *base = r->rows[i].kind == MQ_SWEEP_STORED ? "baseline" : "source";
        const bool nll = !isnan(s->nll_shares.weights.value);
        const bool kld = !isnan(s->kld_shares.weights.value);
        print_cell(name, base, &s->weights, &s->nll_shares.weights, &s->kld_shares.weights);
        print_cell(base, name, s->has_routes ? &s->routes : NULL, &s->nll_shares.routes,
                   &s->kld_shares.routes);
        all_cells = all_cells && s->has_routes;
        print_cell(name, name, &r->rows[i].result, nll ? &all : &none, kld ? &all : &none);
    }
    if (all_cells)
        printf("  of loss: share of ln(PPL ratio); what is missing to 100 %% needs both at once\n");
    else
        printf("  of loss: share of ln(PPL ratio); -: a recording has no weights to run with\n"
               "  these routes (--against the original model has)\n");
}

void mq_print_sweep_tables(const struct mq_sweep_result *result, bool layers)
{
    print_memory(result);
    print_quality(result);
    print_routing(result, layers);
    print_swap(result);
}
