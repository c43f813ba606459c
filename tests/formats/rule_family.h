/* rule_family.h: a family with a row of each rule of config_keys.h, for tests of what reads them. */
#ifndef MQ_RULE_FAMILY_H
#define MQ_RULE_FAMILY_H

#include "family.h"

extern const struct mq_family rule_family;

#endif
