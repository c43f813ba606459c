/*
 * tasks_file.h: multiple choice: contexts, the choices that could follow them, and which is right.
 *
 * Two forms, told apart by their first bytes:
 *
 *   JSON Lines   {"context": "...", "choices": ["...", "..."], "answer": 0} a line; other keys are not looked at. The
 *                choices are what follows the context as it stands, so most begin with a blank.
 *
 *   llama.cpp's  what llama-perplexity --multiple-choice reads (tools/perplexity/perplexity.cpp,
 *                multiple_choice_task), all numbers little-endian:
 *
 *       u32 n | u32 position [n] | n tasks
 *       task      question | mc1 | mc2            mc2, with several right answers, is checked and not used
 *       mc        u32 count (at most 100) | text [count] | i32 label [count], 1: right
 *       question, text    u32 bytes | bytes
 *
 *                The choice is a blank and the answer, as llama.cpp joins them. Positions, by which it picks some tasks at
 *                random, are not used.
 */
#ifndef MQ_TASKS_FILE_H
#define MQ_TASKS_FILE_H

#include "arena.h"
#include "moeq.h"

#include <stdbool.h>
#include <stdint.h>

enum { MQ_TASK_CHOICES_MAX = 100, MQ_TASKS_MAX = 1 << 20 };

/* Texts are UTF-8 without U+0000, and no choice is empty. */
struct mq_task_text {
    const char *context; /* may be empty in JSON Lines */
    const char **choices;
    uint32_t choices_count, answer; /* 2 choices or more; answer < choices_count */
    size_t place;                   /* the line, or the number of the task: from 1 */
};

struct mq_task_file {
    const char *path; /* as it was given */
    const char *name; /* without folder and ending */
    bool binary;      /* places are numbers of tasks */
    struct mq_task_text *tasks;
    size_t count;
    uint32_t crc32; /* of its bytes */
};

struct mq_task_files {
    struct mq_arena *arena; /* owns all of it */
    struct mq_task_file *files;
    size_t count;
};

/* Reads files, pipes or, for "-", standard input. NULL-terminated paths, which must outlive the result. Files of one name
 * are refused. Free them with mq_task_files_free, also after a failure. */
moeq_status mq_task_files_read(const char *const *paths, struct mq_task_files *files,
                               moeq_error *err);
void mq_task_files_free(struct mq_task_files *files);

/* The same of bytes; `path` and what `arena` gives must outlive the file. */
moeq_status mq_task_file_parse(const char *path, const char *bytes, size_t n,
                               struct mq_arena *arena, struct mq_task_file *file, moeq_error *err);

/* "tasks.jsonl: line 12", for messages. */
#define MQ_TASK_PLACE "%s: %s %zu"
#define MQ_TASK_PLACE_OF(file, task) (file)->path, (file)->binary ? "task" : "line", (task)->place

#endif
