/* ids_file.h: windows of token ids: a safetensors file with `input_ids`, I32 or I64 [n, T]. */
#ifndef MQ_IDS_FILE_H
#define MQ_IDS_FILE_H

#include "arena.h"
#include "evaluator.h"
#include "file.h"

/* *ids: what windows->ids points at, the caller's to free, also after a failure. identity: the file's numbers,
 * to know it again; the file is closed. Every id is below `vocabulary`. path: a file, a pipe or "-". */
moeq_status mq_ids_file_read(const char *path, uint32_t vocabulary, struct mq_arena *arena,
                             struct mq_windows *windows, int32_t **ids, struct mq_file *identity,
                             moeq_error *err);

#endif
