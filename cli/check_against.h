/* check_against.h: moeq check OUT --against SRC: is OUT what SRC gives? */
#ifndef MQ_CHECK_AGAINST_H
#define MQ_CHECK_AGAINST_H

#include "command.h"

/* 0: it is; 1: it is not; 2: that cannot be found out, after a message. */
enum mq_exit mq_check_against(const struct mq_options *options);

#endif
