/* tasks_file.c: see tasks_file.h. */
#include "tasks_file.h"

#include "buffer.h"
#include "checked.h"
#include "error.h"
#include "json.h"
#include "text_input.h"
#include "text_match.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define MAX_FILE_BYTES ((uint64_t)256 << 20)

/* ---- what both forms must keep ---- */

static moeq_status fail_memory(moeq_error *err)
{
    return mq_fail_memory(err, "reading tasks");
}

static moeq_status check_count(const struct mq_task_file *file, const struct mq_task_text *task,
                               size_t choices, moeq_error *err)
{
    if (choices >= 2 && choices <= MQ_TASK_CHOICES_MAX)
        return MOEQ_OK;
    return mq_fail(err, MOEQ_MALFORMED, MQ_TASK_PLACE ": %zu choices: expected from 2 to %d",
                   MQ_TASK_PLACE_OF(file, task), choices, MQ_TASK_CHOICES_MAX);
}

/* ---- JSON Lines ---- */

static moeq_status expected(const struct mq_task_file *file, const struct mq_task_text *task,
                            const char *key, const char *what, moeq_error *err)
{
    return mq_fail(err, MOEQ_MALFORMED,
                   MQ_TASK_PLACE ": \"%s\": expected %s, as in {\"context\": \"The sky is\", "
                                 "\"choices\": [\" blue\", \" square\"], \"answer\": 0}",
                   MQ_TASK_PLACE_OF(file, task), key, what);
}

static moeq_status read_choices(const cJSON *list, struct mq_arena *arena,
                                const struct mq_task_file *file, struct mq_task_text *task,
                                moeq_error *err)
{
    const cJSON *choice;
    if (!cJSON_IsArray(list))
        return expected(file, task, "choices", "a list of texts", err);
    const size_t n = (size_t)cJSON_GetArraySize(list);
    MQ_TRY(check_count(file, task, n, err));
    task->choices = mq_arena_alloc(arena, n, sizeof *task->choices);
    if (!task->choices)
        return fail_memory(err);
    cJSON_ArrayForEach(choice, list)
    {
        if (!cJSON_IsString(choice) || !choice->valuestring[0])
            return expected(file, task, "choices", "texts that are not empty", err);
        const char *copy = mq_arena_strdup(arena, choice->valuestring);
        if (!copy)
            return fail_memory(err);
        task->choices[task->choices_count++] = copy;
    }
    return MOEQ_OK;
}

static moeq_status read_object(const cJSON *o, struct mq_arena *arena,
                               const struct mq_task_file *file, struct mq_task_text *task,
                               moeq_error *err)
{
    const cJSON *context = mq_json_get(o, "context");
    uint64_t answer;
    if (!cJSON_IsString(context))
        return expected(file, task, "context", "a text", err);
    MQ_TRY(read_choices(mq_json_get(o, "choices"), arena, file, task, err));
    if (!mq_json_u64(mq_json_get(o, "answer"), &answer))
        return expected(file, task, "answer", "the number of the right choice, from 0", err);
    if (answer >= task->choices_count)
        return mq_fail(err, MOEQ_MALFORMED,
                       MQ_TASK_PLACE ": \"answer\": %" PRIu64 " of %u choices: they count from 0",
                       MQ_TASK_PLACE_OF(file, task), answer, task->choices_count);
    task->answer = (uint32_t)answer;
    task->context = mq_arena_strdup(arena, context->valuestring);
    return task->context ? MOEQ_OK : fail_memory(err);
}

static moeq_status read_line(const char *line, size_t n, struct mq_arena *arena,
                             const struct mq_task_file *file, struct mq_task_text *task,
                             moeq_error *err)
{
    /* a task has few values, but others' keys may stand beside them */
    const struct mq_json_limits limits = {.depth = 16, .values = 4096};
    struct mq_buffer where = {0};
    cJSON *tree = NULL;
    mq_buffer_printf(&where, MQ_TASK_PLACE, MQ_TASK_PLACE_OF(file, task));
    moeq_status status = mq_buffer_ok(&where) ? MOEQ_OK : fail_memory(err);
    if (status == MOEQ_OK)
        status = mq_json_parse(line, n, &limits, where.data, 0, &tree, err);
    if (status == MOEQ_OK)
        status = read_object(tree, arena, file, task, err);
    cJSON_Delete(tree);
    mq_buffer_free(&where);
    return status;
}

