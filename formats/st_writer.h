/*
 * st_writer.h: writing a plain safetensors file whose tensors are known beforehand.
 *
 * Every tensor's place is fixed before the first byte, so data may come in any order and in
 * pieces. The file appears under its name only when it is complete and on the disk.
 */
#ifndef MQ_ST_WRITER_H
#define MQ_ST_WRITER_H

#include "new_file.h"
#include "safetensors.h"

/*
 * A header, piece by piece: begin, each tensor in file order, end. The buffer then holds the file's
 * first bytes:
 *
 *     the length
 *     {"__metadata__":{...},"name":{"dtype":"U8","shape":[2,3],"data_offsets":[0,6]},...}
 *     spaces up to a multiple of `alignment`
 *
 * `metadata` is key, value, ..., NULL, or NULL; offsets are from the start of the data. Out of
 * memory is sticky in the buffer.
 */
void mq_st_header_begin(struct mq_buffer *b, const char *const *metadata);
void mq_st_header_tensor(struct mq_buffer *b, const char *name, enum mq_dtype dtype,
                         const uint64_t *shape, uint32_t dims, uint64_t offset,
                         uint64_t size_bytes);
void mq_st_header_end(struct mq_buffer *b, size_t alignment);

struct mq_st_writer {
    struct mq_new_file file;
    const struct mq_st_entry *entries; /* the caller's; offset and size_bytes filled in */
    size_t count;
    uint64_t file_bytes;
};

/*
 * Lays out entries (name, dtype, dims and shape set) in their order, creates a temporary of
 * their full size, and writes the header. `metadata` is key, value, ..., NULL, or NULL. The
 * entries must outlive the writer. On failure nothing stays behind. peers (NULL: none): who writes the same file with
 * this process, as mq_new_file_open_shared has it; the first writes the header.
 */
moeq_status mq_st_writer_open(struct mq_st_writer *writer, const char *path,
                              struct mq_st_entry *entries, size_t count,
                              const char *const *metadata, const struct mq_peers *peers,
                              moeq_error *err);

/* As above, for a header that the caller has laid out itself: `put` is not for such a file, but
 * mq_write_at(writer->file.fd, writer->file.part, ...) at the header's offsets. mode: as
 * mq_new_file_open_mode has it. */
moeq_status mq_st_writer_open_raw(struct mq_st_writer *writer, const char *path, const void *header,
                                  uint64_t header_bytes, uint64_t file_bytes, mode_t mode,
                                  const struct mq_peers *peers, moeq_error *err);

/* Writes n bytes of an entry's data, from byte `at` of it. Safe from several threads. */
moeq_status mq_st_writer_put(const struct mq_st_writer *writer, size_t entry, uint64_t at,
                             const void *bytes, uint64_t n, moeq_error *err);

/* Syncs and renames to the final name; or, if that fails, removes the part. */
moeq_status mq_st_writer_finish(struct mq_st_writer *writer, moeq_error *err);

/* Gives up an unfinished file and removes it; after finish, or twice, it does nothing. */
void mq_st_writer_abort(struct mq_st_writer *writer);

#endif
