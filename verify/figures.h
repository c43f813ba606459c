/*
 * figures.h: the table of figures: one row each (figures.def) says its names, title, unit, which
 * way is better, how it is printed, and what it means. Everything that prints, writes or limits
 * figures iterates over it.
 */
#ifndef MQ_FIGURES_H
#define MQ_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All of them, in the order of the table. */
enum mq_figure_id {
#define FIGURE(id, ...) MQ_FIGURE_##id,
#define ROUTING(id, ...) MQ_FIGURE_##id,
#include "figures.def"
    MQ_FIGURE_COUNT
};

/* Those of a token's choice of experts in one layer: indices of what mq_routing_compare finds. */
enum mq_routing_metric {
#define FIGURE(...)
#define ROUTING(id, ...) MQ_ROUTING_##id,
#include "figures.def"
    MQ_ROUTING_COUNT
};

/* SHARE: a fraction of 1, printed in per cent, its differences in percentage points (pp). */
enum mq_unit {
    MQ_UNIT_PLAIN,
    MQ_UNIT_RATIO,
    MQ_UNIT_SHARE,
    MQ_UNIT_NATS,
    MQ_UNIT_BITS,
    MQ_UNIT_BYTES
};
enum mq_better { MQ_LESS, MQ_MORE };
enum mq_section { MQ_SECTION_OUTPUT, MQ_SECTION_ROUTING, MQ_SECTION_TASKS, MQ_SECTION_MEMORY };
/* NOT: in documents and gates alone; ON_PAGES: in pages' tables, and with --verbose on the
 * terminal. */
enum mq_shown { MQ_NOT_SHOWN, MQ_SHOWN_ON_PAGES, MQ_SHOWN };

/* What one value is of; a {n} in a name is its number. */
enum mq_scope {
    MQ_OF_MODEL,  /* the whole */
    MQ_OF_GROUP,  /* tokens of which {n} layers chose otherwise; the last one: or more */
    MQ_OF_MARGIN, /* choices whose margin is in bin {n} (mq_margin_edges) */
    MQ_OF_LAYER,  /* one layer's router: {n} is the layer */
    MQ_OF_PAIR,   /* two models: B minus A */
};

struct mq_figure {
    const char *id;         /* by which gates name it: "routing.exact_set" */
    const char *json;       /* its place in a row of a document: "routing.overall.exact_set_rate" */
    const char *difference; /* its key in "b_minus_a"; NULL: no such difference is made */
    const char *title;      /* of a column, here, there and everywhere: "same experts" */
    const char *long_title; /* where there is room */
    enum mq_section section;
    enum mq_scope scope; /* MQ_OF_MODEL, MQ_OF_GROUP or MQ_OF_MARGIN */
    bool per_layer;      /* of each layer, too: under the same key in "routing.layers" */
    enum mq_unit unit;
    enum mq_better better;
    bool has_error; /* {"value", "se"} in documents; else a number */
    bool absolute;  /* of one model alone, so the baseline has it too; else against the baseline */
    enum mq_shown shown;
    int summary; /* its place among the columns of a page's summary, from 1; 0: none */
    int width, decimals, error_width; /* of columns on the terminal; error_width 0: without */
    int digits;                       /* significant ones on pages; not of shares, bytes */
    bool written, layers_written;     /* part of the gates that --write-gate writes */
    const char *means, *formula, *source;
};

extern const struct mq_figure mq_figures[MQ_FIGURE_COUNT];

/* The row of an mq_routing_metric. */
const struct mq_figure *mq_routing_figure(int metric);

/* The figures of which differences are made, in the table's order; NULL behind the last. */
const struct mq_figure *mq_figure_of_difference(size_t i);
/* By its key in "b_minus_a"; NULL if there is none. */
const struct mq_figure *mq_figure_by_difference(const char *key);

/* The last part of its place in documents: "exact_set_rate". */
const char *mq_figure_key(const struct mq_figure *figure);
/* "nats", "" for shares, which are printed with their sign, and for what has none. */
const char *mq_unit_name(enum mq_unit unit);
const char *mq_section_name(enum mq_section section);

/* Of a model that equals the baseline. */
double mq_figure_ideal(const struct mq_figure *figure);
/* What stands for "no change at all": keeps a limit at the ideal itself from failing on what
 * nobody would call a change, whatever the margin. */
double mq_figure_slack(const struct mq_figure *figure);

/* ---- the names of gates ---- */

/* Room for any name with its number, NUL included. */
enum { MQ_METRIC_NAME = 64 };

/* Whether the figure exists in this scope: its own, MQ_OF_LAYER, MQ_OF_PAIR. */
bool mq_figure_has(const struct mq_figure *figure, enum mq_scope scope);
/* "routing.layers.{n}.exact_set", "b_minus_a.kld.mean" */
void mq_metric_pattern(const struct mq_figure *figure, enum mq_scope scope,
                       char name[MQ_METRIC_NAME]);
/* The same with n for {n}. */
void mq_metric_print(const struct mq_figure *figure, enum mq_scope scope, uint32_t n,
                     char name[MQ_METRIC_NAME]);

#endif
