/* test_model.h: copies of the reference models for tests that damage or convert them. */
#ifndef MQ_TEST_MODEL_H
#define MQ_TEST_MODEL_H

#include "convert.h"
#include "file.h"
#include "model_view.h"
#include "test_support.h"

#define MIXTRAL "tests/fixtures/oracles/mixtral"
#define MIXTRAL_FUSED "tests/fixtures/oracles/mixtral_fused"

/* A fresh copy of a folder of the source tree under a name of its own. */
const char *test_model_copy(const char *relative, const char *name);

/* A copy of the reference model llama2 whose attention output of layer 0 is FP8 in blocks; `claimed`:
 * config.json says so. */
const char *test_f8_model(const char *name, bool claimed);

/* "folder/file"; a ring of 8. */
const char *test_path(const char *folder, const char *file);

/* Replaces the first occurrence of a text in a file. Where the length must stay (a safetensors
 * header), the texts must be of one length. */
void test_replace(const char *path, const char *old, const char *new);

/* A whole file, to be freed with mq_buffer_free. */
struct mq_buffer test_read(const char *path);
void test_write(const char *path, const void *bytes, size_t n);
bool test_files_equal(const char *a, const char *b);

/* Opens a model that is sound. */
struct mq_view *test_open(const char *path);

/* Opens a model, plans it at a level and converts it; options may be NULL: 2 threads, generic. */
moeq_status test_convert(const char *model, const char *level, const char *output,
                         const struct mq_context *context, struct mq_convert_result *result,
                         moeq_error *err);

/* The same in shards of at most shard_bytes; `keep`: an existing output is not replaced. */
moeq_status test_convert_sharded(const char *model, const char *level, uint64_t shard_bytes,
                                 const char *output, bool keep, const struct mq_context *context,
                                 struct mq_convert_result *result, moeq_error *err);

/* Stops a job after so many reports of progress, as Ctrl-C does: the context's progress is
 * test_stop_progress, its user and the address of `cancel` are the stopper's. */
struct test_stopper {
    atomic_bool cancel;
    int left;
};
void test_stop_progress(void *stopper, const struct mq_progress *progress);

/* Asserts that opening fails with this status and message; "%s" in it stands for `path`. */
void test_refused(const char *path, moeq_status status, const char *message);

#endif
