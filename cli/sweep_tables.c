/* sweep_tables.c: memory, output, routing and swap, as wide as the terminal. */
#include "sweep_tables.h"

#include "figure_table.h"
#include "figure_values.h"
#include "terminal_text.h"
#include "text_table.h"

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
        if (mq_columns_of(name) > width)
            width = mq_columns_of(name);
    }
    return mq_table_names_width(width < MQ_ROW_WIDTH ? width : MQ_ROW_WIDTH);
}

/* ---- memory ---- */

enum memory_column { FILE_BYTES, FILE_GIB, BITS, OF_SOURCE, EXPERT_RMSE };

static void memory_cell(const void *user, size_t i, int column, char text[MQ_TABLE_CELL])
{
    const struct mq_comparison *r = user;
    const struct mq_comparison_row *row = &r->rows[i];
    switch (column) {
    case FILE_BYTES:
        snprintf(text, MQ_TABLE_CELL, "%" PRIu64, row->file_bytes);
        break;
    case FILE_GIB:
        snprintf(text, MQ_TABLE_CELL, "%.4f", (double)row->file_bytes / 0x1p30);
        break;
    case BITS:
        snprintf(text, MQ_TABLE_CELL, "%.4f", row->bits_per_weight);
        break;
    case OF_SOURCE:
        snprintf(text, MQ_TABLE_CELL, "%.1f%%",
                 100.0 * (double)row->file_bytes / (double)r->rows[0].file_bytes);
        break;
    case EXPERT_RMSE:
        if (row->kind == MQ_ROW_LEVEL && isnan(row->expert_relative_rmse))
            snprintf(text, MQ_TABLE_CELL, "-");
        else if (row->kind == MQ_ROW_LEVEL)
            snprintf(text, MQ_TABLE_CELL, "%.3f%%", 100 * row->expert_relative_rmse);
        break;
    default:
        mq_row_name(r, i, text);
    }
}

