/* against.c: see the header. */
#include "against.h"

#include "checked.h"
#include "convert_int.h"
#include "error.h"
#include "moeq_profile.h"
#include "stored_table.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of each expert of each tensor: how many bytes differ, and the first. */
struct unit {
    uint64_t bytes, first;
};

struct mq_differences {
    const struct mq_stored_table *found;
    const struct mq_output_file *files;
    struct unit *units;
    pthread_mutex_t lock;
};

struct job {
    const struct mq_context *context;
    const struct mq_view *output;
    struct mq_plan *plan;
    bool gguf;
    struct mq_stored_table expected, found;
    struct mq_output_file *files; /* the output's */
    bool *skip;                   /* [plan's entries] */
    struct mq_differences differences;
    struct mq_losses losses;
    struct mq_against_result *result;
    moeq_error *err;
};

/* ---- bytes ---- */

/* Bytes of one tensor, which differ somewhere. */
static void note_bytes(struct mq_differences *d, uint32_t file, uint64_t at,
                       const uint8_t *expected, const uint8_t *found, size_t n)
{
    const struct mq_stored_tensor *t = mq_stored_at(d->found, file, at);
    if (!t)
        return;
    const uint64_t each = t->size_bytes / t->experts;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < n; i++) {
        struct unit *u = &d->units[t->first_unit + (at + i - t->offset) / each];
        if (expected[i] == found[i])
            continue;
        u->first = u->bytes ? mq_min_u64(u->first, at + i) : at + i;
        u->bytes++;
    }
    pthread_mutex_unlock(&d->lock);
}

static moeq_status compare_place(const struct mq_output_file *file, uint64_t at, uint8_t *bytes,
                                 uint64_t n, moeq_error *err)
{
    const struct mq_file open = {
        .fd = file->fd, .size_bytes = file->bytes, .path = (char *)file->path};
    uint8_t found[1 << 14];
    for (uint64_t done = 0; done < n;) {
        const size_t some = (size_t)mq_min_u64(n - done, sizeof found);
        MQ_TRY(mq_file_read_at(&open, at + done, found, some, err));
        if (memcmp(found, bytes + done, some) != 0)
            note_bytes(file->differences, (uint32_t)(file - file->differences->files), at + done,
                       bytes + done, found, some);
        done += some;
    }
    return MOEQ_OK;
}

/* ---- places ---- */

static void list(struct job *job, const struct mq_against_difference *difference)
{
    struct mq_against_result *r = job->result;
    if (r->different++ < MQ_AGAINST_LISTED)
        r->differences[r->listed_count++] = *difference;
}

/* The output's tensor that a planned one is; NULL: there is none that could be it. */
static const struct mq_stored_tensor *same_tensor(const struct job *job,
                                                  const struct mq_stored_tensor *expected)
{
    const struct mq_stored_tensor *t = mq_stored_find(&job->found, expected->name);
    return t && t->size_bytes == expected->size_bytes && strcmp(t->kind, expected->kind) == 0
               ? t
               : NULL;
}

/* From a place in the plan's files to one in the output's. */
static bool move(const struct job *job, uint32_t *file, uint64_t *offset)
{
    const struct mq_stored_tensor *e = mq_stored_at(&job->expected, *file, *offset);
    const struct mq_stored_tensor *t = e ? same_tensor(job, e) : NULL;
    if (!t)
        return false;
    *offset = t->offset + (*offset - e->offset);
    *file = t->file;
    return true;
}

static void move_entries(const struct job *job)
{
    for (size_t i = 0; i < job->plan->view->tensors_count; i++) {
        struct mq_plan_entry *e = &job->plan->entries[i];
        job->skip[i] = !move(job, &e->file, &e->offset) ||
                       (e->second.level && !move(job, &e->second.file, &e->second.offset));
    }
}