static bool is_blank(const char *line, size_t n)
{
    while (n && line[n - 1] && strchr(" \t\r", line[n - 1]))
        n--;
    return n == 0;
}

static moeq_status parse_lines(const char *bytes, size_t n, struct mq_arena *arena,
                               struct mq_task_file *file, moeq_error *err)
{
    size_t lines = 1, number = 0;
    for (const char *p = bytes; (p = memchr(p, '\n', n - (size_t)(p - bytes))); p++)
        lines++;
    file->tasks =
        mq_arena_alloc(arena, lines < MQ_TASKS_MAX ? lines : MQ_TASKS_MAX, sizeof *file->tasks);
    if (!file->tasks)
        return fail_memory(err);
    for (const char *line = bytes, *const end = bytes + n; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const size_t size = (size_t)((stop ? stop : end) - line);
        number++;
        if (!is_blank(line, size)) {
            if (file->count == MQ_TASKS_MAX)
                return mq_fail_file(err, MOEQ_LIMIT, file->path, "more than %d tasks",
                                    MQ_TASKS_MAX);
            struct mq_task_text *task = &file->tasks[file->count++];
            task->place = number;
            MQ_TRY(read_line(line, size, arena, file, task, err));
        }
        line = stop ? stop + 1 : end;
    }
    return MOEQ_OK;
}

/* ---- llama.cpp's ---- */

struct cursor {
    const struct mq_task_file *file;
    const struct mq_task_text *task;
    const unsigned char *bytes;
    size_t at, size;
};

static moeq_status too_short(const struct cursor *c, const char *what, uint64_t needed,
                             moeq_error *err)
{
    return mq_fail(err, MOEQ_MALFORMED,
                   MQ_TASK_PLACE ": %s at byte %zu needs %" PRIu64 " bytes, %zu are left",
                   MQ_TASK_PLACE_OF(c->file, c->task), what, c->at, needed, c->size - c->at);
}

static moeq_status read_u32(struct cursor *c, const char *what, uint32_t *value, moeq_error *err)
{
    *value = 0;
    if (c->size - c->at < 4)
        return too_short(c, what, 4, err);
    const unsigned char *b = c->bytes + c->at;
    *value = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    c->at += 4;
    return MOEQ_OK;
}

/* A text, behind `before`; NULL arena: it is only checked. */
static moeq_status read_text(struct cursor *c, const char *what, const char *before,
                             struct mq_arena *arena, const char **text, moeq_error *err)
{
    uint32_t n;
    size_t bad;
    MQ_TRY(read_u32(c, what, &n, err));
    if (c->size - c->at < n)
        return too_short(c, what, n, err);
    const char *bytes = (const char *)c->bytes + c->at;
    if (n == 0 || memchr(bytes, 0, n) || !mq_utf8_valid(bytes, n, &bad))
        return mq_fail(err, MOEQ_MALFORMED,
                       MQ_TASK_PLACE ": %s at byte %zu: expected UTF-8 that is not empty",
                       MQ_TASK_PLACE_OF(c->file, c->task), what, c->at);
    c->at += n;
    if (arena && !(*text = mq_arena_printf(arena, "%s%.*s", before, (int)n, bytes)))
        return fail_memory(err);
    return MOEQ_OK;
}

static moeq_status read_labels(struct cursor *c, struct mq_task_text *task, uint32_t count,
                               moeq_error *err)
{
    size_t right = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t label;
        MQ_TRY(read_u32(c, "a label", &label, err));
        if (label == 1 && !right++ && task)
            task->answer = i;
    }
    if (task && right != 1)
        return mq_fail(err, MOEQ_MALFORMED,
                       MQ_TASK_PLACE ": %zu of %u answers are right (label 1): expected one",
                       MQ_TASK_PLACE_OF(c->file, c->task), right, count);
    return MOEQ_OK;
}

/* `task`: where the answers go; NULL: they are those with several right ones, and only checked. */
static moeq_status read_answers(struct cursor *c, struct mq_arena *arena, struct mq_task_text *task,
                                moeq_error *err)
{
    uint32_t count;
    MQ_TRY(read_u32(c, "a number of answers", &count, err));
    if (task || count > MQ_TASK_CHOICES_MAX)
        MQ_TRY(check_count(c->file, c->task, count, err));
    if (task && !(task->choices = mq_arena_alloc(arena, count, sizeof *task->choices)))
        return fail_memory(err);
    for (uint32_t i = 0; i < count; i++)
        MQ_TRY(read_text(c, "an answer", " ", task ? arena : NULL, task ? &task->choices[i] : NULL,
                         err));
    if (task)
        task->choices_count = count;
    return read_labels(c, task, count, err);
}