static void print_memory(const struct mq_comparison *r)
{
    const struct mq_text_column columns[] = {
        [FILE_BYTES] = {"file bytes", 13, 0},
        [FILE_GIB] = {"GiB", 9, 0},
        [BITS] = {mq_figures[MQ_FIGURE_BITS_PER_WEIGHT].title, 12, 0},
        [OF_SOURCE] = {"of source", 9, 0},
        [EXPERT_RMSE] = {"expert RMSE", 13, 0},
    };
    const bool levels = r->candidates_count > r->files_count;
    size_t rows = r->rows_count;
    while (rows && r->rows[rows - 1].kind == MQ_ROW_NOISE_FLOOR)
        rows--; /* it is the source's weights */
    mq_print_text_table(
        &(struct mq_text_table){.name = "Memory",
                                .name_width = mq_row_name_width(r),
                                .columns = columns,
                                .columns_count = levels ? EXPERT_RMSE + 1 : EXPERT_RMSE,
                                .rows_count = rows,
                                .cell = memory_cell,
                                .user = r});
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
    char where[80] = "", layers[64];
    if (others)
        snprintf(where, sizeof where, " in layer %u, other numbers in %s", first->layer,
                 mq_counted(others, "layer", layers));
    mq_print_sentence(2, "  all %zu tokens of the windows; top-%u of %u experts%s", r->tokens,
                      first->top_k, first->experts, where);
    if (shared)
        mq_print_sentence(2, "  shared experts, which every token uses, are not counted");
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

enum swap_column { SWAP_PPL, SWAP_PPL_SE, SWAP_KLD, SWAP_KLD_SE, SWAP_LOSS, SWAP_OF_KLD };
enum { SWAP_LINES = 3 }; /* of a row: its weights, its routes, both */

struct swap_line {
    char weights[MQ_ROW_NAME], routes[MQ_ROW_NAME];
    const struct mq_arm_result *result; /* NULL: not run */
    double nll_share, kld_share;
};

static struct swap_line swap_line(const struct mq_comparison *r, size_t at)
{
    const struct mq_comparison_row *row = &r->rows[1 + at / SWAP_LINES];
    const struct mq_swap_result *s = row->swap;
    const size_t which = at % SWAP_LINES;
    struct swap_line line = {.nll_share = NAN, .kld_share = NAN};
    mq_row_name(r, 1 + at / SWAP_LINES, which == 1 ? line.routes : line.weights);
    if (which == 2)
        memcpy(line.routes, line.weights, sizeof line.routes);
    else
        snprintf(which ? line.weights : line.routes, MQ_ROW_NAME, "%s", r->baseline->name);
    if (which == 0) {
        line.result = &s->weights;
        line.nll_share = s->nll_shares.weights.value;
        line.kld_share = s->kld_shares.weights.value;
    } else if (which == 1) {
        line.result = s->has_routes ? &s->routes : NULL;
        line.nll_share = s->nll_shares.routes.value;
        line.kld_share = s->kld_shares.routes.value;
    } else {
        line.result = &row->result;
        line.nll_share = isnan(s->nll_shares.weights.value) ? NAN : 1;
        line.kld_share = isnan(s->kld_shares.weights.value) ? NAN : 1;
    }
    return line;
}

/* Weights and routes stand in one column of names. */
static void swap_cell(const void *user, size_t at, int column, char text[MQ_TABLE_CELL])
{
    const struct swap_line line = swap_line(user, at);
    const struct mq_arm_result *a = line.result;
    const double shares[] = {line.nll_share, line.kld_share};
    if (column < 0) {
        snprintf(text, MQ_TABLE_CELL, "%-9.9s %.9s", line.weights, line.routes);
    } else if (column >= SWAP_LOSS) {
        const double share = a ? shares[column - SWAP_LOSS] : (double)NAN;
        if (isnan(share))
            snprintf(text, MQ_TABLE_CELL, "-");
        else
            snprintf(text, MQ_TABLE_CELL, "%.1f%%", 100 * share);
    } else if (!a) {
        snprintf(text, MQ_TABLE_CELL, "-");
    } else {
        const double values[] = {a->ppl_ratio.value, a->ppl_ratio.se, a->kld.mean.value,
                                 a->kld.mean.se};
        snprintf(text, MQ_TABLE_CELL, "%.5f", values[column]);
    }
}

static void print_swap(const struct mq_comparison *r)
{
    const struct mq_text_column columns[] = {
        [SWAP_PPL] = {mq_figures[MQ_FIGURE_PPL_RATIO].title, 9, 1},
        [SWAP_PPL_SE] = {"± se", 8, 0},
        [SWAP_KLD] = {mq_figures[MQ_FIGURE_KLD_MEAN].title, 9, 1},
        [SWAP_KLD_SE] = {"± se", 8, 0},
        [SWAP_LOSS] = {"of loss", 8, 0},
        [SWAP_OF_KLD] = {"of KLD", 8, 0},
    };
    size_t rows = 0;
    bool all_cells = true;
    if (r->rows_count < 2 || !r->rows[1].swap || !r->rows[1].result.has_routing)
        return;
    for (; 1 + rows < r->rows_count && r->rows[1 + rows].swap; rows++)
        all_cells = all_cells && r->rows[1 + rows].swap->has_routes;
    mq_print_text_table(&(struct mq_text_table){.name = "Swap: weights, routes",
                                                .name_width = 19,
                                                .columns = columns,
                                                .columns_count = sizeof columns / sizeof *columns,
                                                .rows_count = SWAP_LINES * rows,
                                                .cell = swap_cell,
                                                .user = r});
    mq_print_sentence(2, "  of loss: share of ln(PPL ratio); %s",
                      all_cells ? "what is missing to 100 % needs both at once"
                                : "-: a recording has no weights to run with these routes "
                                  "(--against the original model has)");
}

void mq_print_sweep_tables(const struct mq_comparison *result, const struct mq_table_choice *choice)
{
    print_memory(result);
    print_quality(result, choice);
    print_routing(result, choice);
    print_swap(result);
}
