/* tasks.c: see tasks.h. */
#include "tasks.h"

#include "checked.h"
#include "error.h"
#include "tokenizer.h"
#include "view_tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ---- tokens ---- */

/* While a set is made. */
struct making {
    const struct mq_view *view;
    const struct mq_tokenizer *tokenizer;
    int32_t bos; /* -1: none */
    struct mq_task_set *set;
    struct mq_ids flat;           /* windows without padding, one behind the other, */
    size_t *begin;                /* and where each begins: [sequences + 1] */
    struct mq_ids context, whole; /* of the choice at hand */
};

/* Characters that Python's str.rstrip takes off (str.isspace), as UTF-8. */
static size_t blank_at_end(const char *text, size_t n)
{
    /* clang-format off */
    static const char *const blanks[] = {
        " ", "\n", "\t", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f", "\xc2\x85", "\xc2\xa0",
        "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84",
        "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a",
        "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
    /* clang-format on */
    for (size_t i = 0; i < sizeof blanks / sizeof *blanks; i++) {
        const size_t size = strlen(blanks[i]);
        if (size <= n && memcmp(text + n - size, blanks[i], size) == 0)
            return size;
    }
    return 0;
}

static size_t without_blanks(const char *text, size_t n)
{
    for (size_t blank; (blank = blank_at_end(text, n));)
        n -= blank;
    return n;
}

/* Bytes of a choice without ASCII blanks at its beginning; all if it has nothing else. */
static uint32_t counted_bytes(const char *choice)
{
    const size_t n = strlen(choice), blanks = strspn(choice, " \n\t\r\v\f");
    return (uint32_t)(blanks < n ? n - blanks : n);
}

static moeq_status encode(const struct making *m, const char *text, size_t n, struct mq_ids *ids,
                          moeq_error *err)
{
    ids->size = 0;
    return mq_tokenizer_encode(m->tokenizer, text, n, false, ids, err);
}

/* The input of a sequence: token number i, of BOS, context and choice. */
static int32_t input(const struct making *m, size_t i)
{
    if (m->bos >= 0 && i-- == 0)
        return m->bos;
    return i < m->context.size ? m->context.data[i] : m->whole.data[i];
}

static moeq_status check_fits(const struct making *m, const struct mq_task_file *file,
                              const struct mq_task_text *task, uint32_t choice, size_t tokens,
                              moeq_error *err)
{
    const uint32_t positions = m->view->hparams.max_positions;
    if (positions && tokens > positions)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       MQ_TASK_PLACE
                       ": choice %u behind its context takes %zu tokens, and the model "
                       "has %u positions: shorten it or leave it out",
                       MQ_TASK_PLACE_OF(file, task), choice, tokens, positions);
    for (size_t i = 0; i <= tokens; i++)
        if (input(m, i) < 0 || (uint32_t)input(m, i) >= m->view->hparams.vocab)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           MQ_TASK_PLACE
                           ": choice %u: token %zu has the id %d, and %s a vocabulary "
                           "of %u: the model has no such token",
                           MQ_TASK_PLACE_OF(file, task), choice, i, input(m, i), m->view->path,
                           m->view->hparams.vocab);
    return MOEQ_OK;
}

/* Whether a window holds the same input. */
static bool same_window(const struct making *m, size_t window, size_t tokens)
{
    const int32_t *ids = m->flat.data + m->begin[window];
    for (size_t i = 0; i < tokens; i++)
        if (ids[i] != input(m, i))
            return false;
    return true;
}

/* A window more. */
static moeq_status add_window(struct making *m, size_t tokens, moeq_error *err)
{
    struct mq_ids *flat = &m->flat;
    if (flat->capacity - flat->size < tokens) {
        const size_t capacity = 2 * (flat->size + tokens);
        int32_t *more = realloc(flat->data, capacity * sizeof *more);
        if (!more)
            return mq_fail_memory(err, "reading tasks");
        flat->data = more;
        flat->capacity = capacity;
    }
    for (size_t i = 0; i < tokens; i++)
        flat->data[flat->size++] = input(m, i);
    m->begin[++m->set->windows] = flat->size;
    m->set->length = mq_max_u64(m->set->length, tokens);
    return MOEQ_OK;
}

/* All windows as long as the longest: the others are padded with their first token. */
static moeq_status pad(struct making *m, moeq_error *err)
{
    struct mq_task_set *set = m->set;
    uint64_t n;
    set->ids = mq_mul_u64(set->windows, set->length, &n) && n <= SIZE_MAX / sizeof *set->ids
                   ? malloc(n * sizeof *set->ids)
                   : NULL;
    if (!set->ids)
        return mq_fail_memory(err, "reading tasks");
    for (size_t w = 0; w < set->windows; w++) {
        const int32_t *from = m->flat.data + m->begin[w];
        const size_t tokens = m->begin[w + 1] - m->begin[w];
        for (size_t i = 0; i < set->length; i++)
            set->ids[w * set->length + i] = from[i < tokens ? i : 0];
    }
    return MOEQ_OK;
}

