/* coverage_print.c: see coverage_print.h. */
#include "coverage_print.h"

#include "buffer.h"
#include "text_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ---- tables ---- */

enum role_column { ROLE_SEEN, ROLE_LEAST, ROLE_MEAN, ROLE_MOST };

static void role_cell(const void *user, size_t i, int column, char text[MQ_TABLE_CELL])
{
    const struct mq_coverage_role *r = &((const struct mq_coverage *)user)->roles[i];
    const double alignment[] = {
        [ROLE_LEAST] = r->alignment_least,
        [ROLE_MEAN] = r->alignment_mean,
        [ROLE_MOST] = r->alignment_most,
    };
    if (column < 0)
        snprintf(text, MQ_TABLE_CELL, "%s", mq_role_name(r->role));
    else if (column == ROLE_SEEN)
        snprintf(text, MQ_TABLE_CELL, "%" PRIu64 "/%" PRIu64, r->seen, r->matrices);
    else if (!r->seen)
        snprintf(text, MQ_TABLE_CELL, "-");
    else
        snprintf(text, MQ_TABLE_CELL, "%.2f", alignment[column]);
}

static void print_roles(const struct mq_coverage *c)
{
    static const struct mq_text_column columns[] = {[ROLE_SEEN] = {"met by tokens", 13, 0},
                                                    [ROLE_LEAST] = {"alignment: least", 17, 0},
                                                    [ROLE_MEAN] = {"mean", 6, 0},
                                                    [ROLE_MOST] = {"most", 6, 0}};
    mq_print_text_table_here(
        &(struct mq_text_table){.name = "  matrices",
                                .name_width = mq_table_names_width(14),
                                .columns = columns,
                                .columns_count = sizeof columns / sizeof *columns,
                                .rows_count = c->roles_count,
                                .cell = role_cell,
                                .user = c});
}

static void print_tokens(const struct mq_coverage_layer *l)
{
    const int most = mq_output_columns() < 80 ? mq_output_columns() : 80;
    int at = 0;
    for (uint32_t e = 0; e < l->experts; e++) {
        if (at > most - 14 || e == 0)
            at = printf("%s     ", e ? "\n" : "");
        at += printf(" %u:%" PRId64, e, l->tokens[e]);
    }
    printf("\n");
}

enum layer_column { LAYER_LEAST, LAYER_MEDIAN, LAYER_MOST, LAYER_FEW, LAYER_NONE };

struct layer_lines {
    const struct mq_coverage_layer *layers;
};

static void layer_cell(const void *user, size_t i, int column, char text[MQ_TABLE_CELL])
{
    const struct mq_coverage_layer *l = &((const struct layer_lines *)user)->layers[i];
    const int64_t values[] = {[LAYER_LEAST] = l->least,
                              [LAYER_MEDIAN] = l->median,
                              [LAYER_MOST] = l->most,
                              [LAYER_FEW] = l->few,
                              [LAYER_NONE] = l->without};
    if (column < 0)
        snprintf(text, MQ_TABLE_CELL, "layer %d", l->layer);
    else
        snprintf(text, MQ_TABLE_CELL, "%" PRId64, values[column]);
}

static void print_layers(const struct mq_options *options, const struct mq_coverage *c)
{
    char few[32];
    if (!c->layers_count)
        return;
    snprintf(few, sizeof few, "fewer than %d", MQ_COVERAGE_FEW);
    const struct mq_text_column columns[] = {[LAYER_LEAST] = {"tokens: least", 14, 0},
                                             [LAYER_MEDIAN] = {"median", 9, 0},
                                             [LAYER_MOST] = {"most", 9, 0},
                                             [LAYER_FEW] = {few, 14, 0},
                                             [LAYER_NONE] = {"none", 6, 0}};
    mq_print_text_table_here(
        &(struct mq_text_table){.name = "  experts",
                                .name_width = mq_table_names_width(11),
                                .columns = columns,
                                .columns_count = sizeof columns / sizeof *columns,
                                .rows_count = c->layers_count,
                                .cell = layer_cell,
                                .user = &(struct layer_lines){c->layers}});
    for (size_t i = 0; i < c->layers_count && options->verbose; i++) {
        printf("  tokens of each expert of layer %d\n", c->layers[i].layer);
        print_tokens(&c->layers[i]);
    }
}

static double share_of_few(const struct mq_coverage *c)
{
    return c->held_out_visits ? (double)c->held_out_few / (double)c->held_out_visits : NAN;
}

static void print_held_out(const struct mq_coverage *c, const char *name, uint64_t tokens)
{
    char count[64];
    mq_print_sentence(4,
                      "  held out: %s, %s; distance of its columns' shares to the others':", name,
                      mq_counted(tokens, "token", count));
    printf("  %-14s %6s %6s\n", "", "mean", "most");
    for (size_t i = 0; i < c->roles_count; i++) {
        const struct mq_coverage_role *r = &c->roles[i];
        if (!isnan(r->distance_mean))
            printf("  %-14s %6.3f %6.3f\n", mq_role_name(r->role), r->distance_mean,
                   r->distance_most);
    }
    if (c->held_out_visits)
        mq_print_sentence(
            4, "  %.2f %% of its visits of experts are of some that met fewer than %d others",
            100.0 * share_of_few(c), MQ_COVERAGE_FEW);
}

