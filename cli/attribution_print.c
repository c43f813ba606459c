/* attribution_print.c: a table of parts. */
#include "attribution_print.h"

#include "levels.h"
#include "terminal_text.h"
#include "text_table.h"

#include <math.h>
#include <stdio.h>

enum part_column { PART_BITS, PART_KLD, PART_KLD_SE, PART_SHARE, PART_ROUTES };

struct parts {
    const struct mq_attribution *attribution;
    double kld; /* of the whole */
};

/* Behind the last part their sum. */
static void part_cell(const void *user, size_t i, int column, char text[MQ_TABLE_CELL])
{
    const struct parts *parts = user;
    const struct mq_attribution *a = parts->attribution;
    const struct mq_attribution_part *p = i < a->parts_count ? &a->parts[i] : NULL;
    const double kld = p ? p->kld.value : a->sum;
    if (column < 0)
        snprintf(text, MQ_TABLE_CELL, "%.60s", p ? p->name : "their sum");
    else if (column == PART_KLD)
        snprintf(text, MQ_TABLE_CELL, "%.3g", kld);
    else if (column == PART_SHARE)
        snprintf(text, MQ_TABLE_CELL, "%.1f%%", parts->kld > 0 ? 100.0 * kld / parts->kld : 0.0);
    else if (!p)
        text[0] = '\0';
    else if (column == PART_BITS)
        snprintf(text, MQ_TABLE_CELL, "%.3f", mq_bits_per_weight(p->bytes, p->weights));
    else if (column == PART_KLD_SE)
        snprintf(text, MQ_TABLE_CELL, "%.1g", p->kld.se);
    else if (isnan(p->exact_routes.value))
        snprintf(text, MQ_TABLE_CELL, "-");
    else
        snprintf(text, MQ_TABLE_CELL, "%.2f%%", 100.0 * p->exact_routes.value);
}

void mq_print_attribution(const struct mq_attribution *a, const struct mq_comparison *whole)
{
    static const struct mq_text_column columns[] = {[PART_BITS] = {"bits/w", 6, 0},
                                                    [PART_KLD] = {"KLD", 9, 1},
                                                    [PART_KLD_SE] = {"± se", 9, 0},
                                                    [PART_SHARE] = {"of it", 6, 0},
                                                    [PART_ROUTES] = {"routes", 8, 0}};
    const struct mq_comparison_row *row = &whole->rows[1];
    const struct parts parts = {a, row->result.kld.mean.value};
    putchar('\n');
    mq_print_sentence(2, "where the loss of %s comes from: with only that part quantized",
                      row->name);
    mq_print_text_table_here(
        &(struct mq_text_table){.name = "  part",
                                .name_width = mq_table_names_width(30),
                                .columns = columns,
                                .columns_count = sizeof columns / sizeof *columns,
                                .rows_count = a->parts_count + 1,
                                .cell = part_cell,
                                .user = &parts});
    mq_print_sentence(
        2, "  of it: of the KLD of the whole, %.3g; routes: tokens that keep their experts",
        parts.kld);
}
