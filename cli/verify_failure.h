/* verify_failure.h: reports and JUnit of a verification that could not be done. */
#ifndef MQ_VERIFY_FAILURE_H
#define MQ_VERIFY_FAILURE_H

#include "command.h"

/* Writes --report and --junit with the reason. Never over an input, nor into the folder of one: what failed may have
 * failed before outputs were looked at. */
void mq_verify_failure_write(const struct mq_options *options, const moeq_error *err);

#endif
