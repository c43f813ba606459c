/*
 * integrity.c: comparing a moeq file with its checksums, and telling which of the two is damaged.
 *
 * Three things vouch for each other: the header (its CRC), the tensors (theirs), the checksum
 * tensor (the CRC of its words). In what order to believe them:
 *
 *   header matches its CRC        the header is sound; the tensors are where it says
 *   - checksums match their CRC   a tensor that differs is damaged
 *   - they do not                 the checksum tensor is damaged. All tensors are sound if the CRCs
 *                                 computed from the data, put in its place, match the CRC of the
 *                                 words, or if only that last word differs
 *   header differs
 *   - checksums match their CRC   the header is damaged
 *   - they do not                 as above: is it only the header's word that is damaged?
 *
 * A damaged header may hide where the checksums begin; then they are searched from the end of the
 * file: they begin at a multiple of MQ_GROUP_ALIGN, and their CRC says which.
 */
#include "integrity.h"

#include "checked.h"
#include "family.h"
#include "first_error.h"
#include "moeq_layout.h"
#include "moeq_profile.h"
#include "safetensors.h"
#include "stored.h"
#include "weights_check.h"
#include "what_is_it.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Checksums are what is being looked at. */
static const struct mq_open_options unchecked = {.no_check = true};

enum {
    CHUNK_BYTES = 1 << 22,  /* read and checksummed at once by a thread */
    SEARCH_BYTES = 1 << 26, /* how far from the end checksums may begin: 16 million tensors */
};

struct check {
    const struct mq_context *context;
    struct mq_file file;
    struct mq_safetensors st; /* open if `parsed` */
    bool parsed; /* the header is valid safetensors with a checksum tensor at its end */
    bool header_ok, checksums_ok;
    uint32_t computed_header, stored_header, stored_self;
    uint32_t *stored, *computed; /* [tensors] */
    struct mq_integrity_result *result;
    /* The chunks of all tensors. */
    size_t *first_chunk; /* [tensors + 1] */
    uint32_t *chunk_crcs;
    struct mq_zero_span *chunk_zeros;
};

static uint32_t load_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- header and checksum tensor ---- */

/* The CRC of the first n bytes. */
static moeq_status crc_of_start(const struct mq_file *file, uint64_t n, uint32_t *crc,
                                moeq_error *err)
{
    unsigned char *bytes = malloc(1 << 16);
    uLong c = 0;
    if (!bytes)
        return mq_fail_memory(err, "checking a file");
    moeq_status status = MOEQ_OK;
    for (uint64_t at = 0, step; at < n && status == MOEQ_OK; at += step) {
        step = mq_min_u64(n - at, 1 << 16);
        status = mq_file_read_at(file, at, bytes, (size_t)step, err);
        if (status == MOEQ_OK)
            c = crc32_z(c, bytes, (size_t)step);
    }
    free(bytes);
    *crc = (uint32_t)c;
    return status;
}

/* The words at the end, and the header's CRC as far as its length prefix can be followed. */
static moeq_status read_ends(struct check *c, moeq_error *err)
{
    unsigned char prefix[8], end[8];
    const uint64_t size = c->file.size_bytes;
    if (size < 16) {
        MQ_TRY(mq_refuse_other_file(&c->file, MQ_FILE_SAFETENSORS, err));
        return mq_fail_file(err, MOEQ_MALFORMED, c->file.path,
                            "file has %" PRIu64 " bytes: too short for a moeq file", size);
    }
    MQ_TRY(mq_file_read_at(&c->file, 0, prefix, 8, err));
    MQ_TRY(mq_file_read_at(&c->file, size - 8, end, 8, err));
    c->stored_header = load_u32(end);
    c->stored_self = load_u32(end + 4);
    const uint64_t n = (uint64_t)load_u32(prefix + 4) << 32 | load_u32(prefix);
    if (n > MQ_SAFETENSORS_MAX_HEADER || n > size - 8)
        return MOEQ_OK; /* header_ok stays false */
    MQ_TRY(crc_of_start(&c->file, 8 + n, &c->computed_header, err));
    c->header_ok = c->computed_header == c->stored_header;
    return MOEQ_OK;
}

