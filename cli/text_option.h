/* text_option.h: --text [NAME=]FILE, --tasks FILE: texts and their names, tasks. */
#ifndef MQ_TEXT_OPTION_H
#define MQ_TEXT_OPTION_H

#include "command.h"
#include "model_options.h"
#include "protocol.h"

/* "code=src.txt" -> the name's length, and the file; a file of that whole name is one (0). A name has no '/'. */
size_t mq_text_option_split(const char *value, const char **path);

/* mq_report_files_ok for what --text and --tasks name. */
bool mq_text_option_reports_ok(const char *command, const struct mq_options *options);
/* Whether a path is one of the files that they name. */
bool mq_text_option_names(const struct mq_options *options, const char *path);

/* The files of --tasks, and the protocol that they are evaluated by beside the text (NULL: none). Free them with
 * mq_task_files_free. */
moeq_status mq_option_tasks(const struct mq_options *options, struct mq_task_files *files,
                            struct mq_protocol_options *protocol, moeq_error *err);

#endif
