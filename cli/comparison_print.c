/* comparison_print.c: names, notes, tables and differences of a comparison. */
#include "comparison_print.h"

#include "losses_print.h"
#include "model_options.h"
#include "quality_tables.h"
#include "sweep_tables.h"
#include "text_table.h"
#include "verdict_print.h"

#include <math.h>
#include <stdio.h>

void mq_print_files(const struct mq_comparison *c)
{
    for (size_t i = 0; i < c->rows_count; i++)
        if (c->rows[i].file)
            printf("%s%s%s\n", c->candidates_count > 1 ? c->rows[i].name : "",
                   c->candidates_count > 1 ? ": " : "", c->rows[i].file->path);
}

/* The sentences of a model, which several may be about. */
static void print_notes_of(const struct mq_options *options, const struct mq_view *view,
                           const char *path, const struct mq_view *said_already)
{
    for (size_t k = 0; k < view->notes_count; k++) {
        struct mq_buffer text = {0};
        mq_buffer_printf(&text, "%s: %s", path, view->notes[k]);
        if (!said_already || !mq_view_has_note(said_already, view->notes[k]))
            mq_print_note(options, mq_printable(&text));
        mq_buffer_free(&text);
    }
}

/* What was calibrated on text of another kind. */
static void print_domain_notes(const struct mq_options *options, const struct mq_comparison *c)
{
    for (size_t i = 0; i < c->rows_count; i++) {
        const struct mq_comparison_row *row = &c->rows[i];
        struct mq_buffer text = {0};
        if (!mq_row_tells_domain(c, i))
            continue;
        if (row->file)
            mq_buffer_printf(&text, "%s: ", row->file->path);
        mq_buffer_puts(&text, row->domain_note);
        mq_print_note(options, mq_printable(&text));
        mq_buffer_free(&text);
    }
}

void mq_print_comparison_notes(const struct mq_options *options, const struct mq_comparison *c)
{
    const struct mq_view *base = c->baseline->view;
    print_domain_notes(options, c);
    for (size_t i = 0; i < c->rows_count; i++)
        mq_print_losses(options, c->rows[i].name, &c->rows[i].losses);
    if (!c->files_count) { /* all are of one model */
        mq_print_notes(options, base);
        return;
    }
    for (size_t i = 0; i < c->rows_count; i++) {
        struct mq_buffer text = {0};
        if (!c->rows[i].file || c->rows[i].tokens_compared)
            continue;
        mq_row_token_note(&c->rows[i], &text);
        mq_print_note(options, mq_printable(&text));
        mq_buffer_free(&text);
    }
    print_notes_of(options, base, c->baseline->path, NULL);
    for (size_t i = 0; i < c->rows_count; i++)
        if (c->rows[i].file)
            print_notes_of(options, c->rows[i].file, c->rows[i].file->path, base);
}

enum difference_column { DIFFERENCE_MEAN, DIFFERENCE_SE, DIFFERENCE_LOW, DIFFERENCE_HIGH };

static void difference_cell(const void *user, size_t at, int column, char text[MQ_TABLE_CELL])
{
    const struct mq_difference *d = user;
    const struct mq_bootstrap *b = &d->figures[at].difference;
    if (column < 0)
        snprintf(text, MQ_TABLE_CELL, "%s", d->figures[at].figure->title);
    else if (column == DIFFERENCE_MEAN)
        snprintf(text, MQ_TABLE_CELL, "%+.6f", b->mean);
    else if (isnan(b->se)) /* of one window */
        snprintf(text, MQ_TABLE_CELL, column == DIFFERENCE_HIGH ? "-  " : "-");
    else if (column == DIFFERENCE_SE)
        snprintf(text, MQ_TABLE_CELL, "%.6f", b->se);
    else if (column == DIFFERENCE_LOW)
        snprintf(text, MQ_TABLE_CELL, "%+.6f", b->low);
    else
        snprintf(text, MQ_TABLE_CELL, "%+.6f%s", b->high, b->low > 0 || b->high < 0 ? " *" : "  ");
}

static void print_difference(const struct mq_comparison *c, const struct mq_difference *d)
{
    static const struct mq_text_column columns[] = {[DIFFERENCE_MEAN] = {"mean", 9, 1},
                                                    [DIFFERENCE_SE] = {"± se", 10, 0},
                                                    [DIFFERENCE_LOW] = {"95 % from", 11, 1},
                                                    [DIFFERENCE_HIGH] = {"to  ", 11, 0}};
    char title[64];
    snprintf(title, sizeof title, "%.20s minus %.20s", c->rows[d->row].name,
             c->rows[d->minus].name);
    mq_print_text_table(&(struct mq_text_table){.name = title,
                                                .name_width = mq_table_names_width(22),
                                                .columns = columns,
                                                .columns_count = sizeof columns / sizeof *columns,
                                                .rows_count = d->figures_count,
                                                .cell = difference_cell,
                                                .user = d});
}

void mq_print_comparison(const struct mq_comparison *c, const struct mq_table_choice *choice)
{
    char windows[64];
    mq_print_sweep_tables(c, choice);
    putchar('\n');
    mq_print_sentence(
        2, "  ± se: one standard error; KLD: nats; moeq verify --list-metrics explains all");
    mq_print_verdicts(c, choice->color);
    mq_print_domain_table(c);
    mq_print_task_table(c);
    for (size_t i = 0; i < c->differences_count; i++)
        print_difference(c, &c->differences[i]);
    if (c->differences_count)
        mq_print_sentence(4,
                          "  * the interval leaves out 0. Block bootstrap: %s, %d resamples, "
                          "splitmix64 seed %llu",
                          mq_counted(c->text.windows.count, "window", windows),
                          MQ_BOOTSTRAP_RESAMPLES, (unsigned long long)MQ_BOOTSTRAP_SEED);
}