/* Whether the last entry is the checksum tensor of the others. */
static bool ends_with_checksums(const struct mq_safetensors *st)
{
    if (!st->count)
        return false;
    const struct mq_st_entry *e = &st->entries[st->count - 1];
    return strcmp(e->name, MQ_CRC_NAME) == 0 && e->dtype == MQ_U32 && e->dims == 1 &&
           e->shape[0] == st->count - 1 + 2;
}

/* Opens the header. Its errors are kept in `why`: a damaged header is no failure of the check. */
static moeq_status open_header(struct check *c, moeq_error *why, moeq_error *err)
{
    struct mq_arena *arena = c->result->arena;
    const moeq_status status = mq_safetensors_open(c->file.path, arena, &c->st, why);
    if (status == MOEQ_NO_MEMORY || status == MOEQ_IO)
        return mq_fail(err, status, "%s", why->message);
    if (status != MOEQ_OK)
        return MOEQ_OK;
    if (ends_with_checksums(&c->st)) {
        c->parsed = true;
        return MOEQ_OK;
    }
    mq_fail_file(why, MOEQ_UNSUPPORTED, c->file.path,
                 "ends with no tensor '" MQ_CRC_NAME
                 "' for its tensors: it has no checksums to check");
    mq_safetensors_close(&c->st);
    return MOEQ_OK;
}

/* Reads the checksum tensor and checks the CRC of its words. */
static moeq_status read_checksums(struct check *c, moeq_error *err)
{
    const size_t tensors = c->st.count - 1, bytes = 4 * (tensors + 2);
    unsigned char *table = malloc(bytes);
    c->stored = malloc((tensors + 1) * sizeof *c->stored);
    c->computed = calloc(tensors + 1, sizeof *c->computed);
    moeq_status status = MOEQ_OK;
    if (!table || !c->stored || !c->computed) {
        status = mq_fail_memory(err, "checking a file");
        goto out;
    }
    MQ_TRY_OUT(mq_file_read_at(&c->file, c->st.entries[tensors].offset, table, bytes, err));
    for (size_t i = 0; i < tensors; i++)
        c->stored[i] = load_u32(table + 4 * i);
    c->checksums_ok = (uint32_t)crc32_z(0, table, bytes - 4) == c->stored_self;
out:
    free(table);
    return status;
}

/* Looks for checksums that vouch for themselves, backwards from the end; block by block, with the
 * CRC of what lies behind joined on, so that each byte is read once. */
static moeq_status search_checksums(struct check *c, bool *found, moeq_error *err)
{
    const uint64_t end = c->file.size_bytes - 4; /* the last word is not under itself */
    unsigned char block[MQ_GROUP_ALIGN];
    uLong crc_behind = 0;
    uint64_t behind = 0;
    *found = false;
    for (uint64_t stop = end; stop > 0 && end - stop < SEARCH_BYTES;) {
        const uint64_t start = (stop - 1) / MQ_GROUP_ALIGN * MQ_GROUP_ALIGN;
        const size_t n = (size_t)(stop - start);
        MQ_TRY(mq_file_read_at(&c->file, start, block, n, err));
        const uLong crc = crc32_combine(crc32_z(0, block, n), crc_behind, (z_off_t)behind);
        /* a length that no checksum tensor has proves nothing */
        if (start > 0 && (end - start) % 4 == 0 && (uint32_t)crc == c->stored_self) {
            *found = true;
            return MOEQ_OK;
        }
        crc_behind = crc;
        behind += n;
        stop = start;
    }
    return MOEQ_OK;
}

/* ---- tensors ---- */

