/* quality_tables.c: see quality_tables.h. */
#include "quality_tables.h"

#include "command.h"
#include "domains.h"
#include "figure_table.h"
#include "figure_values.h"
#include "sweep_tables.h"
#include "text_table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- domains ---- */

/* A text of a row, or of its int8. */
struct domain_line {
    size_t row;
    bool int8;
    const struct mq_domain_result *domain;
    bool first; /* of its row: it has the name */
};

struct domain_lines {
    const struct mq_comparison *comparison;
    struct domain_line *line;
    int name_width, text_width;
};

static void add_domains(struct domain_lines *d, size_t *count, size_t row, bool int8)
{
    const struct mq_comparison_row *r = &d->comparison->rows[row];
    const struct mq_arm_result *result = int8 ? r->int8 : &r->result;
    for (size_t i = 0; result && i < result->domains_count; i++)
        d->line[(*count)++] = (struct domain_line){row, int8, &result->domains[i], i == 0};
}

enum domain_column {
    DOMAIN_KLD,
    DOMAIN_KLD_SE,
    DOMAIN_TOP,
    DOMAIN_EXPERTS,
    DOMAIN_PPL,
    DOMAIN_PPL_SE
};

static void domain_name(const struct domain_lines *d, const struct domain_line *line,
                        char text[MQ_TABLE_CELL])
{
    struct mq_table_line both;
    char name[MQ_ROW_NAME] = "";
    if (line->first && line->int8)
        snprintf(name, sizeof name, "  int8");
    else if (line->first)
        mq_row_name(d->comparison, line->row, name);
    mq_line_begin(&both, 0, d->name_width, name);
    snprintf(text, MQ_TABLE_CELL, "%.60s %.60s", both.text, line->domain->name);
}

static void domain_cell(const void *user, size_t at, int column, char text[MQ_TABLE_CELL])
{
    const struct domain_lines *d = user;
    const struct mq_arm_result *f = &d->line[at].domain->figures;
    if (column < 0) {
        domain_name(d, &d->line[at], text);
        return;
    }
    const double experts =
        f->has_routing ? f->routing.overall.metric[MQ_ROUTING_EXACT_SET].value : (double)NAN;
    const double values[] = {
        [DOMAIN_KLD] = f->kld.mean.value,       [DOMAIN_KLD_SE] = f->kld.mean.se,
        [DOMAIN_TOP] = 100 * f->same_top.value, [DOMAIN_EXPERTS] = 100 * experts,
        [DOMAIN_PPL] = f->ppl_ratio.value,      [DOMAIN_PPL_SE] = f->ppl_ratio.se};
    const bool share = column == DOMAIN_TOP || column == DOMAIN_EXPERTS;
    if (isnan(values[column]))
        snprintf(text, MQ_TABLE_CELL, "-");
    else
        snprintf(text, MQ_TABLE_CELL, "%.*f%s", share ? 2 : 5, values[column], share ? "%" : "");
}

static void print_warning(const struct mq_comparison *c, size_t row)
{
    struct mq_buffer b = {0};
    char name[MQ_ROW_NAME];
    mq_row_name(c, row, name);
    mq_buffer_printf(&b, "%s is ", name);
    if (mq_domains_warning(&c->rows[row].result, &b)) {
        printf("  warning: ");
        mq_print_wrapped(mq_printable(&b), 11, 11);
    }
    mq_buffer_free(&b);
}

void mq_print_domain_table(const struct mq_comparison *c)
{
    static const struct mq_text_column columns[] = {
        [DOMAIN_KLD] = {"KLD mean", 9, 1},       [DOMAIN_KLD_SE] = {"± se", 8, 0},
        [DOMAIN_TOP] = {"same top token", 8, 0}, [DOMAIN_EXPERTS] = {"same experts", 8, 0},
        [DOMAIN_PPL] = {"PPL ratio", 9, 1},      [DOMAIN_PPL_SE] = {"± se", 8, 0},
    };
    enum { TEXT_WIDTH = 12, NARROW = 8, WIDE_ENOUGH = 60 };
    if (c->text.domains_count < 2)
        return;
    const bool narrow = mq_output_columns() < WIDE_ENOUGH;
    const int names = mq_row_name_width(c);
    struct domain_lines d = {.comparison = c,
                             .name_width = narrow && names > NARROW ? NARROW : names,
                             .text_width = narrow ? NARROW : TEXT_WIDTH};
    size_t count = 0;
    d.line = calloc(2 * c->rows_count * c->text.domains_count, sizeof *d.line);
    for (size_t i = 1; d.line && i < c->rows_count; i++) {
        add_domains(&d, &count, i, false);
        add_domains(&d, &count, i, true);
    }
    mq_print_text_table(&(struct mq_text_table){.name = "Texts",
                                                .name_width = d.name_width + 1 + d.text_width,
                                                .columns = columns,
                                                .columns_count = sizeof columns / sizeof *columns,
                                                .rows_count = count,
                                                .cell = domain_cell,
                                                .user = &d});
    free(d.line);
    for (size_t i = 1; i < c->rows_count; i++)
        print_warning(c, i);
}

