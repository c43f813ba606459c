/*
 * fuzz_tasks.c: a file of tasks, JSON Lines or llama.cpp's.
 *
 * Beyond "no crash": a failure has a message, and what is read keeps what tasks_file.h promises.
 */
#include "json.h"
#include "tasks_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    size_t bad;
    if (!text || !mq_utf8_valid(text, strlen(text), &bad))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_task_file file;
    moeq_error err = {0};
    if (!arena)
        return 0;
    const moeq_status status =
        mq_task_file_parse("fuzz", (const char *)data, size, arena, &file, &err);
    if (status != MOEQ_OK && !err.message[0])
        abort();
    for (size_t i = 0; status == MOEQ_OK && i < file.count; i++) {
        const struct mq_task_text *task = &file.tasks[i];
        check_text(task->context);
        if (task->choices_count < 2 || task->answer >= task->choices_count)
            abort();
        for (uint32_t c = 0; c < task->choices_count; c++) {
            check_text(task->choices[c]);
            if (!task->choices[c][0])
                abort();
        }
    }
    mq_arena_destroy(arena);
    return 0;
}
