/* calibration_write.h: making a calibration: laid out first, then added to, matrix by matrix, at its place in
 * a temporary file, so that memory holds one matrix's sums.
 *
 * With peers, the first process makes the file; every other one adds to a scratch file of its own, and what each has seen is
 * handed to all in the end. */
#ifndef MQ_CALIBRATION_WRITE_H
#define MQ_CALIBRATION_WRITE_H

#include "calibration.h"
#include "moeq_layout.h"
#include "st_writer.h"

struct mq_calibration_writer {
    struct mq_arena *arena;
    struct mq_calibration calibration; /* readable while it is made; view: the caller's */
    struct mq_layout layout;
    struct mq_st_writer writer; /* of the first process; of another one: */
    struct mq_file scratch;
    bool *seen; /* [layers]: to whose sums this process has added */
};

/* What a calibration is of. Texts are put into the order of their names. All is borrowed. */
struct mq_calibration_origin {
    const struct mq_view *view;
    const char *model_name;
    uint32_t fingerprint;
    const struct mq_calibration_text *texts;
    size_t texts_count;
};

/* A temporary beside `path` where all sums are 0. */
moeq_status mq_calibration_create(const struct mq_context *context,
                                  const struct mq_calibration_origin *origin, const char *path,
                                  struct mq_calibration_writer *writer, moeq_error *err);

/* Adds the sums of one matrix and of its columns (NULL: none). `old` is scratch for as many columns. */
moeq_status mq_calibration_put(struct mq_calibration_writer *writer,
                               const struct mq_calibration_group *group, uint32_t expert,
                               const struct mq_calibration_sums *sums,
                               const struct mq_exact_sum *columns, struct mq_exact_sum *old,
                               moeq_error *err);

/* By all peers: each layer's sums, which one of them has, become everybody's. */
moeq_status mq_calibration_share(struct mq_calibration_writer *writer,
                                 const struct mq_peers *peers, moeq_error *err);

/* Checksums; syncs and renames. By the first process. */
moeq_status mq_calibration_finish(struct mq_calibration_writer *writer, moeq_error *err);
/* Gives up what is not finished, and frees. Twice, or zeroed but for file.fd = -1, it does nothing. */
void mq_calibration_writer_free(struct mq_calibration_writer *writer);
#define MQ_CALIBRATION_WRITER_NONE      \
    {                                   \
        .writer = {.file = {.fd = -1} } \
    }

/* calibrations -> their sum. Fails where they are of different models. */
moeq_status mq_calibration_merge(const struct mq_context *context,
                                 struct mq_calibration *const *parts, size_t count,
                                 struct mq_calibration_writer *writer, const char *path,
                                 moeq_error *err);

#endif
