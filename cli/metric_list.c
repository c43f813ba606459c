/* metric_list.c: what verify/figures.def says; docs/make_metrics.py makes documentation of it. */
#include "metric_list.h"

#include "figures.h"
#include "json_tree.h"

#include <stdio.h>
#include <string.h>

static const char *const scopes[] = {[MQ_OF_MODEL] = "model",
                                     [MQ_OF_GROUP] = "changed_layers",
                                     [MQ_OF_MARGIN] = "margin",
                                     [MQ_OF_LAYER] = "layer",
                                     [MQ_OF_PAIR] = "b_minus_a"};
enum { SCOPES = sizeof scopes / sizeof *scopes };

static bool is_written(const struct mq_figure *f, enum mq_scope scope)
{
    return scope == MQ_OF_LAYER ? f->layers_written : scope != MQ_OF_PAIR && f->written;
}

static const char *better(const struct mq_figure *f)
{
    return f->better == MQ_MORE ? "more" : "less";
}

static const char *unit(const struct mq_figure *f)
{
    return f->unit == MQ_UNIT_SHARE ? "share" : mq_unit_name(f->unit);
}

/* ---- as JSON ---- */

static cJSON *names_json(struct mq_json_tree *b, const struct mq_figure *f)
{
    cJSON *list = mq_json_array(b);
    for (int scope = 0; scope < SCOPES; scope++) {
        char name[MQ_METRIC_NAME];
        if (!mq_figure_has(f, (enum mq_scope)scope))
            continue;
        cJSON *metric = mq_json_object(b);
        mq_metric_pattern(f, (enum mq_scope)scope, name);
        mq_json_put_text(b, metric, "name", name);
        mq_json_put_text(b, metric, "of", scopes[scope]);
        mq_json_put_bool(b, metric, "written", is_written(f, (enum mq_scope)scope));
        mq_json_append(b, list, metric);
    }
    return list;
}

static cJSON *list_json(void)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "metrics"), *list = mq_json_array(&b);
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++) {
        cJSON *figure = mq_json_object(&b);
        const char *const texts[][2] = {
            {"title", f->title},   {"long_title", f->long_title},
            {"means", f->means},   {"formula", f->formula},
            {"source", f->source}, {"section", mq_section_name(f->section)},
            {"unit", unit(f)},     {"better", better(f)},
            {"place", f->json},    {"b_minus_a", f->difference},
        };
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            mq_json_put_text(&b, figure, texts[i][0], texts[i][1]);
        mq_json_put_bool(&b, figure, "has_error", f->has_error);
        mq_json_put(&b, figure, "metrics", names_json(&b, f));
        mq_json_append(&b, list, figure);
    }
    mq_json_put(&b, o, "figures", list);
    return mq_json_finish(&b, o);
}

/* ---- for people ---- */

static void print_figure(const struct mq_figure *f)
{
    enum { COLUMN = 4 };
    char text[512], name[MQ_METRIC_NAME];
    for (int scope = 0; scope < SCOPES; scope++) {
        if (!mq_figure_has(f, (enum mq_scope)scope))
            continue;
        mq_metric_pattern(f, (enum mq_scope)scope, name);
        printf("  %s%s\n", name, is_written(f, (enum mq_scope)scope) ? "  (w)" : "");
    }
    snprintf(text, sizeof text, "%s: %s%s%s; %s is better. JSON: %s", f->title, f->long_title,
             *mq_unit_name(f->unit) ? ", " : "", mq_unit_name(f->unit), better(f), f->json);
    const char *const lines[] = {text, f->means, f->formula};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        printf("%*s", COLUMN, "");
        mq_print_wrapped(lines[i], COLUMN, COLUMN);
    }
    putchar('\n');
}

enum mq_exit mq_list_metrics(const struct mq_options *options)
{
    if (options->json)
        return mq_print_json(list_json());
    mq_print_sentence(0,
                      "What gates can limit. {n}: a number from 0. (w): what --write-gate writes.");
    mq_print_sentence(
        0, "In formulas p, q: the original's and the model's probabilities of the next token; S, "
           "S': the k experts that each chooses for a token in a layer; w, w': their weights, "
           "divided by their sum; r, r': their routers' distributions over all experts (softmax "
           "of logits, or sigmoids divided by their sum).");
    putchar('\n');
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        print_figure(f);
    return mq_finish_output();
}
