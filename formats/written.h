/*
 * written.h: which bytes of a file's items have been written, by one process or by several, with the checksums of the
 * pieces, which make up those of the items.
 *
 * Every process notes what it writes itself; when all are done, each learns what the others wrote.
 */
#ifndef MQ_WRITTEN_H
#define MQ_WRITTEN_H

#include "peers.h"

#include <stdbool.h>
#include <stddef.h>

struct mq_written_piece {
    uint64_t item, at, bytes; /* of the item, from its byte `at` */
    uint64_t crc32;
};

struct mq_written {
    struct mq_written_piece *all;
    size_t count, room;
};

/* n bytes (NULL: which have no checksum) that now stand at byte `at` of an item; they grow onto a piece that they follow. */
moeq_status mq_written_add(struct mq_written *written, uint64_t item, uint64_t at,
                           const void *bytes, uint64_t n, moeq_error *err);

/* Those of all peers, in order, in place of one's own. */
moeq_status mq_written_gather(struct mq_written *written, const struct mq_peers *peers,
                              moeq_error *err);

/* Of what was gathered: whether each of an item's bytes was written, and once, and the CRC-32 of them all. */
bool mq_written_whole(const struct mq_written *written, uint64_t item, uint64_t size_bytes,
                      uint32_t *crc);

void mq_written_free(struct mq_written *written);

#endif