static uint64_t chunks_of(const struct mq_st_entry *e)
{
    return (e->size_bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
}

/* The tensor that a chunk belongs to: the last whose first chunk is not behind it. */
static size_t tensor_of_chunk(const struct check *c, size_t chunk)
{
    size_t low = 0, high = c->st.count - 1; /* first_chunk[low] <= chunk < first_chunk[high] */
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (c->first_chunk[middle] <= chunk)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static moeq_status check_chunk(struct check *c, size_t chunk, unsigned char *bytes, size_t *n,
                               moeq_error *err)
{
    const size_t i = tensor_of_chunk(c, chunk);
    const struct mq_st_entry *e = &c->st.entries[i];
    const uint64_t at = (uint64_t)(chunk - c->first_chunk[i]) * CHUNK_BYTES;
    *n = (size_t)mq_min_u64(CHUNK_BYTES, e->size_bytes - at);
    MQ_TRY(mq_file_read_at(&c->file, e->offset + at, bytes, *n, err));
    c->chunk_crcs[chunk] = (uint32_t)crc32_z(0, bytes, *n);
    c->chunk_zeros[chunk] = mq_zeros_scan(bytes, *n);
    return MOEQ_OK;
}

static void join_chunks(struct check *c)
{
    const uLong op_full = crc32_combine_gen(CHUNK_BYTES);
    for (size_t i = 0; i + 1 < c->st.count; i++) {
        const struct mq_st_entry *e = &c->st.entries[i];
        uLong crc = 0;
        for (size_t k = c->first_chunk[i]; k < c->first_chunk[i + 1]; k++) {
            const bool last = k + 1 == c->first_chunk[i + 1];
            const uint64_t n = last
                                   ? e->size_bytes - (uint64_t)(k - c->first_chunk[i]) * CHUNK_BYTES
                                   : CHUNK_BYTES;
            crc = k == c->first_chunk[i] ? c->chunk_crcs[k]
                  : last                 ? crc32_combine(crc, c->chunk_crcs[k], (z_off_t)n)
                                         : crc32_combine_op(crc, c->chunk_crcs[k], op_full);
        }
        c->computed[i] = (uint32_t)crc;
    }
}

static moeq_status plan_chunks(struct check *c, size_t *chunks, moeq_error *err)
{
    const size_t tensors = c->st.count - 1;
    c->first_chunk = calloc(tensors + 1, sizeof *c->first_chunk);
    if (!c->first_chunk)
        return mq_fail_memory(err, "checking a file");
    for (size_t i = 0; i < tensors; i++) /* no overflow: the file has these bytes */
        c->first_chunk[i + 1] = c->first_chunk[i] + (size_t)chunks_of(&c->st.entries[i]);
    *chunks = c->first_chunk[tensors];
    c->chunk_crcs = malloc((*chunks + 1) * sizeof *c->chunk_crcs);
    c->chunk_zeros = malloc((*chunks + 1) * sizeof *c->chunk_zeros);
    return c->chunk_crcs && c->chunk_zeros ? MOEQ_OK : mq_fail_memory(err, "checking a file");
}

/* What a thread does: chunk after chunk. The first failure stops all. */
struct progress {
    atomic_size_t next;
    struct mq_first_error failed;
    uint64_t done, total; /* under the critical section */
};

static void check_chunks(struct check *c, size_t chunks, struct progress *p)
{
    unsigned char *bytes = malloc(CHUNK_BYTES);
    moeq_error error = {0};
    moeq_status status = bytes ? MOEQ_OK : mq_fail_memory(&error, "checking a file");
    while (status == MOEQ_OK && !mq_first_error_status(&p->failed)) {
        const size_t chunk = atomic_fetch_add(&p->next, 1);
        size_t n = 0;
        if (chunk >= chunks)
            break;
        status = mq_cancelled(c->context) ? mq_fail(&error, MOEQ_CANCELLED, "interrupted")
                                          : check_chunk(c, chunk, bytes, &n, &error);
#pragma omp critical(mq_integrity_progress)
        {
            p->done += n;
            if (c->context->progress) {
                const struct mq_progress now = {"check", p->done, p->total, "bytes"};
                c->context->progress(c->context->progress_user, &now);
            }
        }
    }
    mq_first_error_note(&p->failed, status, &error);
    free(bytes);
}

static moeq_status compute_tensors(struct check *c, moeq_error *err)
{
    size_t chunks;
    MQ_TRY(plan_chunks(c, &chunks, err));
    struct progress p = {.total = c->st.entries[c->st.count - 1].offset - c->st.header_bytes,
                         .failed = {.err = err}};
    atomic_init(&p.next, 0);
#pragma omp parallel num_threads(c->context->threads)
    check_chunks(c, chunks, &p);
    MQ_TRY(mq_first_error_status(&p.failed));
    join_chunks(c);
    c->result->tensors_checked = c->st.count - 1;
    return MOEQ_OK;
}

/* Whether the CRCs computed from the data, with this CRC of the header, are what the CRC of the
 * words was made of. */
static moeq_status data_vouches(const struct check *c, uint32_t header, bool *yes, moeq_error *err)
{
    const size_t tensors = c->st.count - 1;
    unsigned char *table = malloc(MQ_CRC_TABLE_BYTES(tensors));
    if (!table)
        return mq_fail_memory(err, "checking a file");
    *yes = mq_crc_table(c->computed, tensors, header, table) == c->stored_self;
    free(table);
    return MOEQ_OK;
}

/* ---- naming ---- */

/* Matches "model.layers.7.x" against "model.layers.{layer}.x". */
static bool match(const char *pattern, const char *name, int32_t *layer, int32_t *expert)
{
    *layer = *expert = -1;
    while (*pattern) {
        const bool is_layer = strncmp(pattern, "{layer}", 7) == 0;
        if (!is_layer && strncmp(pattern, "{expert}", 8) != 0) {
            if (*pattern++ != *name++)
                return false;
            continue;
        }
        int64_t number = 0;
        int digits = 0;
        for (; *name >= '0' && *name <= '9' && digits < 9; name++, digits++)
            number = number * 10 + (*name - '0');
        if (!digits)
            return false;
        *(is_layer ? layer : expert) = (int32_t)number;
        pattern += is_layer ? 7 : 8;
    }
    return *name == '\0';
}

/* The family's pattern that a name follows, and its numbers; NULL if it is no weight's. */
static const struct mq_tensor_name *pattern_of(const struct mq_family *family, const char *name,
                                               int32_t *layer, int32_t *expert)
{
    for (const struct mq_tensor_name *p = family ? family->names : NULL; p && p->name; p++)
        if (match(p->name, name, layer, expert))
            return p;
    *layer = *expert = -1;
    return NULL;
}

static void name_role(const struct mq_family *family, struct mq_damage *d)
{
    const struct mq_tensor_name *p = pattern_of(family, d->name, &d->layer, &d->expert);
    if (p)
        d->role = mq_role_name(p->role);
    if (strncmp(d->name, MQ_PAD_PREFIX, strlen(MQ_PAD_PREFIX)) == 0)
        d->role = "padding";
    for (int i = 0; i < MQ_SIDE_COUNT; i++)
        if (mq_side_files[i].tensor_name && strcmp(d->name, mq_side_files[i].tensor_name) == 0)
            d->role = "side file";
}

void mq_damage_describe(const struct mq_damage *d, char *text, size_t room)
{
    mq_role_place(d->layer, d->expert, d->role ? d->role : "", text, room);
}

static const struct mq_family *family_of(const struct check *c)
{
    const char *name = mq_metadata_get(c->st.metadata, MQ_META_FAMILY);
    return name ? mq_family_find(name) : NULL;
}

/* Of the model that the file is, if it is a whole one that can be opened; otherwise 0. */
static uint64_t tokens_of(const struct check *c)
{
    struct mq_view *view;
    if (mq_metadata_get(c->st.metadata, MQ_META_SHARD) ||
        mq_model_open_with(c->result->path, &unchecked, &view, NULL) != MOEQ_OK)
        return 0;
    const uint64_t tokens = mq_zeros_tokens(view);
    mq_view_close(view);
    return tokens;
}

/* Zeros in matrices and norms that are as they were written. */
static void find_zeros(struct check *c)
{
    struct mq_zeros *zeros = &c->result->zeros;
    const struct mq_family *family = family_of(c);
    for (size_t i = 0; i + 1 < c->st.count; i++) {
        const struct mq_st_entry *e = &c->st.entries[i];
        struct mq_zero_place place = {
            .name = e->name, .path = c->result->path, .offset = e->offset, .bytes = e->size_bytes};
        const struct mq_tensor_name *p =
            e->dims && e->dims <= 2 ? pattern_of(family, e->name, &place.layer, &place.expert)
                                    : NULL;
        const uint64_t rows = e->dims == 2 ? e->shape[0] : 1;
        if (!p || c->computed[i] != c->stored[i])
            continue;
        struct mq_zero_span sum = {0};
        for (size_t k = c->first_chunk[i]; k < c->first_chunk[i + 1]; k++)
            mq_zeros_join(&sum, &c->chunk_zeros[k]);
        place.role = p->role;
        if (!zeros->tokens && mq_zeros_want_tokens(p->role, rows, e->size_bytes, &sum))
            zeros->tokens = tokens_of(c);
        mq_zeros_judge(zeros, &place, rows, &sum);
    }
}

static moeq_status list_damage(struct check *c, moeq_error *err)
{
    struct mq_integrity_result *r = c->result;
    const struct mq_family *family = family_of(c);
    for (size_t i = 0; i + 1 < c->st.count; i++)
        r->damaged_count += c->computed[i] != c->stored[i];
    const size_t listed = (size_t)mq_min_u64(r->damaged_count, MQ_DAMAGE_LISTED);
    r->damaged = mq_arena_alloc(r->arena, listed + 1, sizeof *r->damaged);
    if (!r->damaged)
        return mq_fail_memory(err, "checking a file");
    for (size_t i = 0; r->listed_count < listed; i++) {
        const struct mq_st_entry *e = &c->st.entries[i];
        if (c->computed[i] == c->stored[i])
            continue;
        struct mq_damage *d = &r->damaged[r->listed_count++];
        *d = (struct mq_damage){.name = e->name,
                                .offset = e->offset,
                                .size_bytes = e->size_bytes,
                                .stored_crc = c->stored[i],
                                .computed_crc = c->computed[i]};
        name_role(family, d);
    }
    return MOEQ_OK;
}

/* ---- the judgement ---- */

static bool tensors_match(const struct check *c)
{
    for (size_t i = 0; i + 1 < c->st.count; i++)
        if (c->computed[i] != c->stored[i])
            return false;
    return true;
}

/* Zeros at levels whose blocks have other bytes for them. A sound file that is no whole model (a
 * recording, one of several) or none of a family that is known is no matter of its checksums; one
 * that could not be read, or for want of memory, was not looked at. */
static moeq_status find_zero_matrices(struct check *c, moeq_error *err)
{
    struct mq_integrity_result *r = c->result;
    const char *format = mq_metadata_get(c->st.metadata, MQ_META_FORMAT);
    struct mq_view *view;
    moeq_error why = {0};
    if (!mq_integrity_ok(r) || !format || strcmp(format, "moeq") != 0 ||
        mq_metadata_get(c->st.metadata, MQ_META_SHARD))
        return MOEQ_OK;
    moeq_status status = mq_model_open_with(r->path, &unchecked, &view, &why);
    if (status != MOEQ_OK)
        return status == MOEQ_IO || status == MOEQ_NO_MEMORY ? mq_fail_with(err, &why) : MOEQ_OK;
    status = mq_zero_matrices(c->context, view, r->arena, &r->zeros, err);
    mq_view_close(view);
    return status;
}

static moeq_status judge(struct check *c, const moeq_error *why, moeq_error *err)
{
    struct mq_integrity_result *r = c->result;
    if (c->parsed) {
        r->tensors = c->st.count - 1;
        MQ_TRY(read_checksums(c, err));
    }
    if (!c->header_ok && !c->checksums_ok) {
        bool found;
        MQ_TRY(search_checksums(c, &found, err));
        r->header_damaged = found;
    } else if (!c->header_ok) {
        r->header_damaged = true;
    }
    if (r->header_damaged)
        return MOEQ_OK;
    if (!c->parsed) /* not a moeq file, or cut short, or damaged beyond judgement */
        return mq_fail(err, why->status, "%s", why->message);
    MQ_TRY(compute_tensors(c, err));
    if (c->checksums_ok) {
        find_zeros(c);
        MQ_TRY(list_damage(c, err));
        return find_zero_matrices(c, err);
    }
    r->checksums_damaged = true;
    bool sound = false;
    MQ_TRY(data_vouches(c, c->computed_header, &sound, err));
    if (sound || (c->header_ok && tensors_match(c)))
        return MOEQ_OK;
    /* More than one thing is damaged: what differs is listed, and so is the header. */
    r->header_damaged = !c->header_ok;
    return list_damage(c, err);
}

moeq_status mq_integrity_check(const struct mq_context *context, const char *path,
                               struct mq_integrity_result *result, moeq_error *err)
{
    struct check c = {.context = context, .result = result};
    moeq_error why = {0};
    moeq_status status;
    memset(result, 0, sizeof *result);
    result->path = path;
    MQ_TRY(mq_file_open(path, &c.file, err));
    result->file_bytes = c.file.size_bytes;
    result->arena = mq_arena_create();
    if (!result->arena) {
        status = mq_fail_memory(err, "checking a file");
        goto out;
    }
    MQ_TRY_OUT(read_ends(&c, err));
    MQ_TRY_OUT(open_header(&c, &why, err));
    MQ_TRY_OUT(judge(&c, &why, err));
    MQ_TRY_OUT(mq_file_check_unchanged(&c.file, err));
out:
    if (c.parsed)
        mq_safetensors_close(&c.st);
    mq_file_close(&c.file);
    free(c.stored);
    free(c.computed);
    free(c.first_chunk);
    free(c.chunk_crcs);
    free(c.chunk_zeros);
    if (status != MOEQ_OK)
        mq_integrity_free(result);
    return status;
}

void mq_integrity_free(struct mq_integrity_result *result)
{
    mq_arena_destroy(result->arena);
    memset(result, 0, sizeof *result);
}

moeq_status mq_integrity_status(const struct mq_integrity_result *r, moeq_error *err)
{
    if (mq_integrity_ok(r))
        return MOEQ_OK;
    if (r->header_damaged)
        return mq_fail_file(
            err, MOEQ_CORRUPT, r->path,
            "the header does not match its checksum: it is damaged, and the tensors "
            "cannot be located with certainty");
    if (r->damaged_count) {
        const struct mq_damage *d = &r->damaged[0];
        char what[160], more[64] = "";
        mq_damage_describe(d, what, sizeof what);
        if (r->damaged_count > 1)
            snprintf(more, sizeof more, "; %" PRIu64 " more tensors are damaged",
                     r->damaged_count - 1);
        return mq_fail_tensor(
            err, MOEQ_CORRUPT, r->path, d->name, d->offset,
            "%s%sits %" PRIu64 " bytes have CRC-32 %08" PRIx32 ", expected %08" PRIx32 "%s%s", what,
            what[0] ? ": " : "", d->size_bytes, d->computed_crc, d->stored_crc,
            r->checksums_damaged ? " (but the checksums are damaged too)" : "", more);
    }
    if (!r->checksums_damaged)
        return mq_zeros_status(&r->zeros, err);
    return mq_fail_file(err, MOEQ_CORRUPT, r->path,
                        "the checksum tensor '" MQ_CRC_NAME "' is damaged; the tensors are sound");
}

moeq_status mq_integrity_require(const struct mq_context *context, const char *path,
                                 moeq_error *err)
{
    struct mq_integrity_result result;
    MQ_TRY(mq_integrity_check(context, path, &result, err));
    const moeq_status status = mq_integrity_status(&result, err);
    mq_integrity_free(&result);
    return status;
}
