/* export_format.h: which format export writes: what --format, -o and --level say of it. */
#ifndef MQ_EXPORT_FORMAT_H
#define MQ_EXPORT_FORMAT_H

#include "command.h"
#include "plan.h"

/* Reads --format; *is_folder false: GGUF. False after a message: it is none, or -o and --level are of another. */
bool mq_export_format(const struct mq_options *options, bool *is_folder,
                      enum mq_folder_format *format);

#endif
