/* figure_table.c: headings of two lines, widths as the table of figures says, blocks of 80. */
#include "figure_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SCREEN = 80, LINE = 256, INDENT = 2 };

struct mq_figure_block {
    const struct mq_figure_table *table;
    const struct mq_figure *columns[MQ_FIGURE_COUNT];
    size_t count;
};

/* A heading in two lines, the upper one empty where the title fits into the width. */
struct heading {
    char upper[32], lower[32];
};

static int max(int a, int b)
{
    return a > b ? a : b;
}

/* On the screen: a character of UTF-8 is one column, as all of ours are. */
static int columns_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* Split where the longer line is shortest. */
static struct heading heading_of(const char *title, int width)
{
    struct heading h = {"", ""};
    const int n = (int)strlen(title);
    int split = -1, longest = n;
    for (int i = 0; i < n && n > width; i++)
        if (title[i] == ' ' && max(i, n - i - 1) < longest) {
            split = i;
            longest = max(i, n - i - 1);
        }
    if (split >= 0)
        snprintf(h.upper, sizeof h.upper, "%.*s", split, title);
    snprintf(h.lower, sizeof h.lower, "%s", title + split + 1);
    return h;
}

/* Wider than the table says only where the title's longest word is. */
static int width_of(const struct mq_figure *figure)
{
    const struct heading h = heading_of(figure->title, figure->width);
    return max(figure->width, max(columns_of(h.upper), columns_of(h.lower)));
}

/* What it takes of a line, the blanks before it included. */
static int room_of(const struct mq_figure *figure)
{
    return 1 + width_of(figure) + (figure->error_width ? 1 + figure->error_width : 0);
}

/* ---- lines ---- */

struct line {
    char text[LINE];
    size_t used;
};

/* Right-aligned, behind a blank. */
static void put(struct line *line, int width, const char *text)
{
    const int pad = max(0, width - columns_of(text));
    const int n = snprintf(line->text + line->used, sizeof line->text - line->used, " %*s%s", pad,
                           "", text);
    if (n > 0 && (size_t)n < sizeof line->text - line->used)
        line->used += (size_t)n;
}

/* Without the blanks at its end; nothing for a line that has nothing else. */
static void print_line(const struct line *line)
{
    size_t n = line->used;
    while (n && line->text[n - 1] == ' ')
        n--;
    if (n)
        printf("%.*s\n", (int)n, line->text);
}

static void put_value(struct line *line, const struct mq_figure *figure, int width, double value)
{
    char text[40] = "-";
    const bool share = figure->unit == MQ_UNIT_SHARE;
    if (!isnan(value))
        snprintf(text, sizeof text, "%.*f%s", figure->decimals, share ? 100 * value : value,
                 share ? "%" : "");
    put(line, width, text);
}

static void print_heads(const struct mq_figure_block *block)
{
    struct line upper = {.text = ""}, lower = {.text = ""};
    const int names = block->table->name_width + INDENT;
    upper.used = (size_t)snprintf(upper.text, sizeof upper.text, "%-*s", names, "");
    lower.used = (size_t)snprintf(lower.text, sizeof lower.text, "%-*s", names, block->table->name);
    for (size_t i = 0; i < block->count; i++) {
        const struct mq_figure *f = block->columns[i];
        const struct heading h = heading_of(f->title, f->width);
        put(&upper, width_of(f), h.upper);
        put(&lower, width_of(f), h.lower);
        if (f->error_width) {
            put(&upper, f->error_width, "");
            put(&lower, f->error_width, "± se");
        }
    }
    putchar('\n');
    print_line(&upper);
    print_line(&lower);
}

void mq_print_figure_line(const struct mq_figure_block *block, const char *name,
                          mq_figure_value value, const void *of)
{
    const int width = block->table->name_width;
    struct line line = {.text = ""};
    bool any = false;
    line.used =
        (size_t)snprintf(line.text, sizeof line.text, "%*s%-*.*s", INDENT, "", width, width, name);
    for (size_t i = 0; i < block->count; i++) {
        const struct mq_figure *f = block->columns[i];
        struct mq_estimate e;
        if (!value(of, f, &e)) {
            put(&line, room_of(f) - 1, "");
            continue;
        }
        any = true;
        put_value(&line, f, width_of(f), e.value);
        if (f->error_width)
            put_value(&line, f, f->error_width, e.se);
    }
    if (any)
        print_line(&line);
}

/* The columns that are shown so, in blocks. */
static void print_blocks(const struct mq_figure_table *table, enum mq_shown shown)
{
    const struct mq_figure *f = mq_figures, *const end = mq_figures + MQ_FIGURE_COUNT;
    for (;;) {
        struct mq_figure_block block = {.table = table};
        for (int used = INDENT + table->name_width; f < end; f++) {
            const bool chosen = table->choice && table->choice->chosen;
            if (f->section != table->section ||
                (chosen ? !table->choice->columns[f - mq_figures] : f->shown != shown))
                continue;
            used += room_of(f);
            if (block.count && used > SCREEN)
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
