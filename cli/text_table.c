/* text_table.c: see text_table.h. */
#include "text_table.h"

#include "terminal_text.h"

#include <stdio.h>
#include <string.h>

static int max(int a, int b)
{
    return a > b ? a : b;
}

/* ---- lines ---- */

static void append(struct mq_table_line *line, int left, const char *text, int right)
{
    const size_t room = sizeof line->text - line->used;
    const int n = snprintf(line->text + line->used, room, "%*s%s%*s", left, "", text, right, "");
    if (n > 0 && (size_t)n < room)
        line->used += (size_t)n;
}

/* Bytes of the first `columns` characters. */
static int bytes_of(const char *text, int columns)
{
    int n = 0;
    for (; text[n] && columns >= 0; n++) {
        columns -= ((unsigned char)text[n] & 0xc0) != 0x80;
        if (columns < 0)
            break;
    }
    return n;
}

void mq_line_begin(struct mq_table_line *line, int indent, int width, const char *name)
{
    char cut[MQ_TABLE_LINE];
    line->used = 0;
    line->text[0] = '\0';
    snprintf(cut, sizeof cut, "%.*s", bytes_of(name, width), name);
    append(line, indent, cut, max(0, width - mq_columns_of(cut)));
}

void mq_line_put(struct mq_table_line *line, int width, const char *text)
{
    const int pad = max(0, (width < 0 ? -width : width) - mq_columns_of(text));
    append(line, 1 + (width < 0 ? 0 : pad), text, width < 0 ? pad : 0);
}

void mq_line_print(const struct mq_table_line *line)
{
    size_t n = line->used;
    while (n && line->text[n - 1] == ' ')
        n--;
    if (n)
        printf("%.*s\n", (int)n, line->text);
}

struct mq_heading mq_heading_of(const char *title, int width)
{
    struct mq_heading h = {"", ""};
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

int mq_heading_width(const char *title, int width)
{
    const struct mq_heading h = mq_heading_of(title, width);
    return max(width, max(mq_columns_of(h.upper), mq_columns_of(h.lower)));
}

int mq_table_names_width(int widest)
{
    enum { FIGURES = 24, LEAST = 9 };
    const int most = mq_output_columns() - MQ_TABLE_INDENT - FIGURES;
    return widest < most ? widest : max(LEAST, most);
}

/* ---- tables of words ---- */

/* With its sign: left-aligned below 0. */
static int width_of(const struct mq_text_column *c)
{
    return c->width < 0 ? -mq_heading_width(c->title, -c->width)
                        : mq_heading_width(c->title, c->width);
}

static int room_of(const struct mq_text_column *c)
{
    const int width = width_of(c);
    return 1 + (width < 0 ? -width : width);
}

/* The end of the block that begins at a column: what fits, and at least one column with those that stay beside it. */
static size_t block_end(const struct mq_text_table *t, size_t from)
{
    int used = MQ_TABLE_INDENT + t->name_width;
    size_t end = from;
    while (end < t->columns_count) {
        size_t next = end;
        int room = 0;
        do
            room += room_of(&t->columns[next]);
        while (next++ < end + (size_t)t->columns[end].with);
        if (end > from && used + room > mq_output_columns())
            break;
        used += room;
        end = next;
    }
    return end;
}

static void print_heads(const struct mq_text_table *t, size_t from, size_t end)
{
    struct mq_table_line upper, lower;
    mq_line_begin(&upper, 0, t->name_width + MQ_TABLE_INDENT, "");
    mq_line_begin(&lower, 0, t->name_width + MQ_TABLE_INDENT, t->name);
    for (size_t i = from; i < end; i++) {
        const struct mq_text_column *c = &t->columns[i];
        const int width = width_of(c);
        const struct mq_heading h = mq_heading_of(c->title, c->width < 0 ? -c->width : c->width);
        mq_line_put(&upper, width, h.upper);
        mq_line_put(&lower, width, h.lower);
    }
    mq_line_print(&upper);
    mq_line_print(&lower);
}

/* A row that has nothing in a further block is left out there. */
static void print_row(const struct mq_text_table *t, size_t row, size_t from, size_t end)
{
    struct mq_table_line line;
    char text[MQ_TABLE_CELL] = "";
    bool any = from == 0;
    t->cell(t->user, row, -1, text);
    if (t->whole_names && mq_columns_of(text) > t->name_width) {
        printf("%*s%s\n", MQ_TABLE_INDENT, "", text);
        text[0] = '\0';
    }
    mq_line_begin(&line, MQ_TABLE_INDENT, t->name_width, text);
    if (t->uncut_names && mq_columns_of(text) > t->name_width)
        mq_line_begin(&line, MQ_TABLE_INDENT, mq_columns_of(text), text);
    for (size_t i = from; i < end; i++) {
        text[0] = '\0';
        t->cell(t->user, row, (int)i, text);
        any = any || text[0];
        mq_line_put(&line, width_of(&t->columns[i]), text);
    }
    if (any)
        mq_line_print(&line);
}

void mq_print_text_table(const struct mq_text_table *t)
{
    putchar('\n');
    mq_print_text_table_here(t);
}

void mq_print_text_table_here(const struct mq_text_table *t)
{
    for (size_t from = 0, end; from < t->columns_count; from = end) {
        end = block_end(t, from);
        if (from)
            putchar('\n');
        print_heads(t, from, end);
        for (size_t row = 0; row < t->rows_count; row++)
            print_row(t, row, from, end);
    }
}
