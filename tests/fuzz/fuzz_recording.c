/*
 * fuzz_recording.c: a recording of moeq record. Parts: flags (bit 0: mended, see fuzz_safetensors), header, data.
 *
 * Beyond "no crash": whatever was accepted gives every state, router logit, text and row that it promises, its windows,
 * texts and tasks lie within each other, and a second reading gives the same; a failure names the file.
 */
#include "fuzz_support.h"

#include "record.h"
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { FLAGS, HEADER, DATA, PARTS };

static void check_rows(const struct mq_recording *r)
{
    for (size_t i = 0; i < r->view->tensors_count; i++) {
        const struct mq_tensor *t = &r->view->tensors[i];
        if (t->file == 0)
            fuzz_read_rows(r->view, t, 0);
    }
}

/* The first and the last token of windows. */
static void check_playback(const struct mq_recording *r, const struct mq_playback *p, size_t tokens)
{
    const struct mq_hparams *hp = &r->view->hparams;
    moeq_error err = {0};
    for (int last = 0; last < 2 && tokens; last++) {
        const size_t at = last ? tokens - 1 : 0;
        float *x = malloc(hp->hidden * sizeof *x);
        fuzz_expect(x && p->read_hidden(p->user, at, 1, x, &err) == MOEQ_OK);
        free(x);
        for (uint32_t layer = 0; layer < hp->layers; layer++) {
            const uint32_t experts = mq_recorded_experts(r->view, layer);
            float *logits = malloc(experts * sizeof *logits + 1);
            fuzz_expect(logits != NULL);
            if (experts)
                fuzz_expect(p->read_router(p->user, layer, at, 1, logits, &err) == MOEQ_OK);
            free(logits);
        }
    }
}

static void check_tasks(const struct mq_recording *r, const struct mq_task_set *set)
{
    size_t tasks = 0;
    for (size_t i = 0; i < set->groups_count; i++) {
        fuzz_expect(set->groups[i].name && set->groups[i].count);
        tasks += set->groups[i].count;
    }
    fuzz_expect(tasks == set->tasks_count);
    for (size_t i = 0; i < set->tasks_count; i++)
        fuzz_expect(set->tasks[i].choices >= 2 && set->tasks[i].answer < set->tasks[i].choices);
    for (size_t i = 0; i < set->sequences_count; i++) {
        const struct mq_task_sequence *s = &set->sequences[i];
        fuzz_expect(s->window < set->windows && s->from < s->end && s->end <= set->length &&
                    (uint32_t)s->last < r->view->hparams.vocab);
    }
    check_playback(r, &r->task_playback, set->windows * set->length);
}

static void check(const struct mq_recording *r)
{
    const struct mq_text_windows *t = &r->text;
    struct mq_buffer text;
    moeq_error err = {0};
    size_t next = 0;
    fuzz_expect(t->windows.count && t->windows.length >= 2 &&
                t->first_scored + t->scored_window < t->windows.length && t->scored_window);
    for (size_t i = 0; i < t->domains_count; i++) {
        fuzz_expect(t->domains[i].name && t->domains[i].first_window == next);
        next += t->domains[i].windows;
    }
    fuzz_expect(!t->domains_count || next == t->windows.count);
    check_rows(r);
    check_playback(r, &r->playback, t->windows.count * t->windows.length);
    if (t->tasks)
        check_tasks(r, t->tasks);
    const moeq_status status = mq_recording_text(r, &text, &err);
    if (status != MOEQ_OK)
        fuzz_refused(status, &err, r->st->file.path);
    mq_buffer_free(&text);
}

/* Of what is opened twice. */
static void check_same(const struct mq_recording *a, const struct mq_recording *b)
{
    fuzz_expect(a->text.ids_crc32 == b->text.ids_crc32 &&
                a->text.windows.count == b->text.windows.count && a->weights == b->weights &&
                a->sources_count == b->sources_count && a->compute == b->compute &&
                strcmp(a->text_name, b->text_name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct mq_context context = {.threads = 1};
    static struct fuzz_file file;
    struct fuzz_part parts[PARTS];
    struct mq_recording *r, *again;
    size_t n;
    uint32_t last;
    moeq_error err = {0};
    bool yes;
    fuzz_parts(data, size, parts, PARTS);
    uint8_t *bytes = fuzz_safetensors(parts[HEADER], parts[DATA],
                                      parts[FLAGS].size && (parts[FLAGS].data[0] & 1), &n, &last);
    const char *path = fuzz_put(&file, bytes, n);
    free(bytes);
    fuzz_expect(mq_is_recording(path, &yes, &err) == MOEQ_OK);
    const moeq_status status = mq_recording_open(&context, path, &r, &err);
    if (status != MOEQ_OK) {
        fuzz_refused(status, &err, path);
        fuzz_expect(!r);
        return 0;
    }
    check(r);
    fuzz_expect(mq_recording_open(&context, path, &again, &err) == MOEQ_OK);
    check_same(r, again);
    mq_recording_close(again);
    mq_recording_close(r);
    return 0;
}
