/* view_fingerprint.c: see model_view.h. */
#include "model_view.h"

#include "checked.h"
#include "error.h"

#include <string.h>
#include <zlib.h>

enum { SAMPLE_BYTES = 4096 };

static uint32_t add_number(uint32_t crc, uint64_t number)
{
    return (uint32_t)crc32_z(crc, (const Bytef *)&number, sizeof number);
}

/* Bytes from `at` on, as many as there are. */
static moeq_status add_sample(const struct mq_source_file *f, uint64_t at, uint32_t *crc,
                              moeq_error *err)
{
    unsigned char bytes[SAMPLE_BYTES];
    const uint64_t size = f->file.size_bytes, n = mq_min_u64(SAMPLE_BYTES, size - at);
    MQ_TRY(mq_file_read_at(&f->file, at, bytes, n, err));
    *crc = (uint32_t)crc32_z(*crc, bytes, n);
    return MOEQ_OK;
}

moeq_status mq_view_fingerprint(const struct mq_view *view, uint32_t *fingerprint, moeq_error *err)
{
    const struct mq_buffer *config = &view->side[MQ_SIDE_CONFIG];
    uint32_t crc = (uint32_t)crc32_z(0, (const Bytef *)config->data, config->size);
    for (size_t i = 0; i < view->files_count; i++) {
        const struct mq_source_file *f = &view->files[i];
        const uint64_t size = f->file.size_bytes;
        crc = (uint32_t)crc32_z(crc, (const Bytef *)f->name, strlen(f->name));
        crc = add_number(add_number(crc, size), f->header_crc32);
        MQ_TRY(add_sample(f, mq_min_u64(f->header_bytes, size), &crc, err));
        MQ_TRY(add_sample(f, size / 2, &crc, err));
        MQ_TRY(add_sample(f, size - mq_min_u64(SAMPLE_BYTES, size), &crc, err));
    }
    *fingerprint = crc;
    return MOEQ_OK;
}
