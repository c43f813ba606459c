/* figure_table.h: a table of figures, as wide as the terminal: what verify/figures.def says, a line an arm. */
#ifndef MQ_FIGURE_TABLE_H
#define MQ_FIGURE_TABLE_H

#include "figures.h"
#include "table_choice.h"
#include "statistics.h"

struct mq_figure_block; /* the columns that stand side by side */

struct mq_figure_table {
    const char *name; /* "Routing": stands above the lines' names */
    enum mq_section section;
    const struct mq_table_choice *choice; /* NULL: the usual columns */
    int name_width; /* of the lines' names */
    /* Prints every line by mq_print_figure_line; called for each block. */
    void (*lines)(const void *user, const struct mq_figure_block *block);
    const void *user;
};

/* Prints the figures of the section as columns; those that find no room as a further block
 * below. */
void mq_print_figure_table(const struct mq_figure_table *table);

/* The value of a figure of what a line is about. False: it has no such figure: a blank, and no line
 * at all in a block where it has none. NaN is a dash. */
typedef bool (*mq_figure_value)(const void *of, const struct mq_figure *figure,
                                struct mq_estimate *value);
void mq_print_figure_line(const struct mq_figure_block *block, const char *name,
                          mq_figure_value value, const void *of);

#endif
