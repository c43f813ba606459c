/* table_choice.h: which columns sweep and verify print (--columns, -v), and whether in colour (--color). */
#ifndef MQ_TABLE_CHOICE_H
#define MQ_TABLE_CHOICE_H

#include "command.h"

#include "figures.h"

struct mq_table_choice {
    bool all;    /* -v: routing layer by layer, and the figures that else only pages have */
    bool chosen; /* --columns: those below and no others */
    bool columns[MQ_FIGURE_COUNT];
    bool color;
};

/* False after a message: a name that --columns does not know, or of a figure without a column. */
bool mq_table_choose(const char *command, const struct mq_options *options,
                     struct mq_table_choice *choice);

/* Whether words on stdout are coloured: --color; auto: on a terminal that is not dumb, unless NO_COLOR is set and not
 * empty (no-color.org). */
bool mq_color_wanted(const struct mq_options *options);
/* "\033[31m" and its like; "" where !color. */
enum mq_color { MQ_COLOR_NONE, MQ_COLOR_GOOD, MQ_COLOR_FAIR, MQ_COLOR_BAD };
const char *mq_color(bool color, enum mq_color which);

#endif
