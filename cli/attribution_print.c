/* attribution_print.c: a table of parts. */
#include "attribution_print.h"

#include "levels.h"

#include <math.h>
#include <stdio.h>

void mq_print_attribution(const struct mq_attribution *a, const struct mq_comparison *whole)
{
    const struct mq_comparison_row *row = &whole->rows[1];
    const double kld = row->result.kld.mean.value;
    printf("\nwhere the loss of %s comes from: with only that part quantized\n", row->name);
    printf("  %-30s %6s %9s %10s %6s %8s\n", "part", "bits/w", "KLD", "± se ", "of it", "routes");
    for (size_t i = 0; i < a->parts_count; i++) {
        const struct mq_attribution_part *p = &a->parts[i];
        printf("  %-30.30s %6.3f %9.3g %9.1g %5.1f%%", p->name,
               mq_bits_per_weight(p->bytes, p->weights), p->kld.value, p->kld.se,
               kld > 0 ? 100.0 * p->kld.value / kld : 0.0);
        if (isnan(p->exact_routes.value))
            printf(" %8s\n", "-");
        else
            printf(" %7.2f%%\n", 100.0 * p->exact_routes.value);
    }
    printf("  %-30s %6s %9.3g %9s %5.1f%%\n", "their sum", "", a->sum, "",
           kld > 0 ? 100.0 * a->sum / kld : 0.0);
    printf("  of it: of the KLD of the whole, %.3g; routes: tokens that keep their experts\n", kld);
}
