/*
 * fuzz_support.h: what fuzz targets of models, of several files, of checksums and of long-lived files share.
 *
 * An input of several parts is so many times
 *
 *     u32 length, little-endian | bytes
 *
 * where a length beyond the end takes what is there. mutate_parts.c changes one part at a time.
 */
#ifndef FUZZ_SUPPORT_H
#define FUZZ_SUPPORT_H

#include "moeq.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_part {
    const uint8_t *data;
    size_t size;
};

/* How many parts there are, at most `most`; the others are empty. */
size_t fuzz_parts(const uint8_t *data, size_t size, struct fuzz_part *parts, size_t most);

/* A file in memory, all zero before its first content; made once and written anew. */
struct fuzz_file {
    int fd;
    char path[64];
};
const char *fuzz_put(struct fuzz_file *file, const void *bytes, size_t n);

/* A file of a folder of this process's own, which is removed at the end: its content, or that there is none. */
struct fuzz_entry {
    char name[64];
    struct fuzz_file file;
    int is_there;
};
const char *fuzz_folder(void);
void fuzz_put_entry(struct fuzz_entry *entry, const void *bytes, size_t n);
void fuzz_no_entry(struct fuzz_entry *entry);

/* A failure has a message on one line, which names `path` unless that is NULL or memory ran out. */
void fuzz_refused(moeq_status status, const moeq_error *err, const char *path);
/* Aborts unless it holds. */
void fuzz_expect(bool holds);

/* The first and the last row of a tensor of a view can be read, if they are no larger than a MiB, and decoded where a level
 * can. `corrupt_too`: or they are found to be damaged. */
struct mq_view;
struct mq_tensor;
void fuzz_read_rows(const struct mq_view *view, const struct mq_tensor *tensor, int corrupt_too);

/*
 * A safetensors file of a header and data, its length put before it. With `mended` what a mutation breaks at once is made
 * right: the data is as long as the largest number before a ']' (zeros are added, at most 1 MiB), so that inputs stay
 * small; the first "########" of the header is the CRC-32 of `input_ids`; and the last tensor, if it is moeq.crc32, holds
 * the checksums of FORMAT.md. *last: its last word. The caller frees the bytes.
 */
uint8_t *fuzz_safetensors(struct fuzz_part header, struct fuzz_part data, bool mended, size_t *size,
                          uint32_t *last);

#endif