/* Tensors of one side that the other has not, or otherwise. */
static void list_tensors(struct job *job)
{
    struct mq_arena *arena = job->result->arena;
    for (size_t i = 0; i < job->expected.count; i++) {
        const struct mq_stored_tensor *e = &job->expected.tensors[i];
        const struct mq_stored_tensor *t = mq_stored_find(&job->found, e->name);
        if (t && same_tensor(job, e))
            continue;
        const char *why =
            t ? mq_arena_printf(arena, "expected %s, found %s", e->kind, t->kind) : "is not there";
        list(job, &(struct mq_against_difference){.tensor = mq_arena_strdup(arena, e->name),
                                                  .file = t ? job->output->files[t->file].file.path
                                                            : NULL,
                                                  .why = why ? why : "is another",
                                                  .expert = -1,
                                                  .offset = t ? t->offset : 0,
                                                  .size_bytes = e->size_bytes});
    }
    for (size_t i = 0; i < job->found.count; i++) {
        const struct mq_stored_tensor *t = &job->found.tensors[i];
        if (!mq_stored_find(&job->expected, t->name))
            list(job, &(struct mq_against_difference){.tensor = mq_arena_strdup(arena, t->name),
                                                      .file = job->output->files[t->file].file.path,
                                                      .why = "is not of this model",
                                                      .expert = -1,
                                                      .offset = t->offset,
                                                      .size_bytes = t->size_bytes});
    }
}

static void list_units(struct job *job)
{
    for (size_t i = 0; i < job->found.count; i++) {
        const struct mq_stored_tensor *t = &job->found.tensors[i];
        const uint64_t each = t->size_bytes / t->experts;
        for (uint64_t e = 0; e < t->experts; e++) {
            const struct unit *u = &job->differences.units[t->first_unit + e];
            if (!u->bytes)
                continue;
            list(job, &(struct mq_against_difference){
                          .tensor = mq_arena_strdup(job->result->arena, t->name),
                          .file = job->output->files[t->file].file.path,
                          .expert = t->experts > 1 ? (int64_t)e : -1,
                          .row = (u->first - t->offset - e * each) / mq_max_u64(1, t->row_bytes),
                          .offset = u->first,
                          .bytes = u->bytes,
                          .size_bytes = each});
        }
    }
}

/* ---- side files ---- */

/* Which of them a tensor is; MQ_SIDE_COUNT: none. */
static int side_of(const char *name)
{
    int i = 0;
    while (i < MQ_SIDE_COUNT &&
           (!mq_side_files[i].tensor_name || strcmp(mq_side_files[i].tensor_name, name) != 0))
        i++;
    return i;
}

