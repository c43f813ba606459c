/*
 * sha256.h: SHA-256 (FIPS 180-4) of bytes as they come: nettle's, which takes the processor's own
 * instructions for it where there are any.
 *
 *     struct mq_sha256 s;
 *     mq_sha256_begin(&s);
 *     mq_sha256_add(&s, bytes, n);
 *     mq_sha256_end(&s, text);
 */
#ifndef MQ_SHA256_H
#define MQ_SHA256_H

#include "file.h"

#include <nettle/sha2.h>

enum { MQ_SHA256_TEXT = 2 * SHA256_DIGEST_SIZE + 1 };

struct mq_sha256 {
    struct sha256_ctx state;
};

void mq_sha256_begin(struct mq_sha256 *sha256);
void mq_sha256_add(struct mq_sha256 *sha256, const void *bytes, size_t n);
/* As sha256sum prints it: 64 digits, the letters small. */
void mq_sha256_end(struct mq_sha256 *sha256, char text[MQ_SHA256_TEXT]);

/* Adds bytes [from, to) of a file, with a buffer of the caller's. */
moeq_status mq_sha256_add_file(struct mq_sha256 *sha256, const struct mq_file *file, uint64_t from,
                               uint64_t to, void *buffer, size_t room, moeq_error *err);

#endif
