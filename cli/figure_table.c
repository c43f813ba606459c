/* figure_table.c: headings of two lines, widths as the table of figures says, blocks as wide as the terminal. */
#include "figure_table.h"

#include "terminal_text.h"
#include "text_table.h"

#include <math.h>
#include <stdio.h>

struct mq_figure_block {
    const struct mq_figure_table *table;
    const struct mq_figure *columns[MQ_FIGURE_COUNT];
    size_t count;
};

/* Wider than the table says only where the title's longest word is. */
static int width_of(const struct mq_figure *figure)
{
    return mq_heading_width(figure->title, figure->width);
}

/* What it takes of a line, the blanks before it included. */
static int room_of(const struct mq_figure *figure)
{
    return 1 + width_of(figure) + (figure->error_width ? 1 + figure->error_width : 0);
}

/* ---- lines ---- */

static void put_value(struct mq_table_line *line, const struct mq_figure *figure, int width,
                      double value)
{
    char text[40] = "-";
    const bool share = figure->unit == MQ_UNIT_SHARE;
    /* fewer decimals of what would move the columns */
    for (int decimals = figure->decimals; !isnan(value) && decimals >= 0; decimals--) {
        snprintf(text, sizeof text, "%.*f%s", decimals, share ? 100 * value : value,
                 share ? "%" : "");
        if (mq_columns_of(text) <= width)
            break;
    }
    mq_line_put(line, width, text);
}

static void print_heads(const struct mq_figure_block *block)
{
    struct mq_table_line upper, lower;
    const int names = block->table->name_width + MQ_TABLE_INDENT;
    mq_line_begin(&upper, 0, names, "");
    mq_line_begin(&lower, 0, names, block->table->name);
    for (size_t i = 0; i < block->count; i++) {
        const struct mq_figure *f = block->columns[i];
        const struct mq_heading h = mq_heading_of(f->title, f->width);
        mq_line_put(&upper, width_of(f), h.upper);
        mq_line_put(&lower, width_of(f), h.lower);
        if (f->error_width) {
            mq_line_put(&upper, f->error_width, "");
            mq_line_put(&lower, f->error_width, "± se");
        }
    }
    putchar('\n');
    mq_line_print(&upper);
    mq_line_print(&lower);
}

void mq_print_figure_line(const struct mq_figure_block *block, const char *name,
                          mq_figure_value value, const void *of)
{
    struct mq_table_line line;
    bool any = false;
    mq_line_begin(&line, MQ_TABLE_INDENT, block->table->name_width, name);
    for (size_t i = 0; i < block->count; i++) {
        const struct mq_figure *f = block->columns[i];
        struct mq_estimate e;
        if (!value(of, f, &e)) {
            mq_line_put(&line, room_of(f) - 1, "");
            continue;
        }
        any = true;
        put_value(&line, f, width_of(f), e.value);
        if (f->error_width)
            put_value(&line, f, f->error_width, e.se);
    }
    if (any)
        mq_line_print(&line);
}

/* The columns that are shown so, in blocks. */
static void print_blocks(const struct mq_figure_table *table, enum mq_shown shown)
{
    const struct mq_figure *f = mq_figures, *const end = mq_figures + MQ_FIGURE_COUNT;
    for (;;) {
        struct mq_figure_block block = {.table = table};
        for (int used = MQ_TABLE_INDENT + table->name_width; f < end; f++) {
            const bool chosen = table->choice && table->choice->chosen;
            if (f->section != table->section ||
                (chosen ? !table->choice->columns[f - mq_figures] : f->shown != shown))
                continue;
            used += room_of(f);
            if (block.count && used > mq_output_columns())
                break;
            block.columns[block.count++] = f;
        }
        if (!block.count)
            return;
        print_heads(&block);
        table->lines(table->user, &block);
    }
}

void mq_print_figure_table(const struct mq_figure_table *table)
{
    print_blocks(table, MQ_SHOWN);
    if (table->choice && table->choice->all && !table->choice->chosen)
        print_blocks(table, MQ_SHOWN_ON_PAGES);
}
