/* fit_support.h: what the tests of fit share: published models by their config.json, and cards. */
#ifndef FIT_SUPPORT_H
#define FIT_SUPPORT_H

#include "fit.h"
#include "test_support.h"

/* tests/fixtures/configs/NAME.json */
struct mq_view *open_config(const char *name);

struct mq_fit_target target_of(const char *card, uint32_t cards);
struct mq_fit_target target_bytes(uint64_t bytes, uint32_t cards);

/* With a cache in f16. */
void begin_target(struct mq_fit *fit, const struct mq_view *view,
                  const struct mq_fit_target *target, uint64_t context);
void begin(struct mq_fit *fit, const struct mq_view *view, const char *card, uint32_t cards,
           uint64_t context);

/* The row of a level, with the default policy. */
const struct mq_fit_row *add(struct mq_fit *fit, const char *level);

/* Whether one of the assumptions has these words. */
bool assumes(const struct mq_fit *fit, const char *words);

#endif
