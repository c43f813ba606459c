/* quality_tables.c: see quality_tables.h. */
#include "quality_tables.h"

#include "command.h"
#include "domains.h"
#include "figure_table.h"
#include "figure_values.h"

#include <math.h>
#include <stdio.h>

static const char *row_name(const struct mq_comparison_row *row)
{
    return row->kind == MQ_ROW_BASELINE      ? "baseline"
           : row->kind == MQ_ROW_NOISE_FLOOR ? "bf16 act"
                                             : row->name;
}

/* ---- domains ---- */

static void print_number(double value, int width, int decimals, const char *unit)
{
    if (isnan(value))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f%s", width - (int)(unit[0] != '\0'), decimals, value, unit);
}

static void print_domain(const char *row, const struct mq_domain_result *d)
{
    const struct mq_arm_result *f = &d->figures;
    const double experts =
        f->has_routing ? f->routing.overall.metric[MQ_ROUTING_EXACT_SET].value : (double)NAN;
    printf("  %-9.9s %-12.12s", row, d->name);
    print_number(f->kld.mean.value, 9, 5, "");
    print_number(f->kld.mean.se, 8, 5, "");
    print_number(100 * f->same_top.value, 8, 2, "%");
    print_number(100 * experts, 8, 2, "%");
    print_number(f->ppl_ratio.value, 9, 5, "");
    print_number(f->ppl_ratio.se, 8, 5, "");
    putchar('\n');
}

static void print_domains_of(const char *row, const struct mq_arm_result *result)
{
    for (size_t i = 0; i < result->domains_count; i++)
        print_domain(i ? "" : row, &result->domains[i]);
}

static void print_warning(const char *row, const struct mq_arm_result *result)
{
    struct mq_buffer b = {0};
    mq_buffer_printf(&b, "%s is ", row);
    if (mq_domains_warning(result, &b) && mq_buffer_ok(&b)) {
        printf("  warning: ");
        mq_print_wrapped(b.data, 11, 11);
    }
    mq_buffer_free(&b);
}

void mq_print_domain_table(const struct mq_comparison *c)
{
    if (c->text.domains_count < 2)
        return;
    printf("\n%42s %8s %8s\n%-24s %9s %8s %8s %8s %9s %8s\n", "", "same top", "same", "Texts",
           "KLD mean", "± se", "token", "experts", "PPL ratio", "± se");
    for (size_t i = 1; i < c->rows_count; i++) {
        print_domains_of(row_name(&c->rows[i]), &c->rows[i].result);
        if (c->rows[i].int8)
            print_domains_of("  int8", c->rows[i].int8);
    }
    for (size_t i = 1; i < c->rows_count; i++)
        print_warning(row_name(&c->rows[i]), &c->rows[i].result);
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
        task_lines_of(row_name(row), &row->result, row->kind == MQ_ROW_BASELINE, block);
        if (row->int8)
            task_lines_of("  int8", row->int8, false, block);
    }
}

void mq_print_task_table(const struct mq_comparison *c)
{
    if (!c->text.tasks)
        return;
    mq_print_figure_table(&(struct mq_figure_table){.name = "Tasks",
                                                    .section = MQ_SECTION_TASKS,
                                                    .name_width = 12,
                                                    .lines = task_lines,
                                                    .user = c});
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
    char raw[40], norm[40];
    printf("    %-12.40s %s, by length %s (%zu task%s)\n", name, format_rate(t->accuracy, raw),
           format_rate(t->accuracy_norm, norm), t->count, t->count == 1 ? "" : "s");
}

void mq_print_eval_tables(const struct mq_eval_result *r)
{
    for (size_t i = 0; i < r->figures.domains_count; i++) {
        const struct mq_domain_result *d = &r->figures.domains[i];
        printf("    %-12.40s %.5f ± %.5f (%zu windows)\n", d->name, d->figures.perplexity.ppl.value,
               d->figures.perplexity.ppl.se, d->windows);
    }
    if (!r->text.tasks)
        return;
    printf("  accuracy on tasks\n");
    for (size_t i = 0; i < r->figures.task_groups_count; i++)
        print_accuracy(r->figures.task_groups[i].name, &r->figures.task_groups[i]);
    if (r->figures.task_groups_count > 1)
        print_accuracy("all", &r->figures.tasks);
}