/* The whole of context and choice stands in m->whole, the context in m->context. */
static moeq_status add_sequence(struct making *m, const struct mq_task_file *file,
                                const struct mq_task_text *task, uint32_t choice, moeq_error *err)
{
    struct mq_task_set *set = m->set;
    const size_t bos = m->bos >= 0, context = bos + m->context.size;
    if (m->whole.size <= m->context.size)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       MQ_TASK_PLACE ": choice %u adds no token to its context: nothing to score",
                       MQ_TASK_PLACE_OF(file, task), choice);
    if (context == 0)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       MQ_TASK_PLACE
                       ": the context is empty, and the model has no token that a text "
                       "begins with: nothing predicts the first token",
                       MQ_TASK_PLACE_OF(file, task));
    const size_t tokens = bos + m->whole.size - 1; /* the last one is predicted alone */
    MQ_TRY(check_fits(m, file, task, choice, tokens, err));
    const struct mq_task_sequence *before =
        choice ? &set->sequences[set->sequences_count - 1] : NULL;
    if (!before || before->end != tokens || !same_window(m, before->window, tokens))
        MQ_TRY(add_window(m, tokens, err));
    set->sequences[set->sequences_count++] = (struct mq_task_sequence){
        .window = set->windows - 1,
        .from = (uint32_t)context - 1,
        .end = (uint32_t)tokens,
        .last = input(m, tokens),
        .bytes = counted_bytes(task->choices[choice]),
    };
    return MOEQ_OK;
}

static moeq_status add_task(struct making *m, const struct mq_task_file *file,
                            const struct mq_task_text *task, moeq_error *err)
{
    struct mq_task_set *set = m->set;
    const size_t context = without_blanks(task->context, strlen(task->context));
    struct mq_buffer whole = {0};
    moeq_status status = encode(m, task->context, context, &m->context, err);
    set->tasks[set->tasks_count++] =
        (struct mq_task){set->sequences_count, task->choices_count, task->answer};
    for (uint32_t c = 0; status == MOEQ_OK && c < task->choices_count; c++) {
        mq_buffer_clear(&whole);
        mq_buffer_puts(&whole, task->context);
        mq_buffer_puts(&whole, task->choices[c]);
        status = mq_buffer_ok(&whole) ? encode(m, whole.data, whole.size, &m->whole, err)
                                      : mq_fail_memory(err, "reading tasks");
        if (status == MOEQ_OK)
            status = add_sequence(m, file, task, c, err);
    }
    mq_buffer_free(&whole);
    return status;
}

static moeq_status add_file(struct making *m, const struct mq_task_file *file, moeq_error *err)
{
    struct mq_task_group *group = &m->set->groups[m->set->groups_count++];
    *group = (struct mq_task_group){strdup(file->name), m->set->tasks_count, file->count};
    if (!group->name)
        return mq_fail_memory(err, "reading tasks");
    for (size_t i = 0; i < file->count; i++)
        MQ_TRY(add_task(m, file, &file->tasks[i], err));
    return MOEQ_OK;
}

static moeq_status make(struct making *m, const struct mq_task_files *files, moeq_error *err)
{
    size_t tasks = 0, sequences = 0;
    for (size_t f = 0; f < files->count; f++) {
        tasks += files->files[f].count;
        for (size_t i = 0; i < files->files[f].count; i++)
            sequences += files->files[f].tasks[i].choices_count;
    }
    m->set = mq_task_set_allocate(files->count, tasks, sequences);
    m->begin = calloc(sequences + 1, sizeof *m->begin);
    if (!m->set || !m->begin)
        return mq_fail_memory(err, "reading tasks");
    for (size_t f = 0; f < files->count; f++)
        MQ_TRY(add_file(m, &files->files[f], err));
    MQ_TRY(pad(m, err));
    return mq_task_set_index(m->set) ? MOEQ_OK : mq_fail_memory(err, "reading tasks");
}

moeq_status mq_task_set_create(const struct mq_view *view, const struct mq_task_files *files,
                               struct mq_task_set **set, moeq_error *err)
{
    struct mq_tokenizer *tokenizer = NULL;
    struct making m = {.view = view};
    MQ_TRY(mq_view_tokenizer(view, &tokenizer, &m.bos, err));
    m.tokenizer = tokenizer;
    const moeq_status status = make(&m, files, err);
    mq_tokenizer_free(tokenizer);
    mq_ids_free(&m.context);
    mq_ids_free(&m.whole);
    mq_ids_free(&m.flat);
    free(m.begin);
    if (status != MOEQ_OK)
        mq_task_set_free(m.set);
    else
        *set = m.set;
    return status;
}

/* ---- the set ---- */

