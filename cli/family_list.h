/* family_list.h: moeq inspect --list-families: the table of families, for people and as JSON. */
#ifndef MQ_FAMILY_LIST_H
#define MQ_FAMILY_LIST_H

#include "command.h"

enum mq_exit mq_list_families(const struct mq_options *options);

#endif
