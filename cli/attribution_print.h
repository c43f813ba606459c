/* attribution_print.h: where a level's loss comes from. */
#ifndef MQ_ATTRIBUTION_PRINT_H
#define MQ_ATTRIBUTION_PRINT_H

#include "attribution.h"

/* whole: the comparison whose first candidate was taken apart. */
void mq_print_attribution(const struct mq_attribution *attribution,
                          const struct mq_comparison *whole);

#endif
