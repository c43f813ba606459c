/* sweep_tables.c: memory, output, routing and swap, in 80 columns. */
#include "sweep_tables.h"

#include "figure_table.h"
#include "figure_values.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void mq_row_name(const struct mq_comparison *r, size_t i, char name[MQ_ROW_NAME])
{
    const struct mq_comparison_row *row = &r->rows[i];
    if (row->kind == MQ_ROW_FILE)
        mq_file_label(row->file->path, row->name, r->candidates_count > 1, name);
    else
        snprintf(name, MQ_ROW_NAME, "%s",
                 row->kind == MQ_ROW_BASELINE      ? "baseline"
                 : row->kind == MQ_ROW_NOISE_FLOOR ? "bf16 act" /* the columns are narrow */
                                                   : row->name);
}

int mq_row_name_width(const struct mq_comparison *r)
{
    int width = 9;
    for (size_t i = 0; i < r->rows_count; i++) {
        char name[MQ_ROW_NAME];
        mq_row_name(r, i, name);
        if ((int)strlen(name) > width)
            width = (int)strlen(name);
    }
    return width < MQ_ROW_WIDTH ? width : MQ_ROW_WIDTH;
}

static void print_memory(const struct mq_comparison *r)
{
    const bool levels = r->candidates_count > r->files_count;
    const int width = mq_row_name_width(r);
    printf("\n%-*s %13s %9s %12s %9s%s\n", width + 2, "Memory", "file bytes", "GiB",
           mq_figures[MQ_FIGURE_BITS_PER_WEIGHT].title, "of source",
           levels ? "   expert RMSE" : "");
    for (size_t i = 0; i < r->rows_count; i++) {
        const struct mq_comparison_row *row = &r->rows[i];
        if (row->kind == MQ_ROW_NOISE_FLOOR)
            continue; /* it is the source's weights */
        char name[MQ_ROW_NAME];
        mq_row_name(r, i, name);
        printf("  %-*.*s %13" PRIu64 " %9.4f %12.4f %8.1f%%", width, width, name, row->file_bytes,
               (double)row->file_bytes / 0x1p30, row->bits_per_weight,
               100.0 * (double)row->file_bytes / (double)r->rows[0].file_bytes);
        if (row->kind == MQ_ROW_LEVEL && isnan(row->expert_relative_rmse))
            printf(" %13s", "-");
        else if (row->kind == MQ_ROW_LEVEL)
            printf(" %12.3f%%", 100 * row->expert_relative_rmse);
        putchar('\n');
    }
}

/* ---- output and routing: columns of figures ---- */

static bool of_result(const void *result, const struct mq_figure *figure, struct mq_estimate *value)
{
    *value = mq_figure_of_result(figure, result);
    return true;
}

static bool of_baseline(const void *result, const struct mq_figure *figure,
                        struct mq_estimate *value)
{
    *value = mq_figure_of_result(figure, result);
    return figure->absolute;
}

static bool of_layer(const void *layer, const struct mq_figure *figure, struct mq_estimate *value)
{
    *value = mq_figure_of_layer(figure, layer);
    return true;
}

static bool of_chance(const void *chance, const struct mq_figure *figure, struct mq_estimate *value)
{
    const struct mq_routing_figures *figures = chance;
    *value = (struct mq_estimate){NAN, NAN};
    for (int k = 0; k < MQ_ROUTING_COUNT; k++)
        if (mq_routing_figure(k) == figure)
            value->value = figures->metric[k];
    return true;
}

/* A row, and the same level with the other arithmetic. */
static void print_row(const struct mq_comparison *r, size_t i,
                      const struct mq_figure_block *block)
{
    const bool baseline = r->rows[i].kind == MQ_ROW_BASELINE;
    char name[MQ_ROW_NAME];
    mq_row_name(r, i, name);
    mq_print_figure_line(block, name, baseline ? of_baseline : of_result, &r->rows[i].result);
    if (r->rows[i].int8)
        mq_print_figure_line(block, "  int8", of_result, r->rows[i].int8);
}

static void output_lines(const void *result, const struct mq_figure_block *block)
{
    const struct mq_comparison *r = result;
    for (size_t i = 0; i < r->rows_count; i++)
        print_row(r, i, block);
}

