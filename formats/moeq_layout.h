/* moeq_layout.h: where each tensor goes in a moeq file, and the file's header. */
#ifndef MQ_MOEQ_LAYOUT_H
#define MQ_MOEQ_LAYOUT_H

#include "arena.h"
#include "dtype.h"
#include "moeq.h"

#include <stdbool.h>

struct mq_layout_item {
    const char *name;
    enum mq_dtype dtype;
    uint32_t dims;
    uint64_t shape[2];
    bool aligned; /* begins at a multiple of MQ_GROUP_ALIGN */
    /* Filled by mq_layout_build: */
    uint64_t offset, size_bytes; /* in the file */
    int64_t source; /* index of the caller's item; -1 for padding, -2 for the checksums */
};

struct mq_layout {
    struct mq_layout_item *items; /* in file order, with padding; the last one is MQ_CRC_NAME */
    size_t count;
    char *header;          /* length prefix, JSON, spaces: the file's first bytes */
    uint64_t header_bytes; /* a multiple of MQ_GROUP_ALIGN */
    uint64_t file_bytes;
};

/* Lays out the items in their order, inserts zero padding, appends the checksum tensor and prints
 * the header. `metadata` is key, value, ..., NULL. All memory is the arena's. */
moeq_status mq_layout_build(const struct mq_layout_item *items, size_t count,
                            const char *const *metadata, struct mq_arena *arena,
                            struct mq_layout *layout, moeq_error *err);

/* Puts one more pair into the metadata of a finished layout, in place of spaces behind the JSON: nothing moves. False: there
 * are too few. */
bool mq_layout_note(const struct mq_layout *layout, const char *key, const char *value);

/* The checksum tensor: U32 little-endian, one CRC-32 for each tensor before it in file order, then
 * that of the header, then that of the words so far, which is returned. */
#define MQ_CRC_TABLE_BYTES(tensors) (4 * ((size_t)(tensors) + 2))
uint32_t mq_crc_table(const uint32_t *crcs, size_t tensors, uint32_t header_crc,
                      unsigned char *table);

/* Writes that of a file of this layout to its place; crcs[count - 1] are the tensors'. `last`: see
 * mq_crc_table; may be NULL. */
moeq_status mq_layout_write_crcs(const struct mq_layout *layout, const uint32_t *crcs, int fd,
                                 const char *path, uint32_t *last, moeq_error *err);

#endif
