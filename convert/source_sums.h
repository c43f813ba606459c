/*
 * source_sums.h: whether a source is the one that a list of SHA-256 sums means, found out while it is converted.
 *
 * A hash goes from the first byte of a file to its last, so with a list chunks are taken in the order in which the
 * source has them, and each thread hands what it has read to the hash, in turn, before it encodes it. What no chunk
 * reads, and what a chunk does not read as it stands, is read for the hash: headers, tensors that the model does not
 * need, what an earlier run has converted, and matrices that are put together (assembly.h, gguf_form.h). So a byte is
 * read twice only of the last of these.
 */
#ifndef MQ_SOURCE_SUMS_H
#define MQ_SOURCE_SUMS_H

#include "chunks.h"
#include "context.h"
#include "sums_list.h"

#include <pthread.h>

/*
 * Reads a list. The small files that it names (config.json, tokenizer.json, ...) are hashed at once; those that it does
 * not name become a note of the view. A file of weights that it does not name is an error. All is the view's arena's.
 */
moeq_status mq_source_list_read(const char *list, struct mq_view *view,
                                struct mq_source_list **source, moeq_error *err);

struct mq_source_sums {
    const struct mq_view *view;
    const struct mq_source_list *list; /* NULL: nothing is hashed */
    pthread_mutex_t lock;
    pthread_cond_t next;
    size_t turn; /* in the order; under the lock */
    bool stopped, has_lock;
    bool finished, differ; /* all are hashed; one is not what the list says */
    /* of whose turn it is: */
    struct mq_sha256 state;
    uint32_t file, end; /* the one that is being hashed; the first one behind those that are to be */
    uint64_t at;    /* of the file: what is hashed */
    uint64_t again; /* bytes that were read for the hash alone */
    uint8_t *buffer;
};

/* All zero before. With peers, each hashes some of the files. Free it in any case. */
moeq_status mq_source_sums_begin(struct mq_source_sums *s, const struct mq_plan *plan,
                                 const struct mq_peers *peers, moeq_error *err);
void mq_source_sums_free(struct mq_source_sums *s);

/* Puts the numbers of chunks into the order in which the source has them. */
moeq_status mq_source_sums_order(const struct mq_chunks *chunks, uint32_t *order, size_t count,
                                 moeq_error *err);

/* What chunk number `turn` of the order has read: waits until those before it have been here. */
moeq_status mq_source_sums_add(struct mq_source_sums *s, size_t turn,
                               const struct mq_chunk_place *place, const void *bytes,
                               moeq_error *err);
/* A thread has failed: nobody is to wait for it. */
void mq_source_sums_stop(struct mq_source_sums *s);

/* What is left of the files. */
moeq_status mq_source_sums_finish(struct mq_source_sums *s, const struct mq_context *context,
                                  moeq_error *err);

#endif