static void routing_lines(const void *result, const struct mq_figure_block *block)
{
    const struct mq_comparison *r = result;
    struct mq_routing_figures chance;
    for (size_t i = 1; i < r->rows_count; i++)
        print_row(r, i, block);
    if (mq_routing_chance_of(r->baseline->view, &chance))
        mq_print_figure_line(block, "chance", of_chance, &chance);
}

static void layer_lines(const void *result, const struct mq_figure_block *block)
{
    const struct mq_comparison *r = result;
    routing_lines(result, block);
    for (size_t i = 1; i < r->rows_count; i++)
        for (size_t l = 0; l < r->rows[i].result.routing.layers_count; l++) {
            const struct mq_routing_layer *layer = &r->rows[i].result.routing.layers[l];
            char row[MQ_ROW_NAME], name[MQ_ROW_NAME + 16];
            mq_row_name(r, i, row);
            snprintf(name, sizeof name, "%.*s L%u", mq_row_name_width(r) - 4, row, layer->layer);
            mq_print_figure_line(block, name, of_layer, layer);
        }
}

static void print_quality(const struct mq_comparison *r, const struct mq_table_choice *choice)
{
    mq_print_figure_table(&(struct mq_figure_table){.name = "Output",
                                                    .section = MQ_SECTION_OUTPUT,
                                                    .choice = choice,
                                                    .name_width = mq_row_name_width(r),
                                                    .lines = output_lines,
                                                    .user = r});
}

/* "top-8 of 128 experts"; of layers that differ the first's and the others' count. */
static void print_rule(const struct mq_routing_result *r)
{
    const struct mq_routing_layer *first = &r->layers[0];
    size_t others = 0, shared = 0;
    for (size_t i = 0; i < r->layers_count; i++) {
        others += r->layers[i].experts != first->experts || r->layers[i].top_k != first->top_k;
        shared += r->layers[i].shared;
    }
    printf("  all %zu tokens of the windows; top-%u of %u experts", r->tokens, first->top_k,
           first->experts);
    if (others)
        printf(" in layer %u, other numbers in %zu layers", first->layer, others);
    printf(shared ? "\n  shared experts, which every token uses, are not counted\n" : "\n");
}

static void print_routing(const struct mq_comparison *r, const struct mq_table_choice *choice)
{
    if (r->rows_count < 2 || !r->rows[1].result.has_routing)
        return;
    mq_print_figure_table(
        &(struct mq_figure_table){.name = "Routing",
                                  .section = MQ_SECTION_ROUTING,
                                  .choice = choice,
                                  .name_width = mq_row_name_width(r),
                                  .lines = choice->all ? layer_lines : routing_lines,
                                  .user = r});
    print_rule(&r->rows[1].result.routing);
}

/* ---- swap ---- */

/* A cell of the 2x2 table, its shares where there are any; all dashes if it was not run. */
static void print_cell(const char *weights, const char *routes, const struct mq_arm_result *a,
                       const struct mq_estimate *nll_share, const struct mq_estimate *kld_share)
{
    if (!a) {
        printf("  %-9.9s %-9.9s %9s %8s %9s %8s %8s %8s\n", weights, routes, "-", "-", "-", "-",
               "-", "-");
        return;
    }
    printf("  %-9.9s %-9.9s %9.5f %8.5f %9.5f %8.5f", weights, routes, a->ppl_ratio.value,
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

static void print_swap(const struct mq_comparison *r)
{
    static const struct mq_estimate all = {1, 0}, none = {NAN, NAN};
    bool all_cells = true;
    if (r->rows_count < 2 || !r->rows[1].swap || !r->rows[1].result.has_routing)
        return;
    printf("\nSwap\n  %-9s %-9s %9s %9s %9s %9s %8s %8s\n", "weights", "routes",
           mq_figures[MQ_FIGURE_PPL_RATIO].title, "± se", mq_figures[MQ_FIGURE_KLD_MEAN].title,
           "± se", "of loss", "of KLD");
    for (size_t i = 1; i < r->rows_count && r->rows[i].swap; i++) {
        const struct mq_swap_result *s = r->rows[i].swap;
        char name[MQ_ROW_NAME];
        mq_row_name(r, i, name);
        const char *base = r->baseline->name;
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

void mq_print_sweep_tables(const struct mq_comparison *result, const struct mq_table_choice *choice)
{
    print_memory(result);
    print_quality(result, choice);
    print_routing(result, choice);
    print_swap(result);
}