static moeq_status parse_binary(const char *bytes, size_t n, struct mq_arena *arena,
                                struct mq_task_file *file, moeq_error *err)
{
    enum { LEAST_BYTES = 4 + 1 + 4 + 2 * (4 + 1 + 4) + 4 }; /* of a task */
    struct mq_task_text head = {.place = 0};
    struct cursor c = {file, &head, (const unsigned char *)bytes, 0, n};
    uint32_t count;
    MQ_TRY(read_u32(&c, "the number of tasks", &count, err));
    if (count > MQ_TASKS_MAX || (uint64_t)count * (4 + LEAST_BYTES) > n - c.at)
        return mq_fail_file(err, MOEQ_MALFORMED, file->path,
                            "%" PRIu32
                            " tasks do not fit into its %zu bytes (is it a tasks file of "
                            "llama-perplexity --multiple-choice?)",
                            count, n);
    c.at += 4 * (size_t)count;
    file->tasks = mq_arena_alloc(arena, count + 1, sizeof *file->tasks);
    if (!file->tasks)
        return fail_memory(err);
    for (uint32_t i = 0; i < count; i++) {
        struct mq_task_text *task = &file->tasks[file->count++];
        task->place = i + 1;
        c.task = task;
        MQ_TRY(read_text(&c, "a question", "", arena, &task->context, err));
        MQ_TRY(read_answers(&c, arena, task, err));
        MQ_TRY(read_answers(&c, arena, NULL, err));
    }
    if (c.at < n)
        return mq_fail_file(err, MOEQ_MALFORMED, file->path,
                            "%zu bytes behind its %" PRIu32 " tasks", n - c.at, count);
    return MOEQ_OK;
}

/* ---- files ---- */

moeq_status mq_task_file_parse(const char *path, const char *bytes, size_t n,
                               struct mq_arena *arena, struct mq_task_file *file, moeq_error *err)
{
    const char *base = strcmp(path, "-") == 0 ? "standard input" : mq_base_name(path);
    *file = (struct mq_task_file){
        .path = strcmp(path, "-") == 0 ? base : path,
        .name = mq_arena_strndup(arena, base, (size_t)(mq_extension(base) - base)),
        .crc32 = (uint32_t)crc32_z(0, (const Bytef *)bytes, n),
        /* a number of tasks below 2^24 has a zero among its bytes; text has none */
        .binary = n >= 4 && memchr(bytes, 0, 4)};
    if (!file->name)
        return fail_memory(err);
    MQ_TRY((file->binary ? parse_binary : parse_lines)(bytes, n, arena, file, err));
    return file->count ? MOEQ_OK
                       : mq_fail_file(err, MOEQ_INVALID_ARGUMENT, file->path, "holds no tasks");
}

moeq_status mq_task_files_read(const char *const *paths, struct mq_task_files *files,
                               moeq_error *err)
{
    size_t n = 0;
    while (paths[n])
        n++;
    *files = (struct mq_task_files){.arena = mq_arena_create()};
    files->files = files->arena ? mq_arena_alloc(files->arena, n, sizeof *files->files) : NULL;
    if (!files->files)
        return fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        struct mq_task_file *file = &files->files[files->count];
        struct mq_buffer bytes = {0};
        MQ_TRY(mq_input_read(paths[i], MAX_FILE_BYTES, &bytes, err));
        const moeq_status status =
            mq_task_file_parse(paths[i], bytes.data, bytes.size, files->arena, file, err);
        mq_buffer_free(&bytes);
        MQ_TRY(status);
        for (size_t k = 0; k < files->count; k++)
            if (strcmp(files->files[k].name, file->name) == 0)
                return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, file->path,
                                    "another file of tasks is called %s too: their figures could "
                                    "not be told apart",
                                    file->name);
        files->count++;
    }
    return MOEQ_OK;
}

void mq_task_files_free(struct mq_task_files *files)
{
    mq_arena_destroy(files->arena);
    *files = (struct mq_task_files){0};
}
