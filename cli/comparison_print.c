/* comparison_print.c: names, notes, tables and differences of a comparison. */
#include "comparison_print.h"

#include "model_options.h"
#include "quality_tables.h"
#include "sweep_tables.h"
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
            mq_print_note(options, mq_buffer_ok(&text) ? text.data : view->notes[k]);
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
        mq_print_note(options, mq_buffer_ok(&text) ? text.data : row->domain_note);
        mq_buffer_free(&text);
    }
}

void mq_print_comparison_notes(const struct mq_options *options, const struct mq_comparison *c)
{
    const struct mq_view *base = c->baseline->view;
    print_domain_notes(options, c);
    if (!c->files_count) { /* all are of one model */
        mq_print_notes(options, base);
        return;
    }
    for (size_t i = 0; i < c->rows_count; i++) {
        struct mq_buffer text = {0};
        if (!c->rows[i].file || c->rows[i].tokens_compared)
            continue;
        mq_row_token_note(&c->rows[i], &text);
        if (mq_buffer_ok(&text))
            mq_print_note(options, text.data);
        mq_buffer_free(&text);
    }
    print_notes_of(options, base, c->baseline->path, NULL);
    for (size_t i = 0; i < c->rows_count; i++)
        if (c->rows[i].file)
            print_notes_of(options, c->rows[i].file, c->rows[i].file->path, base);
}

static void print_difference(const struct mq_comparison *c, const struct mq_difference *d)
{
    const int n = printf("\n%s minus %s", c->rows[d->row].name, c->rows[d->minus].name) - 1;
    printf("%*s %11s   95 %% interval\n", 33 - n, "mean", "± se");
    for (size_t i = 0; i < d->figures_count; i++) {
        const struct mq_bootstrap *b = &d->figures[i].difference;
        printf("  %-22s %+9.6f", d->figures[i].figure->title, b->mean);
        if (isnan(b->se))
            printf(" %11s   (one window: none)\n", "-");
        else
            printf(" %10.6f   %+9.6f to %+9.6f%s\n", b->se, b->low, b->high,
                   b->low > 0 || b->high < 0 ? "  *" : "");
    }
}

void mq_print_comparison(const struct mq_comparison *c, const struct mq_table_choice *choice)
{
    mq_print_sweep_tables(c, choice);
    printf("\n  ± se: one standard error; KLD: nats; moeq verify --list-metrics explains all\n");
    mq_print_verdicts(c, choice->color);
    mq_print_domain_table(c);
    mq_print_task_table(c);
    for (size_t i = 0; i < c->differences_count; i++)
        print_difference(c, &c->differences[i]);
    if (c->differences_count)
        printf("  * the interval leaves out 0. Block bootstrap: %zu windows, %d resamples,\n"
               "    splitmix64 seed %llu\n",
               c->text.windows.count, MQ_BOOTSTRAP_RESAMPLES,
               (unsigned long long)MQ_BOOTSTRAP_SEED);
}
