/*
 * text_table.h: tables that fit the terminal: lines of cells, and whole tables of words.
 *
 * Columns that find no room beside the others become a further block below, with the names of the rows again; each
 * block has at least one column.
 */
#ifndef MQ_TEXT_TABLE_H
#define MQ_TEXT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { MQ_TABLE_LINE = 256, MQ_TABLE_INDENT = 2, MQ_TABLE_CELL = 128 };

/* ---- lines ---- */

struct mq_table_line {
    char text[MQ_TABLE_LINE];
    size_t used;
};

/* The name, behind the indentation, padded or cut to so many columns; clears the line. */
void mq_line_begin(struct mq_table_line *line, int indent, int width, const char *name);
/* Right-aligned, behind a blank; of width < 0 left-aligned. */
void mq_line_put(struct mq_table_line *line, int width, const char *text);
/* Without the blanks at its end; nothing for a line that has nothing else. */
void mq_line_print(const struct mq_table_line *line);

/* A heading in two lines, the upper one empty where the title fits into the width: split where the longer line is
 * shortest. */
struct mq_heading {
    char upper[32], lower[32];
};
struct mq_heading mq_heading_of(const char *title, int width);
/* The width, or that of the title's longest line. */
int mq_heading_width(const char *title, int width);

/* Of a column of names that are as wide as `widest`: what leaves room for figures beside it. */
int mq_table_names_width(int widest);

/* ---- tables of words ---- */

struct mq_text_column {
    const char *title;
    int width; /* < 0: left-aligned, so wide */
    int with;  /* so many columns behind it stay beside it */
};

struct mq_text_table {
    const char *name; /* above the rows' names */
    int name_width;
    /* What is done with a longer name: it stands on a line of its own, or moves the columns; else it is cut. */
    bool whole_names, uncut_names;
    const struct mq_text_column *columns;
    size_t columns_count;
    size_t rows_count;
    /* The name of a row (column < 0) or a cell. */
    void (*cell)(const void *user, size_t row, int column, char text[MQ_TABLE_CELL]);
    const void *user;
};

/* With an empty line before each block. */
void mq_print_text_table(const struct mq_text_table *table);
/* The same without the empty line before the first. */
void mq_print_text_table_here(const struct mq_text_table *table);

#endif