void mq_coverage_print(const struct mq_options *options, const struct mq_coverage *coverage,
                       const char *held_out, uint64_t held_out_tokens)
{
    print_roles(coverage);
    print_layers(options, coverage);
    if (held_out)
        print_held_out(coverage, held_out, held_out_tokens);
}

/* "layer 3: 5, 7; layer 9: 2", of as many as there is room for. */
static void name_few(const struct mq_coverage *c, struct mq_buffer *text)
{
    enum { MOST_NAMED = 40 };
    int named = 0;
    for (size_t i = 0; i < c->layers_count; i++) {
        const struct mq_coverage_layer *l = &c->layers[i];
        bool first = true;
        for (uint32_t e = 0; e < l->experts; e++) {
            if (l->tokens[e] >= MQ_COVERAGE_FEW)
                continue;
            if (named++ == MOST_NAMED) {
                mq_buffer_puts(text, "; and more (--json has all)");
                return;
            }
            if (first)
                mq_buffer_printf(text, "%slayer %d: %u", text->size ? "; " : "", l->layer, e);
            else
                mq_buffer_printf(text, ", %u", e);
            first = false;
        }
    }
}

void mq_coverage_note(const struct mq_options *options, const struct mq_coverage *c)
{
    struct mq_buffer named = {0}, sentence = {0};
    if (!c->few && !c->without)
        return;
    name_few(c, &named);
    mq_buffer_printf(&sentence,
                     "of %" PRIu64 " experts %" PRIu64 " met fewer than %d tokens, and %" PRIu64
                     " none: what matters to them is taken in part from their layer's others; more "
                     "text would serve them (%s)",
                     c->experts, c->few, MQ_COVERAGE_FEW, c->without, named.data ? named.data : "");
    mq_print_note(options, named.failed ? mq_printable(&named) : mq_printable(&sentence));
    mq_buffer_free(&named);
    mq_buffer_free(&sentence);
}

/* ---- JSON ---- */

static cJSON *roles_json(struct mq_json_tree *b, const struct mq_coverage *c)
{
    cJSON *list = mq_json_array(b);
    for (size_t i = 0; i < c->roles_count; i++) {
        const struct mq_coverage_role *r = &c->roles[i];
        cJSON *o = mq_json_object(b), *alignment = mq_json_object(b);
        mq_json_put_text(b, o, "role", mq_role_name(r->role));
        mq_json_put_count(b, o, "matrices", r->matrices);
        mq_json_put_count(b, o, "met_by_tokens", r->seen);
        mq_json_put_number(b, alignment, "least", r->alignment_least);
        mq_json_put_number(b, alignment, "mean", r->seen ? r->alignment_mean : NAN);
        mq_json_put_number(b, alignment, "most", r->alignment_most);
        mq_json_put(b, o, "alignment", alignment);
        mq_json_append(b, list, o);
    }
    return list;
}

static cJSON *experts_json(struct mq_json_tree *b, const struct mq_coverage *c)
{
    cJSON *o = mq_json_object(b), *layers = mq_json_array(b);
    mq_json_put_count(b, o, "count", c->experts);
    mq_json_put_count(b, o, "few_is_fewer_than", MQ_COVERAGE_FEW);
    mq_json_put_count(b, o, "with_few_tokens", c->few);
    mq_json_put_count(b, o, "without_tokens", c->without);
    for (size_t i = 0; i < c->layers_count; i++) {
        const struct mq_coverage_layer *l = &c->layers[i];
        cJSON *layer = mq_json_object(b), *tokens = mq_json_array(b), *routing = mq_json_array(b);
        mq_json_put_count(b, layer, "layer", (uint64_t)l->layer);
        for (uint32_t e = 0; e < l->experts; e++) {
            mq_json_append(b, tokens, cJSON_CreateNumber((double)l->tokens[e]));
            mq_json_append(b, routing, cJSON_CreateNumber(l->routing[e]));
        }
        mq_json_put(b, layer, "tokens", tokens);
        mq_json_put(b, layer, "routing_weights", routing);
        mq_json_append(b, layers, layer);
    }
    mq_json_put(b, o, "layers", layers);
    return o;
}

static cJSON *held_out_json(struct mq_json_tree *b, const struct mq_coverage *c, const char *name,
                            uint64_t tokens)
{
    cJSON *o = mq_json_object(b), *distances = mq_json_array(b);
    mq_json_put_text(b, o, "name", name);
    mq_json_put_count(b, o, "tokens", tokens);
    for (size_t i = 0; i < c->roles_count; i++) {
        const struct mq_coverage_role *r = &c->roles[i];
        if (isnan(r->distance_mean))
            continue;
        cJSON *d = mq_json_object(b);
        mq_json_put_text(b, d, "role", mq_role_name(r->role));
        mq_json_put_number(b, d, "mean", r->distance_mean);
        mq_json_put_number(b, d, "most", r->distance_most);
        mq_json_append(b, distances, d);
    }
    mq_json_put(b, o, "distances", distances);
    mq_json_put_number(b, o, "visits_of_experts_with_few_tokens", share_of_few(c));
    return o;
}

void mq_coverage_put_json(struct mq_json_tree *b, cJSON *o, const struct mq_coverage *c,
                          const char *held_out, uint64_t held_out_tokens)
{
    mq_json_put(b, o, "matrices", roles_json(b, c));
    mq_json_put(b, o, "experts", experts_json(b, c));
    mq_json_put(b, o, "held_out",
                held_out ? held_out_json(b, c, held_out, held_out_tokens) : cJSON_CreateNull());
}
