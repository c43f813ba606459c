/* sha256.c: see the header. */
#include "sha256.h"

#include "checked.h"
#include "error.h"

#include <nettle/version.h>
#include <stdio.h>

void mq_sha256_begin(struct mq_sha256 *sha256)
{
    sha256_init(&sha256->state);
}

void mq_sha256_add(struct mq_sha256 *sha256, const void *bytes, size_t n)
{
    sha256_update(&sha256->state, n, bytes);
}

void mq_sha256_end(struct mq_sha256 *sha256, char text[MQ_SHA256_TEXT])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
#if NETTLE_VERSION_MAJOR >= 4 /* since when a digest has the one length */
    sha256_digest(&sha256->state, digest);
#else
    sha256_digest(&sha256->state, sizeof digest, digest);
#endif
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

moeq_status mq_sha256_add_file(struct mq_sha256 *sha256, const struct mq_file *file, uint64_t from,
                               uint64_t to, void *buffer, size_t room, moeq_error *err)
{
    while (from < to) {
        const size_t n = (size_t)mq_min_u64(to - from, room);
        MQ_TRY(mq_file_read_at(file, from, buffer, n, err));
        mq_sha256_add(sha256, buffer, n);
        from += n;
    }
    return MOEQ_OK;
}
