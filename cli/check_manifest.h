/* check_manifest.h: moeq check --manifest and --write-manifest: SHA-256 sums of a model's files, in a list beside them. */
#ifndef MQ_CHECK_MANIFEST_H
#define MQ_CHECK_MANIFEST_H

#include "command.h"

enum mq_exit mq_check_manifest(const struct mq_options *options);
enum mq_exit mq_check_write_manifest(const struct mq_options *options);

#endif
