/* quantize_file.h: what convert and export have in common: a model, levels, a plan, files. */
#ifndef MQ_QUANTIZE_FILE_H
#define MQ_QUANTIZE_FILE_H

#include "plan_output.h"

/* gguf, folder: at most one of them; both NULL: moeq files. hints: what else to print of what was written; may be NULL. */
enum mq_exit mq_quantize_file(const char *command, const struct mq_options *options,
                              const struct mq_gguf_options *gguf,
                              const struct mq_folder_options *folder,
                              void (*hints)(const struct mq_options *, const struct mq_plan *));

#endif