/* What another zlib has compressed otherwise is no difference. */
static bool same_text(const struct job *job, const char *name)
{
    const int i = side_of(name);
    if (i == MQ_SIDE_COUNT)
        return false;
    const struct mq_buffer *a = &job->output->side[i], *b = &job->plan->view->side[i];
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

static moeq_status compare_piece(struct job *job, const struct mq_plan_piece *p)
{
    uint32_t file = p->file;
    uint64_t offset = p->offset;
    const struct mq_stored_tensor *e = mq_stored_at(&job->expected, file, offset);
    if (!p->bytes || !e || same_text(job, e->name) || !move(job, &file, &offset))
        return MOEQ_OK;
    return compare_place(&job->files[file], offset, (uint8_t *)p->bytes, p->size_bytes, job->err);
}

/* A compressed text of another length was listed as another tensor. */
static void forget_same_texts(struct mq_against_result *r, const struct job *job)
{
    size_t n = 0;
    for (size_t i = 0; i < r->listed_count; i++)
        if (r->differences[i].why && r->differences[i].file &&
            same_text(job, r->differences[i].tensor))
            r->different--;
        else
            r->differences[n++] = r->differences[i];
    r->listed_count = n;
}

/* ---- metadata ---- */

/* Keys that are not compared: of the files alone, or of what made them; and what is taken from the output. */
static bool is_left_out(const char *key)
{
    static const char *const keys[] = {MQ_META_SHARD,  MQ_META_PRODUCER, MQ_META_RECIPE,
                                       MQ_META_NAME,   MQ_META_SOURCE,   MQ_META_SOURCE_SUMS,
                                       MQ_META_LOSSES, MQ_GGUF_KEY_NAME};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return strncmp(key, "split.", 6) == 0;
}

static const char *show(struct mq_arena *arena, const struct mq_stored_key *key)
{
    enum { SHOWN = 200 };
    if (!key)
        return NULL;
    if (key->is_text && key->size <= SHOWN)
        return mq_arena_strndup(arena, key->bytes, key->size);
    if (key->shown)
        return mq_arena_strdup(arena, key->shown);
    return mq_arena_printf(arena, "a text of %zu bytes", key->size);
}

static void list_key(struct job *job, const char *name, const struct mq_stored_key *expected,
                     const struct mq_stored_key *found)
{
    struct mq_against_result *r = job->result;
    r->keys[r->keys_count++] = (struct mq_against_key){.key = mq_arena_strdup(r->arena, name),
                                                       .expected = show(r->arena, expected),
                                                       .found = show(r->arena, found)};
}

static bool same_value(const struct mq_stored_key *a, const struct mq_stored_key *b)
{
    return a->type == b->type && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static void compare_keys(struct job *job)
{
    for (size_t i = 0; i < job->expected.keys_count; i++) {
        const struct mq_stored_key *e = &job->expected.keys[i];
        const struct mq_stored_key *f = mq_stored_find_key(&job->found, e->name);
        if (!is_left_out(e->name) && (!f || !same_value(e, f)))
            list_key(job, e->name, e, f);
    }
    for (size_t i = 0; i < job->found.keys_count; i++) {
        const struct mq_stored_key *f = &job->found.keys[i];
        if (!is_left_out(f->name) && !mq_stored_find_key(&job->expected, f->name))
            list_key(job, f->name, NULL, f);
    }
}

/* The sentence on losses is as long as there was room for: any of them is right. */
static void compare_losses(struct job *job)
{
    const struct mq_stored_key *f = mq_stored_find_key(&job->found, MQ_META_LOSSES);
    char text[4096] = "";
    if (!f)
        return; /* there may have been no room */
    for (size_t room = sizeof text; room > 64; room -= 64) {
        mq_losses_describe(&job->losses, text, room);
        if (strlen(text) == f->size && memcmp(text, f->bytes, f->size) == 0)
            return;
    }
    mq_losses_describe(&job->losses, text, sizeof text);
    const struct mq_stored_key expected = {
        .name = f->name, .bytes = text, .size = strlen(text), .is_text = true};
    list_key(job, f->name, text[0] ? &expected : NULL, f);
}

static void note(struct job *job, const char *sentence)
{
    struct mq_against_result *r = job->result;
    if (sentence && r->notes_count < sizeof r->notes / sizeof *r->notes)
        r->notes[r->notes_count++] = sentence;
}

/* Sums that are of no file of the source, and not what that itself was made of. */
static void compare_sums(struct job *job)
{
    const struct mq_stored_key *e = mq_stored_find_key(&job->expected, MQ_META_SOURCE_SUMS);
    const struct mq_stored_key *f = mq_stored_find_key(&job->found, MQ_META_SOURCE_SUMS);
    if (f && !job->plan->source_sums && !(e && same_value(e, f)))
        note(job, "it has SHA-256 sums of other files than these, which are not compared");
}

static void compare_made(struct job *job)
{
    static const struct {
        const char *key, *what;
    } made[] = {{MQ_META_SOURCE, "it says that it was made of other files"},
                {MQ_META_PRODUCER, "it was written by another version"},
                {MQ_META_NAME, "it has another name"},
                {MQ_GGUF_KEY_NAME, "it has another name"}};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        const struct mq_stored_key *e = mq_stored_find_key(&job->expected, made[i].key);
        const struct mq_stored_key *f = mq_stored_find_key(&job->found, made[i].key);
        if (e && f && !same_value(e, f))
            note(job, mq_arena_printf(job->result->arena, "%s: %s", made[i].what,
                                      show(job->result->arena, f)));
    }
}

/* ---- all of it ---- */

static moeq_status prepare(struct job *job)
{
    const struct mq_view *v = job->output;
    struct mq_against_result *r = job->result;
    MQ_TRY(mq_stored_table_of_view(&job->found, v, job->err));
    MQ_TRY(mq_stored_table_of_plan(&job->expected, job->plan, job->gguf, job->err));
    const size_t keys = job->found.keys_count + job->expected.keys_count + 1;
    r->differences = mq_arena_alloc(r->arena, MQ_AGAINST_LISTED, sizeof *r->differences);
    r->keys = mq_arena_alloc(r->arena, keys, sizeof *r->keys);
    job->skip = mq_arena_alloc(r->arena, job->plan->view->tensors_count + 1, sizeof *job->skip);
    job->files = mq_arena_alloc(r->arena, v->files_count, sizeof *job->files);
    job->differences.units =
        mq_arena_alloc(r->arena, job->found.units + 1, sizeof *job->differences.units);
    if (!r->differences || !r->keys || !job->skip || !job->files || !job->differences.units)
        return mq_fail_memory(job->err, "comparing files");
    job->differences.found = &job->found;
    job->differences.files = job->files;
    for (size_t i = 0; i < v->files_count; i++) {
        struct mq_output_file *f = &job->files[i];
        f->differences = &job->differences;
        f->fd = v->files[i].file.fd;
        f->bytes = v->files[i].file.size_bytes;
        snprintf(f->path, sizeof f->path, "%s", v->files[i].file.path);
        snprintf(f->part, sizeof f->part, "%s", v->files[i].file.path);
    }
    return MOEQ_OK;
}

static moeq_status compare_bytes(struct job *job, const struct mq_convert_encoder *encoder)
{
    struct mq_plan *plan = job->plan;
    move_entries(job);
    for (size_t i = 0; i < plan->pieces_count; i++)
        MQ_TRY(compare_piece(job, &plan->pieces[i]));
    return mq_convert_compare(job->context, plan, encoder, job->files, compare_place, job->skip,
                              &job->losses, job->err);
}

moeq_status mq_against(const struct mq_context *context, const struct mq_view *output,
                       struct mq_plan *plan, bool gguf, const struct mq_convert_encoder *encoder,
                       struct mq_against_result *result, moeq_error *err)
{
    *result = (struct mq_against_result){.arena = mq_arena_create()};
    struct job job = {.context = context,
                      .output = output,
                      .plan = plan,
                      .gguf = gguf,
                      .result = result,
                      .err = err};
    moeq_status status = MOEQ_OK;
    if (!result->arena || pthread_mutex_init(&job.differences.lock, NULL) != 0)
        return mq_fail_memory(err, "comparing files");
    MQ_TRY_OUT(prepare(&job));
    list_tensors(&job);
    forget_same_texts(result, &job);
    MQ_TRY_OUT(compare_bytes(&job, encoder));
    MQ_TRY_OUT(mq_view_check_unchanged(output, err));
    list_units(&job);
    compare_keys(&job);
    compare_losses(&job);
    compare_made(&job);
    compare_sums(&job);
    result->tensors = job.expected.count;
    for (size_t i = 0; i < job.expected.count; i++)
        result->bytes += job.expected.tensors[i].size_bytes;
out:
    pthread_mutex_destroy(&job.differences.lock);
    mq_stored_table_free(&job.expected);
    mq_stored_table_free(&job.found);
    return status;
}

void mq_against_free(struct mq_against_result *result)
{
    mq_arena_destroy(result->arena);
    *result = (struct mq_against_result){0};
}

moeq_status mq_against_status(const struct mq_view *output, const struct mq_against_result *r,
                              moeq_error *err)
{
    if (r->listed_count && r->differences[0].why)
        return mq_fail_file(err, MOEQ_CORRUPT, output->path, "tensor '%s' %s",
                            r->differences[0].tensor, r->differences[0].why);
    if (r->listed_count) {
        const struct mq_against_difference *d = &r->differences[0];
        char expert[32] = "";
        if (d->expert >= 0)
            snprintf(expert, sizeof expert, "expert %" PRId64 ", ", d->expert);
        return mq_fail_tensor(err, MOEQ_CORRUPT, d->file, d->tensor, d->offset,
                              "%srow %" PRIu64 ": is not what this source gives: %" PRIu64
                              " of %" PRIu64 " bytes differ",
                              expert, d->row, d->bytes, d->size_bytes);
    }
    if (r->keys_count)
        return mq_fail_file(err, MOEQ_CORRUPT, output->path, "key '%s': expected %s, found %s",
                            r->keys[0].key, r->keys[0].expected ? r->keys[0].expected : "none",
                            r->keys[0].found ? r->keys[0].found : "none");
    return MOEQ_OK;
}