struct mq_task_set *mq_task_set_allocate(size_t groups, size_t tasks, size_t sequences)
{
    struct mq_task_set *set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    set->groups = calloc(groups + 1, sizeof *set->groups);
    set->tasks = calloc(tasks + 1, sizeof *set->tasks);
    set->sequences = calloc(sequences + 1, sizeof *set->sequences);
    if (set->groups && set->tasks && set->sequences)
        return set;
    mq_task_set_free(set);
    return NULL;
}

bool mq_task_set_index(struct mq_task_set *set)
{
    set->ids_crc32 = (uint32_t)crc32_z(0, (const Bytef *)set->ids,
                                       set->windows * set->length * sizeof *set->ids);
    set->window_sequences = calloc(set->windows + 1, sizeof *set->window_sequences);
    set->scored = 0;
    for (size_t i = 0; set->window_sequences && i < set->sequences_count; i++) {
        struct mq_task_sequence *s = &set->sequences[i];
        s->slot = set->scored;
        set->scored += s->end - s->from;
        set->window_sequences[s->window + 1] = i + 1;
    }
    return set->window_sequences != NULL;
}

moeq_status mq_task_set_copy(const struct mq_task_set *from, struct mq_task_set **to,
                             moeq_error *err)
{
    struct mq_task_set *set =
        mq_task_set_allocate(from->groups_count, from->tasks_count, from->sequences_count);
    *to = set;
    if (!set)
        return mq_fail_memory(err, "preparing a comparison");
    memcpy(set->tasks, from->tasks, from->tasks_count * sizeof *set->tasks);
    memcpy(set->sequences, from->sequences, from->sequences_count * sizeof *set->sequences);
    set->tasks_count = from->tasks_count;
    set->sequences_count = from->sequences_count;
    set->windows = from->windows;
    set->length = from->length;
    const size_t bytes = from->windows * from->length * sizeof *set->ids;
    set->ids = malloc(bytes + 1);
    if (!set->ids)
        return mq_fail_memory(err, "preparing a comparison");
    memcpy(set->ids, from->ids, bytes);
    for (size_t i = 0; i < from->groups_count; i++) {
        set->groups[i] = from->groups[i];
        set->groups[i].name = strdup(from->groups[i].name);
        set->groups_count++;
        if (!set->groups[i].name)
            return mq_fail_memory(err, "preparing a comparison");
    }
    return mq_task_set_index(set) ? MOEQ_OK : mq_fail_memory(err, "preparing a comparison");
}

void mq_task_set_free(struct mq_task_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; set->groups && i < set->groups_count; i++)
        free(set->groups[i].name);
    free(set->groups);
    free(set->tasks);
    free(set->sequences);
    free(set->window_sequences);
    free(set->ids);
    free(set);
}

bool mq_task_wants(const struct mq_task_set *set, size_t window, size_t position)
{
    /* those of a window have the same context and length */
    const struct mq_task_sequence *s = &set->sequences[set->window_sequences[window]];
    return position >= s->from && position < s->end;
}

/* ---- judgement ---- */

/* The most likely choice; of equals the first. */
static uint32_t choice_of(const struct mq_task_set *set, const struct mq_task *task,
                          const double *nll, bool norm)
{
    uint32_t best = 0;
    double least = 0;
    for (uint32_t c = 0; c < task->choices; c++) {
        const struct mq_task_sequence *s = &set->sequences[task->first + c];
        double sum = 0;
        for (size_t i = 0; i < s->end - s->from; i++)
            sum += nll[s->slot + i];
        if (norm)
            sum /= s->bytes;
        if (c == 0 || sum < least) {
            least = sum;
            best = c;
        }
    }
    return best;
}

moeq_status mq_task_judge(const struct mq_task_set *set, size_t group, const double *nll,
                          const double *base, struct mq_task_result *result, moeq_error *err)
{
    const bool all = group == set->groups_count;
    const size_t first = all ? 0 : set->groups[group].first;
    const size_t n = all ? set->tasks_count : set->groups[group].count;
    double *right[2], *same[2], *room = calloc(4 * n + 1, sizeof *room);
    if (!room)
        return mq_fail_memory(err, "summing up an evaluation");
    for (int norm = 0; norm < 2; norm++) {
        right[norm] = room + (size_t)norm * n;
        same[norm] = room + (size_t)(2 + norm) * n;
        for (size_t i = 0; i < n; i++) {
            const struct mq_task *task = &set->tasks[first + i];
            const uint32_t choice = choice_of(set, task, nll, norm);
            right[norm][i] = choice == task->answer;
            same[norm][i] = base && choice == choice_of(set, task, base, norm);
        }
    }
    const struct mq_estimate none = mq_estimate_mean(NULL, 0);
    *result = (struct mq_task_result){
        .name = all ? NULL : set->groups[group].name,
        .count = n,
        .accuracy = mq_estimate_mean(right[0], n),
        .accuracy_norm = mq_estimate_mean(right[1], n),
        .agreement = base ? mq_estimate_mean(same[0], n) : none,
        .agreement_norm = base ? mq_estimate_mean(same[1], n) : none,
    };
    free(room);
    return MOEQ_OK;
}
