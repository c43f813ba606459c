/*
 * integrity.h: `check FILE`: is every byte of a moeq file what was written?
 *
 * The file ends with its checksums: one CRC-32 for each tensor, one for the header (length prefix
 * and padding included), one for the checksums themselves. The last two words stand at fixed places
 * from the end, so a header whose JSON or length is damaged is still recognised as such. Every byte
 * of the file is under exactly one of these CRCs; a CRC-32 detects every flipped bit and every
 * burst up to 32 bits.
 */
#ifndef MQ_INTEGRITY_H
#define MQ_INTEGRITY_H

#include "context.h"
#include "moeq.h"
#include "zeros.h"

struct mq_damage {
    const char *name;            /* the tensor's */
    const char *role;            /* "expert_up"; "padding", "side file"; NULL if unknown */
    int32_t layer, expert;       /* -1 where none */
    uint64_t offset, size_bytes; /* in the file */
    uint32_t stored_crc, computed_crc;
};

enum { MQ_DAMAGE_LISTED = 1000 }; /* more damaged tensors are counted, not listed */

struct mq_integrity_result {
    const char *path; /* the caller's */
    uint64_t file_bytes;
    uint64_t tensors,
        tensors_checked;    /* without the checksum tensor; checked 0: the header is damaged */
    bool header_damaged;    /* the tensors cannot be located then */
    bool checksums_damaged; /* the checksum tensor itself; tensors it still vouches for are not
                               listed */
    uint64_t damaged_count;
    struct mq_damage *damaged; /* in file order */
    size_t listed_count;
    /* Of tensors that are what was written: zeros where weights should be, so already in what the
     * file was made of. */
    struct mq_zeros zeros;
    struct mq_arena *arena;
};

static inline bool mq_integrity_ok(const struct mq_integrity_result *r)
{
    return !r->header_damaged && !r->checksums_damaged && !r->damaged_count && !r->zeros.count;
}

/*
 * Reads the whole file once, in parallel, with a few MiB a thread. MOEQ_OK means that the check was
 * done: damage is in the result. Fails if the file cannot be read, is no moeq file, or is cut
 * short.
 */
moeq_status mq_integrity_check(const struct mq_context *context, const char *path,
                               struct mq_integrity_result *result, moeq_error *err);
void mq_integrity_free(struct mq_integrity_result *result);

/* MOEQ_OK for a sound file; otherwise MOEQ_CORRUPT with a message about the first damage: file,
 * tensor, place, layer, expert and matrix. */
moeq_status mq_integrity_status(const struct mq_integrity_result *result, moeq_error *err);

/* Both at once: fails on the first damaged byte, and on a file that was cut short. */
moeq_status mq_integrity_require(const struct mq_context *context, const char *path,
                                 moeq_error *err);

/* Describes one damage in words: "layer 3, expert 5, expert_up"; "" if nothing is known but its
 * name. */
void mq_damage_describe(const struct mq_damage *damage, char *text, size_t room);

#endif