/* ---- tasks ---- */

struct task_line {
    struct mq_arm_result result; /* of it only tasks */
    bool is_baseline;
};

static bool of_line(const void *of, const struct mq_figure *figure, struct mq_estimate *value)
{
    const struct task_line *line = of;
    *value = mq_figure_of_result(figure, &line->result);
    return figure->absolute || !line->is_baseline;
}

/* All tasks, and those of each file where there are several. */
static void task_lines_of(const char *row, const struct mq_arm_result *result, bool is_baseline,
                          const struct mq_figure_block *block)
{
    struct task_line line = {.is_baseline = is_baseline};
    line.result.tasks = result->tasks;
    mq_print_figure_line(block, row, of_line, &line);
    for (size_t i = 0; i < result->task_groups_count && result->task_groups_count > 1; i++) {
        char name[32];
        snprintf(name, sizeof name, "  %.20s", result->task_groups[i].name);
        line.result.tasks = result->task_groups[i];
        mq_print_figure_line(block, name, of_line, &line);
    }
}

static void task_lines(const void *user, const struct mq_figure_block *block)
{
    const struct mq_comparison *c = user;
    for (size_t i = 0; i < c->rows_count; i++) {
        const struct mq_comparison_row *row = &c->rows[i];
        char name[MQ_ROW_NAME];
        mq_row_name(c, i, name);
        task_lines_of(name, &row->result, row->kind == MQ_ROW_BASELINE, block);
        if (row->int8)
            task_lines_of("  int8", row->int8, false, block);
    }
}

static int task_name_width(const struct mq_comparison *c)
{
    enum { FILE_NAMES = 12 };
    const int width = mq_row_name_width(c);
    return mq_table_names_width(width > FILE_NAMES ? width : FILE_NAMES);
}

void mq_print_task_table(const struct mq_comparison *c)
{
    if (!c->text.tasks)
        return;
    mq_print_figure_table(&(struct mq_figure_table){.name = "Tasks",
                                                    .section = MQ_SECTION_TASKS,
                                                    .name_width = task_name_width(c),
                                                    .lines = task_lines,
                                                    .user = c});
}

/* What eval says of a text or of tasks: its name, and behind it a sentence. */
static void print_named(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void print_named(const char *name, const char *format, ...)
{
    enum { INDENT = 4, NAMES = 12, AT = INDENT + NAMES + 1 };
    struct mq_table_line line;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mq_line_begin(&line, INDENT, NAMES, name);
    printf("%s ", line.text);
    mq_print_wrapped(text, AT, AT);
}

/* "41.20 ± 1.44 %"; of a single task there is no error. */
static const char *format_rate(struct mq_estimate rate, char text[40])
{
    if (isnan(rate.se))
        snprintf(text, 40, "%.2f %%", 100 * rate.value);
    else
        snprintf(text, 40, "%.2f ± %.2f %%", 100 * rate.value, 100 * rate.se);
    return text;
}

/* "    arc          41.20 ± 1.44 %, by length 43.30 ± 1.45 % (1172 tasks)" */
static void print_accuracy(const char *name, const struct mq_task_result *t)
{
    char raw[40], norm[40], count[64];
    print_named(name, "%s, by length %s (%s)", format_rate(t->accuracy, raw),
                format_rate(t->accuracy_norm, norm), mq_counted(t->count, "task", count));
}

void mq_print_eval_tables(const struct mq_eval_result *r)
{
    char count[64];
    for (size_t i = 0; i < r->figures.domains_count; i++) {
        const struct mq_domain_result *d = &r->figures.domains[i];
        print_named(d->name, "%.5f ± %.5f (%s)", d->figures.perplexity.ppl.value,
                    d->figures.perplexity.ppl.se, mq_counted(d->windows, "window", count));
    }
    if (!r->text.tasks)
        return;
    printf("  accuracy on tasks\n");
    for (size_t i = 0; i < r->figures.task_groups_count; i++)
        print_accuracy(r->figures.task_groups[i].name, &r->figures.task_groups[i]);
    if (r->figures.task_groups_count > 1)
        print_accuracy("all", &r->figures.tasks);
}
